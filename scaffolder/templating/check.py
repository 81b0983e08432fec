"""Whether a template is safe, renders whatever is answered, and takes projects along from its last release."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ScaffolderError
from scaffolder.templating.rendering import Rendered, load_template, render_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scaffolder.templating.history import History, Version

_COMMANDS = {"tasks": "tasks", "migrations": "migrations", "jinja_extensions": "Jinja extensions"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a template.

    Attributes:
        check: `safe`, `renders` or `updates`.
        answers: The answers that show it; none where it is always so.
        message: What is wrong.
    """

    check: str
    answers: dict[str, Any]
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check.

    Attributes:
        version: What was checked.
        last: The release it was compared with, or empty.
        cases: How many sets of answers were rendered.
        refused: How many more the template's own validators refused, with a message.
        findings: What is wrong.
    """

    version: str
    last: str
    cases: int
    refused: int
    findings: tuple[Finding, ...]


def check_template(history: History, version: Version, *, pairs: bool = False) -> Report:
    """Check a template as its users will meet it.

    Args:
        history: The template.
        version: What to check.
        pairs: Try every two answers together, not only each alone; takes far longer.
    """
    template = load_template(history, version)
    findings = [
        Finding("safe", {}, f"it has {name}, which run commands on its users' machines; they would need --trust")
        for key, name in _COMMANDS.items()
        if template.config_data.get(key)
    ]
    if findings:
        return Report(version.name, "", 0, 0, tuple(findings))
    tags = [tag for tag in history.tags() if history.resolve(tag).commit != version.commit]
    last = history.resolve(tags[-1]) if tags else None
    cases = list(_cases(history, version, template, pairs))
    refused = 0
    for answers in cases:
        found = _renders(history, version, answers)
        refused += found is None
        findings += found or []
    # What projects have answered is what the last release let them.
    known = _cases(history, last, load_template(history, last), pairs) if last else ()
    for answers in known:
        findings += _updates(history, last, version, answers) if last else []
    return Report(version.name, last.name if last else "", len(cases) - refused, refused, tuple(findings))


def _renders(history: History, version: Version, answers: dict[str, Any]) -> list[Finding] | None:
    """Return what is wrong with a set of answers; None where a validator refuses it, which is its work."""
    try:
        found = render_tree(history, version, {}, changed=answers)
    except ScaffolderError as error:
        if answers and error.message.startswith("Validation error"):
            return None
        return [Finding("renders", answers, error.message)]
    return [Finding("renders", answers, problem) for problem in _unsound(history, found)]


def _updates(history: History, last: Version, version: Version, answers: dict[str, Any]) -> list[Finding]:
    try:
        before = render_tree(history, last, {}, changed=answers)
    except ScaffolderError:
        return []  # no project was made so
    try:
        after = render_tree(history, version, before.answers)
    except ScaffolderError as error:
        return [Finding("updates", answers, f"projects of {last.name}: {error.message}")]
    return [
        Finding(
            "updates", answers, f"projects of {last.name} lose their answer `{name}: {value}` to {after.answers[name]}"
        )
        for name, value in before.answers.items()
        if name in after.answers and after.answers[name] != value
    ]


def _unsound(history: History, found: Rendered) -> Iterator[str]:
    import json
    import tomllib

    import yaml

    readers: dict[str, Callable[[str], Any]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yml": yaml.safe_load,
        ".yaml": yaml.safe_load,
    }
    for path, entry in history.repository.entries(found.tree).items():
        reader = readers.get("." + path.rpartition(".")[2])
        if reader is None or path.startswith(".vscode/") or path.startswith(".devcontainer/"):
            continue  # editors read JSON with comments
        try:
            reader(history.repository.content(entry.sha).decode("utf-8"))
        except (ValueError, yaml.YAMLError) as error:
            yield f"{path} cannot be read: {' '.join(str(error).split())}"


def _cases(history: History, version: Version, template: Any, pairs: bool) -> Iterator[dict[str, Any]]:
    """Yield sets of answers: none, each possible answer alone, and if asked every two."""
    yield {}
    try:
        defaults = render_tree(history, version, {})
    except ScaffolderError:
        return  # said once, for the case without answers
    single = [
        {name: value}
        for name, question in template.questions_data.items()
        if question.get("when") is not False
        for value in _values(template, question, defaults.answers)
        if defaults.answers.get(name) != value
    ]
    yield from single
    if pairs:
        for one, other in itertools.combinations(single, 2):
            if one.keys() != other.keys():
                yield {**one, **other}


def _values(template: Any, question: Mapping[str, Any], answers: Mapping[str, Any]) -> list[Any]:
    """Return the answers to choose from that stand open when the others have their defaults."""
    import yaml

    if question.get("type") == "bool":
        return [True, False]
    choices = question.get("choices")
    if isinstance(choices, str):
        known = {name: one.get("default") for name, one in template.questions_data.items()}
        try:
            choices = yaml.safe_load(template.expressions.from_string(choices).render({**known, **answers}))
        except Exception:
            return []  # they depend on more than the answers that are recorded
    entries: list[Any] = list(choices.values()) if isinstance(choices, dict) else list(choices or [])
    found = []
    for entry in entries:
        refused = isinstance(entry, dict) and entry.get("validator")
        if not refused:
            found.append(entry["value"] if isinstance(entry, dict) else entry)
    return [value[1] if isinstance(value, list) and len(value) == 2 else value for value in found]
