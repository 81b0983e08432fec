"""The locks hold everything that the package and its checks declare."""

import re
import tomllib

from tests.conftest import REPOSITORY


def pinned(*names):
    lines = [line for name in names for line in (REPOSITORY / name).read_text().splitlines()]
    return {line.partition("==")[0].replace("_", "-").lower() for line in lines if "==" in line and line[0] != "#"}


def declared(requirements):
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


def test_dev_lock_and_stack_pin_what_is_declared():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = declared(project["project"]["dependencies"])
    wanted |= declared(project["project"]["optional-dependencies"]["olive"])
    wanted |= declared(project["dependency-groups"]["dev"])
    assert wanted - pinned("locks/dev.txt", "scaffolder/catalog/locks/cpu.txt") == set()


def test_nothing_is_pinned_twice():
    stack, dev = pinned("scaffolder/catalog/locks/cpu.txt"), pinned("locks/dev.txt")
    assert stack & dev == set()
