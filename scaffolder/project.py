"""A generated project: where it is, what its manifest says, which interpreter does its heavy work."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from scaffolder.errors import ConfigError, UsageError
from scaffolder.targets import KINDS, Target

if TYPE_CHECKING:
    from scaffolder.content import Hashes

MANIFEST = "scaffolder.toml"
# Beside a model that a script of the project made: SHA-256 of the files it was made from, by name.
MADE_FROM = "made-from.json"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# A branch or tag would let its owner change the code that was read and trusted.
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="Full commit of the code that was read")]


# It stands in file names and on command lines.
TargetName = Annotated[str, Field(pattern=r"^\w[\w.-]*$", description="letters, digits, `.`, `-` and `_`")]


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

    def question_columns(self) -> list[str]:
        """Return the columns of a row that make up its question."""
        return sorted(self._columns()) or [self.prompt_column]

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


METRICS = ("exact_match", "f1", "rouge_l")
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]


class EvaluationSection(_Section):
    """`[evaluation]`: what `evaluate` measures beside losses and speed."""

    metrics: list[str] = Field(
        default_factory=list,
        description="figures of generated answers: exact_match, f1, rouge_l, or your own as FILE.py:FUNCTION",
    )
    examples: int = Field(20, ge=1, description="how many evaluation examples are answered for the metrics")
    max_new_tokens: int = Field(80, ge=1, description="longest answer, in tokens")
    lm_eval: list[str] = Field(default_factory=list, description="tasks of lm-eval, run by Olive's evaluator")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in METRICS and not re.fullmatch(r".+\.py:\w+", name):
                near = difflib.get_close_matches(name, METRICS, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                raise ValueError(f"`{name}` is none of {', '.join(METRICS)} and not of the form FILE.py:FUNCTION{hint}")
        return names


class GatesSection(_Section):
    """`[gates]`: what the model has to hold, or `evaluate` fails."""

    model: str = Field("onnx", description="the model they are about: a form or a folder, as `--model` takes it")
    max_loss: _Positive | None = Field(None, description="nats per response token")
    max_loss_increase_vs_merged: Annotated[float, Field(ge=0)] | None = Field(
        None, description="nats per response token that an export may cost, such as 0.05"
    )
    min_improvement_vs_base: _Share | None = Field(
        None, description="a share of the base's loss that tuning takes away: 0.2 for 20 %"
    )
    min_top1_agreement: _Share | None = Field(
        None, description="a share of places with the tuned model's likeliest token: 0.9 for 90 %"
    )
    max_kl: Annotated[float, Field(ge=0)] | None = Field(None, description="mean divergence from the tuned model, nats")
    max_size_gb: _Positive | None = Field(None, description="weights and graphs, in GB (1 000 000 000 bytes)")
    max_memory_gb: _Positive | None = Field(None, description="peak memory above the libraries, in GB")
    min_tokens_per_s: _Positive | None = Field(None, description="tokens written a second")
    max_first_token_s: _Positive | None = Field(None, description="seconds to the first token")
    min_metrics: dict[str, float] = Field(default_factory=dict, description="least values of `evaluation.metrics`")

    def limits(self) -> dict[str, float]:
        """Return the gates that are set, by key; those of metrics as `min_metrics.NAME`."""
        set_ = {key: value for key, value in self if key not in ("model", "min_metrics") and value is not None}
        return {**set_, **{f"min_metrics.{name}": least for name, least in self.min_metrics.items()}}


class Manifest(_Section):
    """The whole of `scaffolder.toml`; `[trust]` names the repositories whose own Python code may run, at one commit."""

    project: ProjectSection
    model: ModelSection
    dataset: DatasetSection
    workflows: dict[str, WorkflowSection]
    trust: dict[str, Commit] = Field(default_factory=dict)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    gates: GatesSection = Field(default_factory=GatesSection)
    targets: dict[TargetName, Target] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _gates_are_measured(self) -> Manifest:
        for name in self.gates.min_metrics:
            if name not in self.evaluation.metrics:
                raise ValueError(f"gates.min_metrics names `{name}`, which evaluation.metrics does not measure")
        return self

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

    @property
    def is_derived(self) -> bool:
        """Whether the base model is made from what `scaffolder download` brings, by a script of the project."""
        return self.manifest.model.path in _derived(f"model-cache/{self.manifest.model.id}")

    def how_to_get(self, model: str) -> str:
        """Return the commands that make a model's folder, such as "model-cache/org/name"; some are made of others."""
        own = f"model-cache/{self.manifest.model.id}"
        if model not in (own, *_derived(own)):
            is_own = model == self.manifest.model.path
            return f"scaffolder download {self.manifest.model.id if is_own else model.removeprefix('model-cache/')}"
        steps = [] if (self.root / own).is_dir() else ["scaffolder download"]
        text = model.removesuffix("-awq")
        if text != own and not (self.root / text).is_dir():
            steps.append(f"python model-cache/text_model.py {own}")
        if model != text:
            if not (self.root / ".venv-awq").is_dir():
                steps += ["python -m venv .venv-awq", ".venv-awq/bin/python -m pip install -r setup/awq.txt"]
            steps.append(_RESCALE)
        return ", then ".join(steps)

    def check_model(self, hashes: Hashes) -> None:
        """Refuse a model that a script of the project made from files that have changed since, such as by an update.

        Raises:
            ConfigError: The model is to be made again; the hint is the command.
        """
        own = f"model-cache/{self.manifest.model.id}"
        scripts = {"-text": f"python model-cache/text_model.py {own}", "-awq": _RESCALE}
        source, kinds = own, self.manifest.model.path.removeprefix(own)
        for kind, command in scripts.items():
            if not kinds.startswith(kind):
                continue
            made, kinds = source + kind, kinds.removeprefix(kind)
            if _has_changed(self.root / source, self.root / made / MADE_FROM, hashes):
                raise ConfigError(f"{made} was made from another {source} than is there now", hint=command)
            source = made

    def relative(self, path: Path) -> str:
        """Return `path` as the user would write it: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


_RESCALE = ".venv-awq/bin/python model-cache/awq.py"


def _has_changed(source: Path, note: Path, hashes: Hashes) -> bool:
    """Return whether a file of `source` is not the one in the note; what was taken away to save room does not count."""
    if not note.is_file() or not source.is_dir():
        return False
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return True
    files = [file for file in source.iterdir() if file.suffix in {".safetensors", ".bin", ".json"}]
    return not isinstance(noted, dict) or any(noted.get(file.name) != hashes.file(file) for file in files)


def _derived(model: str) -> list[str]:
    """Return what the template's scripts call a model that they make from `model`."""
    return [f"{model}{kind}" for kind in ("-text", "-awq", "-text-awq")]


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
        raise ConfigError("\n".join(dict.fromkeys(lines)), hint=f"edit {path}") from error


