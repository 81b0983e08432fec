"""Checks what refers to something else in the same configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaffolder.oliveconfig.explain import nearest
from scaffolder.oliveconfig.flatten import COMPONENTS
from scaffolder.oliveconfig.schema import definition
from scaffolder.oliveconfig.walk import Walk, shown

if TYPE_CHECKING:
    from scaffolder.oliveconfig.document import Node

SECTION_WORDS = {"data_configs": "data config", "systems": "system", "evaluators": "evaluator"}


def check_references(root: Node, walk: Walk) -> None:
    """Every name that stands for a data config, a system or an evaluator must be one."""
    for section, node in walk.references:
        known = names_in(root, section)
        if node.text not in known:
            near = nearest(node.text, known)
            defined = (
                f"`{section}` holds {', '.join(f'`{name}`' for name in known)}" if known else f"`{section}` is empty"
            )
            choice = f"did you mean `{near}`?" if near else defined
            walk.report(node, f"unknown {SECTION_WORDS[section]} {shown(node)}; {choice}")
    _twice(root, walk)
    _components(root, walk)


def names_in(root: Node, section: str) -> list[str]:
    """The names that a section defines."""
    node = root.get(section)
    if node is None:
        return []
    if section == "data_configs":
        return [name.text for item in node.items if (name := item.get("name")) is not None and name.text]
    return list(node.members)


def _twice(root: Node, walk: Walk) -> None:
    seen: dict[str, Node] = {}
    section = root.get("data_configs")
    for item in section.items if section else ():
        name = item.get("name")
        if name is None or name.kind != "string":
            continue
        if name.text in seen:
            walk.report(name, f"data config name {shown(name)} is taken already, on line {seen[name.text].line}")
        seen.setdefault(name.text, name)


def _components(root: Node, walk: Walk) -> None:
    section = root.get("data_configs")
    for item in section.items if section else ():
        if "user_script" in item.members:
            continue
        for component in COMPONENTS:
            node = item.get(component, "type")
            known: list[str] = definition(component.removesuffix("_config")).get("x-known", [])
            if node is not None and node.text and node.text.casefold() not in known:
                near = nearest(node.text, known)
                choice = f"did you mean `{near}`?" if near else "name the `user_script` that defines it"
                walk.report(node, f"unknown type {shown(node)} for `{component}`; {choice}")
