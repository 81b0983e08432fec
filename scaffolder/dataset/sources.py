"""Which files hold examples, how their rows are read, and how long a sequence may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffolder import plan
from scaffolder.errors import ConfigError, ScaffolderError

if TYPE_CHECKING:
    from scaffolder.project import Project

_COLUMNS = ("prompt_column", "response_column", "messages_column", "text_template", "system_prompt")
# What `fine-tuning/chat_data.py` takes where nothing is said.
_CHAT_DEFAULTS = {"prompt_column": "prompt", "response_column": "response"}
FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of examples.

    Attributes:
        path: Relative to the project's root, or absolute outside of it.
        columns: The keys of `[dataset]` that say how its rows are read.
        max_seq_len: Longest sequence in tokens; None where no training reads it.
    """

    path: str
    columns: dict[str, Any]
    max_seq_len: int | None = None

    def spec(self) -> dict[str, Any]:
        """Return what the worker needs."""
        return {"path": self.path, **self.columns, "max_seq_len": self.max_seq_len}


def project_sources(project: Project, files: list[Path] | None = None) -> list[Source]:
    """Return the files of the manifest, or the named ones read with the manifest's columns.

    Args:
        project: The project.
        files: Relative to the current folder.

    Raises:
        ConfigError: A file is missing, or in no known format.
    """
    dataset = project.manifest.dataset
    names = [project.relative(path.resolve()) for path in files] if files else [dataset.train, dataset.eval]
    unknown = [name for name in names if Path(name).suffix.lower() not in FORMATS]
    if unknown:
        known = f"known: {', '.join(FORMATS)}; `scaffolder data import` reads folders of text too"
        raise ConfigError(f"unknown format of {', '.join(unknown)}", hint=known)
    columns = {key: value for key, value in dataset.reader("").items() if key in _COLUMNS}
    length = _sequence_length(project)
    # Evaluation does not cut at the training's length.
    return existing(project, [Source(name, columns, None if name == dataset.eval else length) for name in names])


def workflow_sources(project: Project, config: dict[str, Any]) -> list[Source]:
    """Return the files that a configuration trains or calibrates on.

    Raises:
        ConfigError: A file is missing.
    """
    found = []
    for data in data_configs(config):
        process = data.get("pre_process_data_config") or {}
        defaults = _CHAT_DEFAULTS if process.get("type") == "chat_pre_process" else {}
        columns = {**defaults, **{key: value for key, value in process.items() if key in _COLUMNS and value}}
        names = [name for pattern in files(data) for name in _expanded(project, pattern)]
        found += [Source(name, columns, process.get("max_seq_len")) for name in names]
    return existing(project, list({source.path: source for source in found}.values()))


def data_configs(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the data configurations of an Olive configuration."""
    found = config.get("data_configs", [])
    return [data for data in found if isinstance(data, dict)] if isinstance(found, list) else []


def existing(project: Project, sources: list[Source]) -> list[Source]:
    """Return the sources, each of which is a file.

    Raises:
        ConfigError: Files are missing; all are named.
    """
    missing = [source.path for source in sources if not (project.root / source.path).is_file()]
    if missing:
        message = "\n".join(f"missing dataset {path}" for path in missing)
        raise ConfigError(message, hint="put your examples there, or `scaffolder data import SOURCE`")
    return sources


def files(data: dict[str, Any]) -> list[str]:
    """Return the local files of a data configuration; the hub's have no ending that we know."""
    named = (data.get("load_dataset_config") or {}).get("data_files")
    names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return [name for name in names if isinstance(name, str) and "://" not in name and Path(name).suffix in FORMATS]


def _expanded(project: Project, name: str) -> list[str]:
    """Return the files that a pattern names, sorted; a name, or a pattern without any, stands for itself."""
    if not any(sign in name for sign in "*?[") or Path(name).is_absolute():
        return [name]
    return sorted(project.relative(path) for path in project.root.glob(name) if path.is_file()) or [name]


def training_data(project: Project) -> tuple[plan.Workflow, dict[str, Any]] | None:
    """Return the first workflow that trains on the manifest's file, and its data configuration."""
    for name in project.manifest.workflows:
        try:
            workflow = plan.resolve(project, name)
        except ScaffolderError:
            continue  # `validate` and `run` say what is wrong with it
        for data in data_configs(workflow.config):
            if project.manifest.dataset.train in files(data):
                return workflow, data
    return None


def _sequence_length(project: Project) -> int | None:
    found = training_data(project)
    length = (found[1].get("pre_process_data_config") or {}).get("max_seq_len") if found else None
    return length if isinstance(length, int) else None