def _describe(problem: Any) -> str:
    path = problem["loc"]
    section = _section_of(path)
    if path and path[0] == "targets":  # the third part names the kind, and is no key
        path = path[:2] + path[3 : 5 if len(path) > 4 and isinstance(path[4], int) else 4]
    key = ".".join(str(part) for part in path)
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        found = problem.get("ctx", {}).get("tag")
        what = f"unknown kind `{found}`" if found else "missing key `kind`"
        return f"`{key}`: {what}; there are {', '.join(KINDS)}"
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), section.model_fields, n=1) if section else []
        return f"unknown key `{key}`" + (f"; did you mean `{near[0]}`?" if near else "")
    if problem["type"] == "missing":
        return f"missing key `{key}`"
    message = problem["msg"].removeprefix("Value error, ")
    fields = section.model_fields if section else {}
    field = next((fields[str(part)] for part in path[1:] if part in fields), None)
    meaning = f" ({field.description})" if field and field.description else ""
    return f"`{key}`: {message}{meaning}" if key else message


def _section_of(path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the section that a key lies in: the whole file for a key of the top level."""
    if not path:
        return None
    if len(path) == 1:
        return Manifest
    if path[0] == "targets":
        return KINDS.get(str(path[2])) if len(path) > 2 else None
    section = Manifest.model_fields[str(path[0])].annotation if path[0] in Manifest.model_fields else None
    return section if isinstance(section, type) and issubclass(section, BaseModel) else None
