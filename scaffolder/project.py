"""A generated project: where it is, what its manifest says, which interpreter does its heavy work."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scaffolder.errors import ConfigError, UsageError

MANIFEST = "scaffolder.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


# A branch or tag would let its owner change the code that was read and trusted.
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="Full commit of the code that was read")]


class ModelSection(_Section):
    """`[model]`: the base model; `source` where `download` takes it from another place than the hub's `id`."""

    id: str
    revision: str | None = None
    path: str
    source: str | None = None


class DatasetSection(_Section):
    """`[dataset]`: the examples; either a prompt and a response column, or one with messages.

    `prompt_template` is a file with the chat template that takes the place of the tokenizer's own.
    """

    train: str
    eval: str
    prompt_column: str = "prompt"
    response_column: str = "response"
    messages_column: str | None = None
    text_template: str | None = None
    prompt_template: str | None = None
    system_prompt: str | None = None

    def reader(self, path: str) -> dict[str, Any]:
        """Return what the worker needs to read `path` as conversations."""
        return {"path": path, **self.model_dump(exclude={"train", "eval", "prompt_template"}, exclude_none=True)}

    def sample_question(self, text: str) -> str:
        """Return what `question` takes, with `text` for each column of `text_template`."""
        columns = self._columns()
        return text if len(columns) < 2 else json.dumps(dict.fromkeys(sorted(columns), text))

    def question(self, text: str) -> str:
        """Return a user's turn as training wrote it: `text_template` around the text, where it has one column.

        Raises:
            UsageError: The template has several columns, and the text is no JSON object that holds them.
        """
        columns = self._columns()
        if not self.text_template or not columns:
            return text
        row = dict.fromkeys(columns, text) if len(columns) == 1 else _row(text, columns)
        return re.sub(r"\{(\w+)\}", lambda found: str(row[found[1]]), self.text_template)

    def _columns(self) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", self.text_template or ""))


def _row(text: str, columns: set[str]) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not columns <= row.keys():
        example = json.dumps(dict.fromkeys(sorted(columns), "…"), ensure_ascii=False)
        raise UsageError("`text_template` has several columns, so a question gives each its text", hint=f"'{example}'")
    return row


class WorkflowSection(_Section):
    """`[workflows.<name>]`: an Olive configuration, what it needs, and values set over it."""

    config: str
    needs: list[str] = Field(default_factory=list)
    set: dict[str, Any] = Field(default_factory=dict)


class ProjectSection(_Section):
    """`[project]`."""

    name: str


class Manifest(_Section):
    """The whole of `scaffolder.toml`; `[trust]` names the repositories whose own Python code may run, at one commit."""

    project: ProjectSection
    model: ModelSection
    dataset: DatasetSection
    workflows: dict[str, WorkflowSection]
    trust: dict[str, Commit] = Field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _needs_exist(self) -> Manifest:
        for name, workflow in self.workflows.items():
            for need in workflow.needs:
                if need not in self.workflows:
                    raise ValueError(f"workflows.{name}.needs names `{need}`, which is no workflow")
        return self


@dataclass(frozen=True, slots=True)
class Project:
    """A project on disk."""

    root: Path
    manifest: Manifest

    @property
    def model_folder(self) -> Path:
        """Where the base model lies."""
        return self.root / self.manifest.model.path

    def relative(self, path: Path) -> str:
        """Return `path` as the user would write it: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def find_project(start: Path | None = None) -> Project:
    """Open the project that `start` (default: the current folder) lies in.

    Raises:
        UsageError: There is no manifest here or above.
        ConfigError: The manifest is not valid; all its problems are named.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / MANIFEST).is_file():
            return Project(folder, read_manifest(folder / MANIFEST))
    raise UsageError(
        f"no {MANIFEST} here or in a folder above",
        hint="cd into a project, or make one: `scaffolder new PATH`",
    )


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        ConfigError: It is no TOML, or keys are unknown, missing or of the wrong type.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: {error}") from error
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        lines = [f"{path.name}: {_describe(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines), hint=f"edit {path}") from error


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{key}`"
    if problem["type"] == "missing":
        return f"missing key `{key}`"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{key}`: {message}" if key else message
