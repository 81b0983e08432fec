"""Projects of every kind, and tiny models to put into them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scaffolder.generator import new_project

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY / "tests"), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The working tree's template as a folder without git, so that what is tested is what lies there."""
    folder = tmp_path_factory.mktemp("template")
    for name in ("copier.yml", "template", "scaffolder/catalog"):
        source = REPOSITORY / name
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


@pytest.fixture
def make(tmp_path):
    """Make a project with the given answers and return its folder."""

    def made(name="project", **answers):
        new_project(tmp_path / name, answers=answers, defaults=True, git=False)
        return tmp_path / name

    return made


@pytest.fixture(scope="session")
def run_scaffolder():
    """Run the command in a project, in a process of its own that finds more packages; return what it said as JSON."""

    def run(folder, *arguments, expect=0, packages=()):
        program = "import sys; from scaffolder.cli import main; sys.exit(main(sys.argv[1:]))"
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=folder,
            # This checkout, wherever another one may be installed.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [REPOSITORY, *packages]))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == expect, result.stderr[-3000:]
        return json.loads(result.stdout) if "--json" in arguments and expect == 0 else result

    return run


@pytest.fixture(scope="session")
def tiny_rows():
    """Examples short enough for a tiny model."""
    words = ["rain", "snow", "the sea", "a lamp", "a boat", "ice", "a cloud", "the stair", "a wick", "an answer"]
    return [{"prompt": f"What is {word}?", "response": f"{word} is water that falls."} for word in words]


@pytest.fixture(scope="session")
def put_tiny(tiny_rows):
    """Put a tiny model and short examples into a project, in place of the real ones."""
    from tiny_models import make_tiny_model

    def put(project, recipe, model_path):
        make_tiny_model(recipe, project / model_path)
        lines = [json.dumps(row) + "\n" for row in tiny_rows]
        (project / "datasets" / "train.jsonl").write_text("".join(lines[:8]), encoding="utf-8")
        (project / "datasets" / "eval.jsonl").write_text("".join(lines[8:]), encoding="utf-8")

    return put


def pytest_addoption(parser):
    with contextlib.suppress(ValueError):  # declared by another conftest already
        parser.addoption("--update-golden", action="store_true", help="write the golden projects and made tables anew")
