from tests.updater.conftest import home

__all__ = ["home"]
