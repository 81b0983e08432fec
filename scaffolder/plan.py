"""A workflow as it would run: its Olive configuration with everything set over it, inputs and output."""

from __future__ import annotations

import copy
import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import oliveconfig, trust
from scaffolder.content import Hashes, digest
from scaffolder.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaffolder.environment import Environment
    from scaffolder.project import Project, WorkflowSection

STATE_FOLDER = ".scaffolder"
# They say where things go or what is shown, not what is made.
_WITHOUT_EFFECT = ("output_dir", "cache_dir", "log_severity_level", "ort_log_severity_level", "log_to_file")
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow with its configuration resolved.

    Attributes:
        name: As in the manifest.
        preset: The configuration file's name without its ending.
        config_path: The configuration file.
        config: Its content with every override in place.
        output: Folder that the finished artefact is published as.
        overrides: The values set over the file, by dotted path.
        needs: Workflows that come before it.
    """

    name: str
    preset: str
    config_path: Path
    config: dict[str, Any]
    output: Path
    overrides: dict[str, Any]
    needs: tuple[str, ...]

    @property
    def runs_folder(self) -> Path:
        """Where the runs of configurations beside this one lie."""
        return self.config_path.parent / "runs"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a result depends on.

    Attributes:
        inputs: Content hash by path relative to the project, of every file and folder named.
        versions: Version by distribution.
        accelerator: "cpu" or "gpu".
        settings: Hash of the configuration.
    """

    inputs: dict[str, str]
    versions: dict[str, str]
    accelerator: str
    settings: str

    @property
    def key(self) -> str:
        """Hash of it all."""
        return digest([self.inputs, self.versions, self.accelerator, self.settings])

    @property
    def content_key(self) -> str:
        """Hash of all but the settings: what Olive's own cache does not look at."""
        return digest([self.inputs, self.versions, self.accelerator])

    def without(self, path: str) -> Fingerprint:
        """Return the same without one of the inputs."""
        return replace(self, inputs={name: sha for name, sha in self.inputs.items() if name != path})

    def difference(self, other: Fingerprint) -> str:
        """Say in a few words what changed from `other` to this."""
        changed = sorted(
            path for path in self.inputs.keys() | other.inputs.keys() if self.inputs.get(path) != other.inputs.get(path)
        )
        parts = [f"{path} changed" for path in changed]
        parts += [
            f"{name} is now {version}"
            for name, version in sorted(self.versions.items())
            if other.versions.get(name) != version
        ]
        if self.settings != other.settings:
            parts.append("the configuration changed")
        if self.accelerator != other.accelerator:
            parts.append(f"the accelerator is now {self.accelerator}")
        return ", ".join(parts) or "nothing changed"


def section(project: Project, name: str) -> WorkflowSection:
    """Return a workflow's section of the manifest.

    Raises:
        UsageError: There is no such workflow; the nearest names are suggested.
    """
    known = project.manifest.workflows
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"unknown workflow `{name}`",
        hint=(f"did you mean `{near[0]}`? " if near else "") + f"this project has: {', '.join(known)}",
    )


def resolve(
    project: Project, name: str, *, preset: str | None = None, overrides: dict[str, Any] | None = None
) -> Workflow:
    """Read a workflow's configuration and set the manifest's and the command's values over it.

    Args:
        project: The project.
        name: The workflow.
        preset: Another configuration beside the workflow's own, by file name without `.json`. Of what the workflow
            needs, it needs what it names the results of.
        overrides: Values by dotted path, over those of the manifest.

    Raises:
        UsageError: The workflow or the preset does not exist, or a path leads nowhere.
        ConfigError: The configuration is missing, no JSON, or names no output folder.
    """
    workflow = section(project, name)
    config_path = project.root / workflow.config
    if preset is not None:
        config_path = _preset_path(project, config_path, preset)
    elif not config_path.is_file():
        hint = f"`workflows.{name}.config` in scaffolder.toml names it; {_presets_beside(config_path)}"
        raise ConfigError(f"{workflow.config} does not exist", hint=hint)
    config = read_config(config_path, project.relative(config_path))
    # Values meant for the workflow's own configuration need not fit another preset.
    chosen = workflow.set if preset is None else {}
    values = {**chosen, **(overrides or {})}
    for path, value in values.items():
        set_value(config, path, value)
    output = config.get("output_dir")
    if not isinstance(output, str):
        raise ConfigError(f"{project.relative(config_path)}: missing key `output_dir`")
    needs = workflow.needs
    if config_path != project.root / workflow.config:
        needs = [need for need in needs if _reads(project, config, resolve(project, need).output)]
    return Workflow(name, config_path.stem, config_path, config, project.root / output, values, tuple(needs))


def _reads(project: Project, config: dict[str, Any], folder: Path) -> bool:
    """Return whether a configuration names a folder or something in it."""
    return any((project.root / text).is_relative_to(folder) for text in _texts(config))


