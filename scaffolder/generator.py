"""New projects from the template."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import catalogue, presets, process, settings, templating
from scaffolder.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


_NEWCOMERS_QUESTIONS = {
    "project_name",
    "model",
    "model_id",
    "hardware",
    "device",
    "method",
    "data_format",
    "advanced",
}


@dataclass(frozen=True, slots=True)
class NewProject:
    """What was made.

    Attributes:
        root: Where it lies.
        template: The template, as it was named.
        ref: Its revision; None for its newest release.
        git: Whether it was made a git repository.
        note: What the user should know about the template's place, or empty.
    """

    root: Path
    template: str
    ref: str | None
    git: bool
    note: str


def _with_preset(answers: Mapping[str, Any], preset: str | None) -> dict[str, Any]:
    """Return answers, and those that the catalogue keeps under a name where they leave a question open.

    Raises:
        UsageError: It keeps none under this name.
    """
    known = catalogue.answer_sets()
    if preset is not None and preset not in known:
        raise UsageError(f"unknown preset `{preset}`", hint=f"there is: {', '.join(known)}")
    return {**(known[preset].answers if preset else {}), **answers}


def new_project(
    path: Path,
    *,
    answers: Mapping[str, Any],
    preset: str | None = None,
    template: str | None = None,
    ref: str | None = None,
    defaults: bool = False,
    git: bool = True,
) -> NewProject:
    """Generate a project and make it a git repository, unless it lies in one.

    Everything happens in a folder aside, which becomes `path` when it is complete. The template is `template`,
    else the one that the environment or a settings file names, else the one shipped. `preset` names answers of the
    catalogue; `answers` come before them.

    Raises:
        UsageError: `path` exists and is not empty, there is no such preset, or an answer is not valid or belongs to a
            question that the other answers leave out.
        EnvironmentFault: git is missing, or there is no room.
    """
    root = path.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{path} exists and is not empty", hint="choose another path, or empty it first")
    if shutil.which("git") is None:
        raise EnvironmentFault("git is not installed", hint="install it: templates are git repositories")
    named = template or settings.template_source()
    source, chosen = (named, None) if named else templating.shipped_template()
    note = templating.find_origin(source).note
    combined = _with_preset(answers, preset)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise EnvironmentFault(f"cannot write to {root.parent}: {error.strerror}") from error
    try:
        made = templating.render(
            source,
            aside / root.name,
            answers=combined if named else _completed(combined),
            suggestions={"project_name": root.name},
            ref=ref or chosen,
            defaults=defaults,
        )
        if defaults:  # who was asked would have to answer everything again
            templating.refuse_unasked(answers, made.unasked)
        made_git = git and not _inside_git(root.parent)
        if made_git:
            _first_commit(aside / root.name, ref or chosen)
        if root.exists():
            root.rmdir()
        (aside / root.name).rename(root)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return NewProject(root, source, ref or chosen, made_git, note)


@dataclass(frozen=True, slots=True)
class Preview:
    """What answers yield.

    Attributes:
        answers: By question, with the defaults that follow from the others.
        training: The pass of the chosen method, its training arguments among its keys; empty for none.
        export: The passes of the chosen export.
        files: What would be made, relative to the project.
    """

    answers: dict[str, Any]
    training: dict[str, Any]
    export: dict[str, Any]
    files: list[str]


def preview(answers: Mapping[str, Any], preset: str | None = None) -> Preview:
    """Generate a project of the shipped template aside, and say what is in it; arguments are those of `new_project`.

    Raises:
        UsageError: There is no such preset, or an answer is not valid or belongs to no question that is asked.
    """
    source, ref = templating.shipped_template()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        combined = _completed(_with_preset(answers, preset))
        made = templating.render(source, root, answers=combined, ref=ref, defaults=True)
        templating.refuse_unasked(answers, made.unasked)
        found = made.answers
        files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        training = _passes(root / "fine-tuning" / f"{found['method']}.json") if found["method"] != "none" else {}
        export = _passes(root / "gen-model" / f"{found['export_preset']}.json")
    shown = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
    shown.pop("catalog_fits", None)
    return Preview(shown, training, export, files)


def _passes(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["passes"]
    return found


def _completed(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Let `model` be a catalogue name or any hub id, and an expert's answer open the expert's questions.

    Copier forgets answers to questions that were not to be asked: the next update would not know them.
    """
    given = dict(answers)
    if given.keys() - _NEWCOMERS_QUESTIONS:
        given.setdefault("advanced", True)
    if "model" not in given or given["model"] == "other":
        return given
    hub_id = presets.model_id(str(given["model"]))
    known = presets.entry(hub_id)
    return {**given, **({"model": known["repo"]} if known else {"model": "other", "model_id": hub_id})}


def _inside_git(folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    found = process.capture(["git", "-C", existing, "rev-parse", "--is-inside-work-tree"])
    return found.returncode == 0 and found.stdout.strip() == "true"


def _first_commit(root: Path, ref: str | None) -> None:
    known = process.capture(["git", "-C", root, "config", "user.email"]).stdout.strip()
    identity = [] if known else ["-c", "user.name=scaffolder", "-c", "user.email=scaffolder@localhost"]
    message = f"Generated by scaffolder from its template at {ref}" if ref else "Generated by scaffolder"
    for arguments in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        [*identity, "commit", "--quiet", "--no-verify", "--message", message],
    ):
        # Hooks and signing are the user's business in the user's own commits.
        result = process.capture(["git", "-C", root, "-c", "commit.gpgsign=false", *arguments])
        if result.returncode != 0:
            raise EnvironmentFault(f"git {arguments[0]} failed: {result.stderr.strip()[-300:]}", hint="or use --no-git")
