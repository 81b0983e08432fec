"""A workflow as a SkyPilot task: the same entry on each node, on Kubernetes and every cloud that SkyPilot reaches."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from scaffolder.content import write_atomically
from scaffolder.errors import ConfigError, ScaffolderError, UsageError
from scaffolder.remote.prepare import prepare, write

if TYPE_CHECKING:
    from scaffolder.project import Project
    from scaffolder.remote.job import Job
    from scaffolder.targets import Processes
    from scaffolder.workflow.current import EventSink

FILE = "sky.yaml"
_PYTHON = "3.12"
_LOCK = "setup/requirements.txt"
_ENVIRONMENT = "~/.scaffolder-venv"
# Where what several nodes share is mounted.
_SHARED = "/scaffolder"


@dataclass(frozen=True, slots=True)
class Machines:
    """What a task asks for.

    Attributes:
        nodes: Machines.
        accelerators: Cards of each, as SkyPilot names them ("A100:2"); None for none.
        infra: Where, as SkyPilot names it ("k8s", "aws/us-east-1"); None for the cheapest.
        storage: Address of a bucket that all nodes mount, such as "s3://bucket"; needed for several.
        spot: Machines that can be taken away.
    """

    nodes: int = 1
    accelerators: str | None = None
    infra: str | None = None
    storage: str | None = None
    spot: bool = False

    @property
    def processes(self) -> Processes:
        """Training processes on each node."""
        return "gpus" if self.accelerators else 1


@dataclass(frozen=True, slots=True)
class Exported:
    """A task's file.

    Attributes:
        path: Relative to the project.
        text: Its content.
        commands: What launches it and brings the result, in the project's folder.
    """

    path: str
    text: str
    commands: tuple[str, ...]


def export_task(
    project: Project,
    name: str,
    machines: Machines,
    *,
    preset: str | None,
    overrides: dict[str, Any],
    dry_run: bool,
    on_event: EventSink,
) -> Exported:
    """Write a task for a workflow, with the folder that its nodes need.

    Args:
        project: The project.
        name: A workflow of the manifest.
        machines: What it runs on.
        preset: Another configuration for the workflow.
        overrides: Values set over its configuration, by dotted path.
        dry_run: Write nothing.
        on_event: Gets warnings.

    Raises:
        UsageError: Several nodes share no storage.
        ConfigError: The workflow has mistakes, or the project no lock.
    """
    if machines.nodes > 1 and machines.storage is None:
        raise UsageError(
            f"{machines.nodes} nodes have to see the same checkpoints and results",
            hint="`--storage s3://BUCKET` (or gs://, https://…) is mounted on each of them",
        )
    if not (project.root / _LOCK).is_file():
        raise ConfigError(f"{_LOCK} is missing: the nodes' environment is made from it")
    [prepared] = prepare(
        project,
        name,
        "skypilot",
        table=machines,
        preset=preset,
        overrides=overrides,
        sweep={},
        restart=True,
        on_event=on_event,
    )
    # A place of its own: attempts are numbered by the jobs that were submitted from here.
    job = dataclasses.replace(prepared.job, folder=f"{prepared.job.run}/skypilot")
    if job.nodes != machines.nodes and machines.nodes > 1:
        raise ScaffolderError(f"{name} trains nothing, and one machine does all of it", hint="leave out --nodes")
    exported = _render(project, job, machines)
    if not dry_run:
        write(project, [dataclasses.replace(prepared, job=job)])
        write_atomically(project.root / exported.path, exported.text)
    return exported


def _render(project: Project, job: Job, machines: Machines) -> Exported:
    home = f"~/{project.root.name}"
    run = f"{_SHARED}/{job.run}" if machines.storage else job.run
    python = f"{_ENVIRONMENT}/bin/python"
    task: dict[str, Any] = {
        "name": job.id,
        "num_nodes": machines.nodes,
        "resources": _resources(machines),
        "file_mounts": _mounts(job, home, machines),
        "setup": "\n".join(
            [
                "set -e",
                "command -v uv > /dev/null || python3 -m pip install --quiet uv",
                f"uv venv --quiet --allow-existing --python {_PYTHON} {_ENVIRONMENT}",
                f"uv pip install --quiet --python {python} -r {home}/{_LOCK}",
                "",
            ]
        ),
        "run": f"cd {home}\nexec {python} {shlex.join([job.worker, 'node', job.spec, '--run', run])}\n",
    }
    path = f"{job.folder}/{FILE}"
    cluster = "CLUSTER"
    brought = f"rsync -a {cluster}:{home}/{job.run}/output {job.run}/"
    commands = (
        f"sky launch -c {cluster} {path}",
        brought if not machines.storage else f"in {machines.storage}: {job.run}",
    )
    text = yaml.dump({key: value for key, value in task.items() if value}, Dumper=_Dumper, sort_keys=False, width=120)
    return Exported(path, text, commands)


def _resources(machines: Machines) -> dict[str, Any]:
    found = {"accelerators": machines.accelerators, "infra": machines.infra, "use_spot": machines.spot or None}
    return {key: value for key, value in found.items() if value is not None}


def _mounts(job: Job, home: str, machines: Machines) -> dict[str, Any]:
    """Return each of the job's inputs at its place; a working folder would leave out what git ignores."""
    inputs = [
        name for name in job.inputs if not any(name != other and name.startswith(f"{other}/") for other in job.inputs)
    ]
    found: dict[str, Any] = {f"{home}/{name}": f"./{name}" for name in [*inputs, job.folder]}
    if machines.storage:
        found[_SHARED] = {"source": machines.storage, "mode": "MOUNT"}
    return found


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they are, line by line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
