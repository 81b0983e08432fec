"""Lays nested parts of a configuration flat, as Olive does when it reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scaffolder.oliveconfig.document import Node, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

COMPONENTS = (
    "load_dataset_config",
    "pre_process_data_config",
    "post_process_data_config",
    "dataloader_config",
)


def flatten(root: Node, file: str) -> tuple[Node, list[Problem]]:
    """Return the tree with every nested part laid flat, and what to say about it.

    Keys keep the place and the path at which the author wrote them.
    """
    return (work := _Flattener(file)).root(root), work.problems


class _Flattener:
    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def root(self, node: Node) -> Node:
        node = self.lift(node, "engine")
        node = self.change(node, "input_model", self.model)
        node = self.each(node, "systems", self.system)
        for key in ("host", "target"):
            node = self.change(node, key, self.system)
        node = self.each(node, "evaluators", self.evaluator)
        node = self.change(node, "evaluator", self.evaluator)
        node = self.each(node, "data_configs", self.data)
        return self.each(node, "passes", self.any_pass)

    def model(self, node: Node) -> Node:
        return self.change(self.lift(node, "config"), "load_kwargs", lambda part: self.lift(part, "extra_args"))

    def system(self, node: Node) -> Node:
        return self.lift(node, "config")

    def evaluator(self, node: Node) -> Node:
        node = self.lift(node, "type_args")
        return self.each(node, "metrics", lambda part: self.lift(part, "user_config"))

    def data(self, node: Node) -> Node:
        for key in COMPONENTS:
            node = self.change(node, key, lambda part: self.lift(part, "params"))
        return node

    def any_pass(self, node: Node) -> Node:
        if node.kind == "array":
            return replace(node, items=tuple(self.any_pass(item) for item in node.items))
        node = self.lift(node, "config")
        for key in ("host", "evaluator"):
            node = self.change(node, key, self.system if key == "host" else self.evaluator)
        return self.change(node, "training_args", lambda part: self.lift(part, "extra_args"))

    def lift(self, node: Node, nested: str) -> Node:
        """Move the members of the object under `nested` up beside it."""
        inner = node.get(nested)
        if inner is None or inner.kind not in ("object", "null"):
            return node
        members = {key: part for key, part in node.members.items() if key != nested}
        for key, part in inner.members.items():
            if key in members:
                message = f"`{key}` stands both here and outside `{nested}`; Olive reads only one of them"
                self.report(part, message)
            else:
                members[key] = part
        self.report(inner, f"keys under `{nested}` stand one level up today; Olive still reads both", warning=True)
        return replace(node, members=members)

    def change(self, node: Node, key: str, how: Callable[[Node], Node]) -> Node:
        part = node.get(key)
        if part is None or part.kind not in ("object", "array"):
            return node
        return replace(node, members={**node.members, key: how(part)})

    def each(self, node: Node, key: str, how: Callable[[Node], Node]) -> Node:
        part = node.get(key)
        if part is None:
            return node
        members = {name: how(value) for name, value in part.members.items()}
        laid = replace(part, members=members, items=tuple(how(value) for value in part.items))
        return replace(node, members={**node.members, key: laid})

    def report(self, node: Node, message: str, *, warning: bool = False) -> None:
        hint = f"scaffolder upgrade-config {self.file}" if warning else "keep one of the two"
        self.problems.append(
            Problem(
                self.file,
                node.key_line,
                node.key_column,
                node.path,
                message,
                hint,
                "warning" if warning else "error",
            )
        )
