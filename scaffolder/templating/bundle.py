"""Makes the bundle that a package carries: the template's files of every release, with their tags.

It holds what a project is rendered from and nothing else of this repository, one commit a release, so that the
same releases make the same commits wherever it is made. Also used while a package is built: standard library only.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.errors import EnvironmentFault
from scaffolder.git import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = ("copier.yml", "template", "scaffolder/catalog", "CHANGELOG.md")
_LIST = "RELEASES"


def make_bundle(checkout: Path, target: Path) -> None:
    """Write the bundle of a checkout.

    Releases come from the tracked list, so that a clone without tags will do; the version that is not on it yet
    is the working tree.

    Raises:
        EnvironmentFault: A commit of the list is missing, as in a shallow clone, or git is.
    """
    with tempfile.TemporaryDirectory() as name:
        objects = Repository(checkout).text("rev-parse", "--path-format=absolute", "--git-path", "objects")
        repository = Repository(Path(name), {"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects})
        repository.run("init", "--bare", "--quiet", "--initial-branch=main")
        index = Path(name) / "scratch-index"
        head = ""
        for tag, commit in _releases(checkout):
            date = _date(repository, commit)
            head = _release(repository, tag, _tree_of(repository, commit, index), head, date)
        current = f"v{_version(checkout)}"
        if not repository.try_text("rev-parse", "--verify", "--quiet", f"refs/tags/{current}"):
            date = Repository(checkout).text("log", "-1", "--format=%cI")
            head = _release(repository, current, _tree_of_files(repository, checkout, index), head, date)
        repository.run("update-ref", "refs/heads/main", head)
        aside = beside(target)
        repository.run("bundle", "create", "--quiet", aside.absolute(), "HEAD", "--all")
        aside.replace(target)


def beside(target: Path) -> Path:
    """Return a name beside `target` for this process alone: others may be about to write the same file."""
    return target.with_name(f".{target.name}.{os.getpid()}.new")


def releases_key(checkout: Path) -> str:
    """Return a text that changes whenever the bundle would."""
    with tempfile.TemporaryDirectory() as name:
        repository = Repository(Path(name))
        repository.run("init", "--bare", "--quiet")
        tree = _tree_of_files(repository, checkout, Path(name) / "scratch-index")
    return "\n".join([_version(checkout), tree, *(f"{tag} {commit}" for tag, commit in _releases(checkout))])


def _releases(checkout: Path) -> Iterator[tuple[str, str]]:
    for line in (checkout / _LIST).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            tag, commit = line.split()
            yield tag, commit


def _version(checkout: Path) -> str:
    found = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return str(found)


def _date(repository: Repository, commit: str) -> str:
    found = repository.try_text("log", "-1", "--format=%cI", commit)
    if found is None:
        raise EnvironmentFault(
            f"release commit {commit[:10]} is not in this clone", hint="`git fetch --unshallow` brings the history"
        )
    return found


def _tree_of(repository: Repository, commit: str, index: Path) -> str:
    variables = {"GIT_INDEX_FILE": str(index)}
    index.unlink(missing_ok=True)
    listed = repository.run("ls-tree", "-r", "-z", commit, "--", *CONTENT)
    repository.run("update-index", "-z", "--index-info", data=listed, variables=variables)
    return repository.text("write-tree", variables=variables)


def _tree_of_files(repository: Repository, checkout: Path, index: Path) -> str:
    variables = {"GIT_INDEX_FILE": str(index), "GIT_DIR": str(repository.folder), "GIT_WORK_TREE": str(checkout)}
    index.unlink(missing_ok=True)
    Repository(checkout).run("add", "--", *CONTENT, variables={**repository.variables, **variables})
    return repository.text("write-tree", variables={"GIT_INDEX_FILE": str(index)})


def _release(repository: Repository, tag: str, tree: str, parent: str, date: str) -> str:
    who = {"NAME": "scaffolder", "EMAIL": "scaffolder@localhost", "DATE": date}
    variables = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    parents = ["-p", parent] if parent else []
    commit = repository.text("commit-tree", tree, *parents, "-m", f"Template {tag}", variables=variables)
    repository.run("tag", tag, commit)
    return commit
