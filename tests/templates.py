"""Small real templates, in git, with releases; and projects made from them by plain Copier."""

from __future__ import annotations

import warnings
from pathlib import Path

import yaml

from tests.conftest import git

ANSWERS = "{{ _copier_answers | to_nice_yaml }}"


class Template:
    """A template under the user's home, so that its address holds on every machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")

    def release(self, tag, files, questions=None, changelog="", **settings):
        """Make a commit with exactly these files, and a tag."""
        git(self.folder, "rm", "-r", "--quiet", "--ignore-unmatch", ".")
        questions = {"name": {"type": "str", "default": "plain"}, **(questions or {})}
        config = {"_subdirectory": "template", "_templates_suffix": ".jinja"}
        config |= {f"_{key}": value for key, value in settings.items()}
        self.write("copier.yml", yaml.safe_dump({**config, **questions}, sort_keys=False))
        self.write("CHANGELOG.md", changelog)
        self.write("template/{{ _copier_conf.answers_file }}.jinja", ANSWERS)
        for path, content in files.items():
            self.write(f"template/{path}", content)
        git(self.folder, "add", "--all", "--force")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", f"Release {tag}")
        git(self.folder, "tag", "--force", tag)

    def write(self, path, content):
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def project(self, folder, tag, **answers):
        """Make a project at a version with plain Copier, and commit it."""
        from copier import run_copy

        source = f"~/{self.folder.relative_to(Path.home())}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_copy(source, folder, data=answers, vcs_ref=tag, defaults=True, quiet=True)
        git(folder, "init", "--quiet")
        commit(folder, "made")
        return folder


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def files(folder):
    """Return a folder's files, git's own and ours apart."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", ".scaffolder"} & set(path.relative_to(folder).parts)
    }
