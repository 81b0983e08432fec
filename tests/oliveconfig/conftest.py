from __future__ import annotations

import pytest

from .configurations import FILES, SCRIPT


@pytest.fixture
def project(tmp_path):
    """A project's folder in which every file that the valid configurations name is there."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    (tmp_path / "env/bin/python").chmod(0o755)
    (tmp_path / "scripts/data.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path
