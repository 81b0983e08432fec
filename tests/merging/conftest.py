from pathlib import Path

import pytest

from scaffolder.git import Repository
from scaffolder.merging import Workspace


class Bench:
    """A repository to merge trees in, made from and read as dictionaries of bytes by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder)
        self.repository.run("init", "--quiet")
        self.workspace = Workspace(self.repository)
        self._count = 0

    def tree(self, files):
        self._count += 1
        root = self.folder / f"tree-{self._count}"
        root.mkdir()
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.workspace.repository.folder_tree(root, self.workspace.index)

    def files(self, tree):
        repository = self.workspace.repository
        return {path: repository.content(entry.sha) for path, entry in repository.entries(tree).items()}


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    with found.workspace:
        yield found


@pytest.fixture(scope="session")
def shared_bench(tmp_path_factory):
    found = Bench(tmp_path_factory.mktemp("bench"))
    with found.workspace:
        yield found