def problems(project: Project, workflow: Workflow) -> list[oliveconfig.Problem]:
    """Check a workflow's configuration strictly: the file, and what the overrides make of it."""
    name = project.relative(workflow.config_path)
    document = oliveconfig.read(workflow.config_path, name=name)
    found = oliveconfig.check(document, root=project.root) + trust.problems(project, document)
    if not workflow.overrides:
        return found
    of_file = {(problem.key, problem.message) for problem in found}
    resolved = oliveconfig.parse(oliveconfig.dumps(workflow.config), file=f"{name} with the values set over it")
    return found + [
        # The place is one in a text that nobody sees: the key says more.
        replace(problem, message=f"`{problem.key}`: {problem.message}")
        for problem in oliveconfig.check(resolved, root=project.root) + trust.problems(project, resolved)
        if (problem.key, problem.message) not in of_file
    ]


def read_config(path: Path, shown_as: str) -> dict[str, Any]:
    """Read an Olive configuration.

    Raises:
        ConfigError: The file is missing, or is no JSON object.
    """
    document = oliveconfig.read(path, name=shown_as)
    if document.root is None or document.root.kind != "object":
        lines = [oliveconfig.describe(problem) for problem in document.problems]
        raise ConfigError("\n".join(lines) or f"{shown_as}: a JSON object is expected")
    return document.data()


def _preset_path(project: Project, own: Path, preset: str) -> Path:
    path = own.parent / f"{preset}.json"
    if path.is_file() and path.parent == own.parent:  # a name, no path
        return path
    raise UsageError(f"no preset `{preset}` in {project.relative(own.parent)}/", hint=_presets_beside(own))


def _presets_beside(config: Path) -> str:
    known = sorted(file.stem for file in config.parent.glob("*.json"))
    return f"there are: {', '.join(known)}" if known else f"there is no configuration in {config.parent.name}/"


def set_value(config: dict[str, Any], path: str, value: Any) -> None:
    """Set `value` at a dotted path; lists are entered by an entry's `name` or by number.

    Raises:
        UsageError: A part before the last does not exist.
    """
    *parents, last = path.split(".")
    target: Any = config
    for depth, part in enumerate(parents):
        target = _enter(target, part, ".".join(path.split(".")[: depth + 1]))
    if not isinstance(target, dict):
        raise UsageError(f"`{path}` cannot be set: `{'.'.join(parents)}` holds no keys")
    target[last] = copy.deepcopy(value)


def _enter(target: Any, part: str, path: str) -> Any:
    if isinstance(target, list):
        names = {str(entry.get("name", i)): entry for i, entry in enumerate(target) if isinstance(entry, dict)}
        if part.isdigit() and int(part) < len(target):
            return target[int(part)]
    else:
        names = target if isinstance(target, dict) else {}
    if part in names:
        return names[part]
    near = difflib.get_close_matches(part, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known there: {', '.join(names) or 'nothing'}"
    raise UsageError(f"`{path}` does not exist in the configuration", hint=hint)


def fingerprint(project: Project, workflow: Workflow, environment: Environment, hashes: Hashes) -> Fingerprint:
    """Hash everything the workflow's result depends on.

    Every text in the configuration that names an existing file or folder below the project counts as an
    input, with its content. The model's own folder does too.
    """
    settings = {key: value for key, value in workflow.config.items() if key not in _WITHOUT_EFFECT}
    inputs = {project.relative(path): hashes.path(path) for path in sorted(_named_paths(settings, project.root))}
    return Fingerprint(inputs, environment.versions(), accelerator(workflow.config), digest(settings))


def looked_for(project: Project, workflow: Workflow) -> set[Path] | None:
    """Return every path whose coming, going or content could change `fingerprint`; None where a pattern names files."""
    texts = list(_texts({key: value for key, value in workflow.config.items() if key not in _WITHOUT_EFFECT}))
    if any(_is_pattern(text) for text in texts):
        return None
    return {project.root / text for text in texts if _may_be_input(text, project.root)}


def accelerator(config: dict[str, Any]) -> str:
    """Return the device of the system the configuration runs on: "cpu" or "gpu"."""
    text = json.dumps(config.get("systems", {})).lower()
    return "gpu" if '"gpu"' in text or "cuda" in text else "cpu"


def _named_paths(settings: dict[str, Any], root: Path) -> set[Path]:
    return {path for text in _texts(settings) for path in _named_by(text, root)}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a configuration that could name a file."""
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _texts(child)
    elif isinstance(value, str) and value.strip() and len(value) <= _LONGEST_PATH and "\n" not in value:
        yield value


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _named_by(text: str, root: Path) -> set[Path]:
    if _is_pattern(text):
        return {path for path in _glob(root, text) if path.is_file()}
    try:
        return {root / text} if _may_be_input(text, root) and (root / text).exists() else set()
    except OSError:  # a text too long for a file name
        return set()


def _may_be_input(text: str, root: Path) -> bool:
    path = root / text
    inside = path != root and path.is_relative_to(root) and ".." not in path.parts
    return inside or Path(text).is_absolute()


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except (ValueError, NotImplementedError):  # no pattern after all
        return []
