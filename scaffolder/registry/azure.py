"""A model to a workspace of Azure Machine Learning, with its lineage and figures as tags."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder import azureml
from scaffolder.errors import UsageError
from scaffolder.plan import STATE_FOLDER
from scaffolder.registry.card import figures_of, licence_of, lineage_of, write_card
from scaffolder.targets import AzureMLTarget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaffolder.project import Project
    from scaffolder.registry.deliverable import Deliverable

# The service's own limits: tags of a resource, and the length of one.
_MOST_TAGS, _LONGEST_TAG, _LONGEST_DESCRIPTION = 50, 256, 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of a model as it would be registered.

    Attributes:
        name: Of the model.
        version: None for the next.
        source: `azureml://jobs/…`, or None where the files are sent from here.
        description: In words.
        tags: Lineage and figures.
        content: What stands for the files' content.
        card: The card that goes along, where files are sent.
    """

    name: str
    version: str | None
    source: str | None
    description: str
    tags: dict[str, str]
    content: str
    card: str


def entry(
    project: Project,
    found: Deliverable,
    *,
    name: str | None,
    version: str | None,
    from_job: bool,
    description: str | None,
    tags: Mapping[str, str],
) -> Entry:
    """Return what would be registered; nothing leaves the machine.

    Args:
        project: The project.
        found: The model.
        name: Of the model there; None for its own.
        version: None for the next.
        from_job: Register what the job on Azure that made it left there, instead of sending files.
        description: In words.
        tags: Beside lineage and figures.

    Raises:
        UsageError: No job on Azure made it, or it has too many tags.
    """
    told = description or f"{found.name}, made from {project.manifest.model.id} by {project.manifest.project.name}"
    figures = {
        f"figure {key}": str(value) if isinstance(value, int) else f"{value:g}"
        for key, value in figures_of(found).items()
    }
    known = {"licence": licence_of(project) or "as the base model", "form": found.form}
    gates = {f"gate {gate['key']}": "holds" if gate["passed"] else "fails" for gate in found.gates}
    return Entry(
        name=name or found.name,
        version=version,
        source=_job_output(found) if from_job else None,
        description=told[:_LONGEST_DESCRIPTION],
        tags=_short({**lineage_of(project, found), **known, **figures, **gates, **tags}),
        content=found.content,
        card=write_card(project, found, repo=name or found.name),
    )


def workspace_of(project: Project, target: str | None) -> azureml.Place:
    """Return the workspace of a target, of the only one of that kind, or of `config.json`.

    Raises:
        UsageError: There is no such target, or there are several.
        ConfigError: None is named anywhere.
    """
    tables = {name: each for name, each in project.manifest.targets.items() if isinstance(each, AzureMLTarget)}
    if target is not None and target not in tables:
        there = f"there are: {', '.join(tables)}" if tables else "scaffolder.toml has none of kind azureml"
        raise UsageError(f"`{target}` is no target of kind azureml", hint=there)
    if target is None and len(tables) > 1:
        raise UsageError(f"several targets are of kind azureml: {', '.join(tables)}", hint="--on NAME chooses one")
    table = tables[target] if target else next(iter(tables.values()), None)
    names = (table.subscription, table.resource_group, table.workspace) if table else (None, None, None)
    return azureml.place_of(project.root, *names)


def register(project: Project, found: Deliverable, wanted: Entry, place: azureml.Place) -> azureml.Registered:
    """Register a version, or find the one that holds the same.

    Raises:
        EnvironmentFault: The service is not reached, or nobody is signed in.
        ScaffolderError: It refused.
    """
    workspace = azureml.Workspace(place)
    with _source(project, found, wanted) as source:
        return azureml.register(
            workspace,
            wanted.name,
            source,
            content=wanted.content,
            version=wanted.version,
            description=wanted.description,
            tags=wanted.tags,
        )


@contextlib.contextmanager
def _source(project: Project, found: Deliverable, wanted: Entry) -> Iterator[str]:
    """Yield what the version is made from: a job's output, or a folder of exactly the model's files and its card."""
    if wanted.source is not None:
        yield wanted.source
        return
    with tempfile.TemporaryDirectory(dir=project.root / STATE_FOLDER, prefix="upload-") as aside:
        folder = Path(aside) / wanted.name
        for path, file in found.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            _link(file, folder / path)
        (folder / "README.md").write_text(wanted.card, encoding="utf-8")
        yield str(folder)


def _link(file: Path, place: Path) -> None:
    try:
        place.hardlink_to(file)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, place)


def _job_output(found: Deliverable) -> str:
    made_on = (found.record.made_on if found.record else None) or {}
    if made_on.get("engine") != "azureml":
        raise UsageError("no job on Azure Machine Learning made this model", hint="leave out --from-job: it is sent")
    folder = "output/adapter" if found.form == "adapter" else "output"
    return f"azureml://jobs/{made_on['job']}/outputs/run/paths/{folder}/"


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    found = {key[:_LONGEST_TAG]: value[:_LONGEST_TAG] for key, value in tags.items()}
    if len(found) > _MOST_TAGS - 1:
        raise UsageError(f"{len(found)} tags, and Azure takes {_MOST_TAGS}", hint="give fewer with --tag")
    return found
