"""Jobs on Azure Machine Learning: one command job each, whose inputs go to their places before the node's own entry."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from scaffolder import azureml, modellock
from scaffolder.content import Hashes
from scaffolder.errors import ConfigError
from scaffolder.plan import STATE_FOLDER
from scaffolder.records import EVENTS, read_event
from scaffolder.remote.job import ENDED, JobStatus, Rendered, State, references
from scaffolder.worker.data.sensitive import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scaffolder.project import Project
    from scaffolder.remote.job import Job, JobReference
    from scaffolder.targets import AzureMLTarget

JOB_FILE, PLACES, IGNORE = "job.yml", "places.json", ".amlignore"
# The job's output, and in it the run's folder.
OUTPUT = "run"
_SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"
_IMAGES = {
    "cpu": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest",
    "cuda": "mcr.microsoft.com/azureml/openmpi5.0-cuda12.6-ubuntu24.04:latest",
}
_PYTHON = "3.12"
# Read the hub's token inside the job.
_FOR_KEYVAULT = ("azure-identity>=1.19", "azure-keyvault-secrets>=4.8")
_LOCK = "setup/requirements.txt"
_SECONDS_BETWEEN_LOOKS = 3.0
# The SDK's words (`azure.ai.ml.constants.JobStatus`).
_STATES: dict[str, State] = {
    "NotStarted": "queued", "Starting": "queued", "Provisioning": "queued", "Preparing": "queued", "Queued": "queued",
    "Scheduled": "queued", "Paused": "queued", "Running": "running", "Finalizing": "running",
    "CancelRequested": "running", "NotResponding": "running", "Completed": "succeeded", "Failed": "failed",
    "Canceled": "cancelled",
}  # fmt: skip


class AzureMLEngine:
    """Submits command jobs to a workspace."""

    def __init__(self, project: Project, target: AzureMLTarget) -> None:
        self._project = project
        self._target = target

    def check(self, jobs: Sequence[Job]) -> list[str]:
        """Return what is wrong with target and jobs that neither its table nor the SDK tells."""
        files = [self._job(job) for job in jobs]
        problems = [problem for file in files for problem in azureml.check_job(file)]
        problems += [
            f"the job's file would show everyone what looks like {what}; put it into a key vault"
            for file in files
            for what, _ in secrets_of(yaml.safe_dump(file))
        ]
        inputs = {name for job in jobs for name in job.inputs}
        read = ", ".join(sorted(inputs))
        strange = [name for name in self._target.data if name not in inputs]
        problems += [f"`data` names {name}, which the job does not read; it reads {read}" for name in strange]
        if self._target.model == "hub":
            problems += self._not_from_hub()
        if self._target.environment is None and not (self._project.root / _LOCK).is_file():
            problems.append(f"{_LOCK} is missing: the environment is built from it, or name one as `environment`")
        try:
            self._place()
        except ConfigError as error:
            problems.append(error.message)
        return list(dict.fromkeys(problems))

    def render(self, jobs: Sequence[Job]) -> list[Rendered]:
        """Return for each job its file, where its inputs belong, and what of its folder stays here."""
        hashes = Hashes(self._project.root / STATE_FOLDER / "hashes.json")
        found = []
        for job in jobs:
            place = self._place()
            command = (
                f"az ml job create -f {job.folder}/{JOB_FILE} --subscription {place.subscription} "
                f"-g {place.resource_group} -w {place.workspace}"
            )
            text = yaml.safe_dump(self._job(job), sort_keys=False, allow_unicode=True, width=120)
            places = json.dumps(self._places(job, hashes), indent=2, ensure_ascii=False) + "\n"
            ignored = "\n".join([JOB_FILE, IGNORE, "*.log", "exit_code", "__pycache__/", ""])
            found.append(Rendered(f"{job.folder}/{JOB_FILE}", text, command))
            found.append(Rendered(f"{job.folder}/{PLACES}", places, ""))
            found.append(Rendered(f"{job.folder}/{IGNORE}", ignored, ""))
        hashes.save()
        return found

    def submit(self, jobs: Sequence[Job]) -> list[JobReference]:
        """Ask for the compute, then submit each job under its own id."""
        place = self._place()
        workspace = azureml.Workspace(place)
        if self._target.compute:
            workspace.check_compute(self._target.compute, max(job.nodes for job in jobs))
        found = []
        for job in jobs:
            url = workspace.submit(self._project.root / job.folder / JOB_FILE, job.id)
            names = {"resource_group": place.resource_group, "workspace": place.workspace}
            names |= {"result": self._result(job), "url": url}
            found += references([job], [job.id], "azureml", subscription=place.subscription, **names)
        return found

    def status(self, reference: JobReference) -> JobStatus:
        """Ask the workspace."""
        found = _workspace(reference).state(reference.native)
        if found is None:
            return JobStatus("unknown", "not known to the workspace")
        state = _STATES.get(found.word, "unknown")
        code = 0 if state == "succeeded" else found.exit_code
        why = _failure(_workspace(reference).log(reference.native)) if state == "failed" else ""
        return JobStatus(state, found.word, code, why or found.message)

    def logs(self, reference: JobReference, *, follow: bool) -> Iterator[str]:
        """Yield the lines of the first node's log."""
        workspace, seen = _workspace(reference), 0
        while True:
            # Asked first: whatever an ended job wrote is there at the reading that follows.
            last = not follow or self.status(reference).state not in ("queued", "running")
            lines = workspace.log(reference.native).decode("utf-8", "replace").splitlines(keepends=True)
            whole = [line for line in lines if last or line.endswith("\n")]
            yield from (line.rstrip("\r\n") for line in whole[seen:])
            seen = max(seen, len(whole))
            if last:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def cancel(self, reference: JobReference) -> None:
        """Have the service end it."""
        if self.status(reference).state not in ENDED:
            _workspace(reference).cancel(reference.native)

    def fetch(self, reference: JobReference, into: Path) -> Path:
        """Download the run's events and its result; checkpoints stay there for the next attempt."""
        into.mkdir(parents=True, exist_ok=True)
        workspace, result = _workspace(reference), reference.place["result"]
        workspace.download(f"{result}/{EVENTS}", into)
        workspace.download(f"{result}/output/", into / "output")
        return into

    def _place(self) -> azureml.Place:
        target = self._target
        return azureml.place_of(self._project.root, target.subscription, target.resource_group, target.workspace)

    def _job(self, job: Job) -> dict[str, Any]:
        """Return the content of the job's file."""
        target, inputs = self._target, self._inputs(job)
        serverless = {"instance_type": target.instance_type} if target.instance_type else {}
        given = " ".join(f"'{name}=${{{{inputs.{name}}}}}'" for name in inputs)
        start = f"python worker node job.json --run '${{{{outputs.{OUTPUT}}}}}'"
        found = {
            "$schema": _SCHEMA,
            "type": "command",
            "display_name": job.id,
            "experiment_name": target.experiment or _slug(self._project),
            "code": ".",
            "command": f"python worker place {PLACES} {given} && {start}",
            "environment": self._environment(),
            "inputs": inputs,
            "outputs": {OUTPUT: {"type": "uri_folder", "mode": "rw_mount", "path": self._result(job)}},
            # One process a machine: the node's entry starts those that train.
            "distribution": {"type": "pytorch", "process_count_per_instance": 1},
            "resources": {"instance_count": job.nodes, "shm_size": target.shm_size, **serverless},
            "tags": {**target.tags, **job.tags, "job": job.id},
        }
        return found | self._settings()

    def _result(self, job: Job) -> str:
        """Return where the run's folder lies in the datastore; the next attempt at it finds its checkpoints there."""
        return f"azureml://datastores/{self._target.datastore}/paths/scaffolder/{_slug(self._project)}/{job.run}"

    def _settings(self) -> dict[str, Any]:
        """Return the entries that only some targets have."""
        target = self._target
        found: dict[str, Any] = {}
        if target.compute:
            found["compute"] = f"azureml:{target.compute}"
        if target.variables:
            found["environment_variables"] = dict(target.variables)
        if target.identity:
            found["identity"] = {"type": {"user": "user_identity", "managed": "managed"}[target.identity]}
        if target.time:
            found["limits"] = {"timeout": target.time * 60}
        if target.spot:
            found["queue_settings"] = {"job_tier": "spot"}
        return found

    def _environment(self) -> dict[str, Any] | str:
        target = self._target
        if target.environment:
            return target.environment
        stack, pins = self._lock()
        pins += [*_FOR_KEYVAULT] if target.keyvault else []
        packages: list[Any] = [f"python={_PYTHON}", "pip", {"pip": pins}]
        conda = {"name": _slug(self._project), "channels": ["conda-forge"], "dependencies": packages}
        return {"image": target.image or _IMAGES[stack], "conda_file": conda}

    def _lock(self) -> tuple[str, list[str]]:
        """Return the stack of the project's lock and its lines."""
        path = self._project.root / _LOCK
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        pins = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        cuda = any(
            pin.startswith(("nvidia-", "onnxruntime-genai-cuda", "onnxruntime-gpu", "bitsandbytes")) for pin in pins
        )
        return ("cuda" if cuda else "cpu"), pins

    def _inputs(self, job: Job) -> dict[str, dict[str, str]]:
        """Return the job's inputs by name: from Azure where the target says so, else sent from here."""
        up = "../" * len(PurePosixPath(job.folder).parts)
        found = {}
        for path in self._sent(job):
            folder = (self._project.root / path).is_dir()
            source = self._in_azure(path) or f"{up}{path}"
            kind = "custom_model" if "/models/" in source and source.startswith("azureml:") else "uri_folder"
            found[_name(path)] = {
                "type": kind if folder else "uri_file",
                "path": source,
                "mode": "download",
            }
        return found

    def _sent(self, job: Job) -> list[str]:
        """Return the job's inputs, without those inside another and the model that it downloads itself."""
        model = self._project.manifest.model.path if self._target.model == "hub" else None
        known = sorted(job.inputs)
        return [
            path
            for path in known
            if path != model and not any(path != other and path.startswith(f"{other}/") for other in known)
        ]

    def _in_azure(self, path: str) -> str | None:
        if path == self._project.manifest.model.path and self._target.model not in ("cache", "hub"):
            return self._target.model
        return self._target.data.get(path)

    def _places(self, job: Job, hashes: Hashes) -> dict[str, Any]:
        """Return where each input belongs, and the SHA-256 of every file that has to be there."""
        files = {
            _name(path): {"path": path, "sha256": _listing(self._project.root / path, hashes)}
            for path in self._sent(job)
        }
        return {"files": files, "hub": self._hub()}

    def _hub(self) -> dict[str, Any] | None:
        target, model = self._target, self._project.manifest.model
        entry = modellock.read(self._project.root).get(model.id)
        if target.model != "hub" or entry is None:
            return None
        sha256 = {path: file.sha256 for path, file in sorted(entry.files.items())}
        found = {"repo": model.id, "commit": entry.commit, "path": model.path, "sha256": sha256}
        return {**found, "keyvault": target.keyvault, "secret": target.secret}

    def _not_from_hub(self) -> list[str]:
        """Return why the job can't download the base model itself."""
        model = self._project.manifest.model
        if self._project.is_derived:
            return [f'`model = "hub"` brings {model.id}, and {model.path} is made from it here: leave `model` out']
        entry = modellock.read(self._project.root).get(model.id)
        if entry is not None and entry.commit:
            return []
        return [f'`model = "hub"` needs the commit of {model.id} in {modellock.LOCK}: scaffolder download']


def _workspace(reference: JobReference) -> azureml.Workspace:
    # The table may have changed since; the job is where it was.
    names = (reference.place[key] for key in ("subscription", "resource_group", "workspace"))
    return azureml.Workspace(azureml.Place(*names))


def _failure(log: bytes) -> str:
    """Return why a job failed, as its own events tell: they stand among the lines of its log."""
    events = [event for line in log.decode("utf-8", "replace").splitlines() if (event := read_event(line))]
    return next((str(event.get("message", "")) for event in reversed(events) if event["event"] == "failed"), "")


def _listing(path: Path, hashes: Hashes) -> dict[str, str]:
    """Return the SHA-256 of each file by its path below `path`; "" stands for `path` itself."""
    if path.is_file():
        return {"": hashes.file(path)}
    return {
        file.relative_to(path).as_posix(): hashes.file(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in file.relative_to(path).parts)
    }


def _name(path: str) -> str:
    """Return an input's name, which may hold letters, digits and `_`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")


def _slug(project: Project) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", project.manifest.project.name).strip("-_") or "project"
