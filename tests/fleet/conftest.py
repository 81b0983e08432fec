import pytest

from tests.templates import Template
from tests.updater.conftest import TEXT, home

__all__ = ["home"]


@pytest.fixture
def template(home):
    found = Template(home / "template")
    found.release("v1.0.0", {"readme.md.jinja": "# {{ name }}\n" + TEXT, "gone.txt": TEXT})
    changelog = "# Changelog\n\n## 1.1.0\n\n- Seven is said in words\n"
    found.release(
        "v1.1.0", {"readme.md.jinja": ("# {{ name }}\n" + TEXT).replace("line 7", "line seven")}, {}, changelog
    )
    return found


@pytest.fixture
def teams(template, tmp_path, monkeypatch):
    """Three projects of one template, in one folder, which is the current one."""
    folder = tmp_path / "teams"
    for name in ("one", "three", "two"):
        template.project(folder / name, "v1.0.0", name=name)
    monkeypatch.chdir(folder)
    return folder
