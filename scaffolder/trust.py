"""What a configuration may not do with a model that is not trusted, or not the locked one, said before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder import modellock
from scaffolder.oliveconfig import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.oliveconfig import Document, Node
    from scaffolder.project import Project

# `hf_remote` is ModelBuilder's name for it.
_KEYS = ("trust_remote_code", "hf_remote")


def problems(project: Project, document: Document) -> list[Problem]:
    """Return what stands against a configuration's use of the project's model.

    An error for code of a model's own that is switched on without `[trust]`, a warning where it is trusted; an error
    for files of the model that are missing, a warning for those of another size than the lock says.
    """
    root = document.root
    if root is None:
        return []
    reason = _distrust(project)
    found = [_code(project, document, node, reason) for node in _switched_on(root)]
    model = root.get("input_model", "model_path")
    if model is not None and model.text.startswith(f"{modellock.MODEL_CACHE}/"):
        found += _altered(project, document, model)
    return found


def _distrust(project: Project) -> str | None:
    """Return why the project's model is not trusted, or None where it is."""
    name = project.manifest.model.id
    pinned = project.manifest.trust.get(name)
    if pinned is None:
        return f"{name} is not named under [trust] in scaffolder.toml"
    entry = modellock.read(project.root).get(name)
    if entry is None or entry.commit != pinned:
        there = entry.commit if entry is not None and entry.commit else "none"
        return f"scaffolder.toml trusts {name} at commit {pinned}, and {modellock.LOCK} has {there}"
    return None


def _switched_on(node: Node) -> Iterator[Node]:
    for key, child in node.members.items():
        if key in _KEYS and child.value is True:
            yield child
        yield from _switched_on(child)
    for child in node.items:
        yield from _switched_on(child)


def _code(project: Project, document: Document, node: Node, reason: str | None) -> Problem:
    key, name = node.path.rpartition(".")[2], project.manifest.model.id
    place = (document.file, node.key_line, node.key_column, node.path)
    if reason is None:
        message = f"`{key}` lets Python code of {name} run with your rights; it is trusted at its locked commit"
        return Problem(*place, message, severity="warning")
    hint = f'read its code; then `"{name}" = "COMMIT"` under [trust] in scaffolder.toml, or set `{key}` to false'
    return Problem(*place, f"`{key}` would let Python code of the model run with your rights: {reason}", hint)


def _altered(project: Project, document: Document, model: Node) -> Iterator[Problem]:
    entry = modellock.read(project.root).get(model.text.removeprefix(f"{modellock.MODEL_CACHE}/"))
    folder = project.root / model.text
    if entry is None or not folder.is_dir():  # that the folder is missing is said elsewhere
        return
    for each in modellock.differences(entry, folder):
        if each.kind == "extra":
            continue
        yield Problem(
            document.file,
            model.line,
            model.column,
            model.path,
            f"{model.text}/{each.path} {each.message}",
            "`scaffolder download` fetches what is missing, with --force what was changed",
            "error" if each.kind == "missing" else "warning",
        )
