"""Rendered projects, and what is read from them more than once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from scaffolder.cli.app import app
from scaffolder.templating import render

REPOSITORY = Path(__file__).resolve().parents[2]


def read_jsonc(path):
    """Read JSON whose comments have lines of their own."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return json.loads("\n".join("" if line.lstrip().startswith("//") else line for line in lines))


def parses(arguments):
    """Parse a command line as the program would; a usage error raises."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    command = group.commands[name]
    return command.make_context(name, list(rest), resilient_parsing=False)


def resolved(text, inputs):
    """Replace the editor's variables as a user would who accepts every default."""
    text = re.sub(r"\$\{input:([\w-]+)\}", lambda found: inputs[found[1]]["default"], text)
    return text.replace("${relativeFile}", "fine-tuning/lora.json")


@pytest.fixture(scope="session")
def make_project(tmp_path_factory):
    """Render the template of this checkout, once for each set of answers."""
    made = {}

    def make(**answers):
        key = json.dumps(answers, sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("editor") / "travel"
            render(str(REPOSITORY), made[key], answers=answers, ref="HEAD", defaults=True)
        return made[key]

    return make


@pytest.fixture(scope="session")
def generated(make_project):
    """A project with every default; copy it to change it."""
    return make_project()
