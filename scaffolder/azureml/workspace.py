"""One workspace: its jobs, computes and models."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scaffolder.azureml.errors import NotFound, need_sdk, our_errors
from scaffolder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_NAMES = ("config.json", ".azureml/config.json")
_STATUS_CODE = re.compile(r"(?:exit|status)[ _-]?code:? ?\[?(\d+)", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{\{\s*(inputs|outputs)\.([\w.-]+)\s*\}\}")
_JOB_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,254}")
_URI = re.compile(
    r"azureml:[\w.-]+([:@][\w.-]+)?|azureml://(registries/[\w.-]+/\w+/[\w.-]+/(versions|labels)/[\w.-]+"
    r"|datastores/[\w.-]+/paths/.+|jobs/[\w.-]+/outputs/[\w.-]+(/paths/.+)?|subscriptions/.+)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace's names."""

    subscription: str
    resource_group: str
    workspace: str


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the service tells of it.

    Attributes:
        word: Its status.
        message: Why it failed.
        exit_code: Of its command, where the message names it.
    """

    word: str
    message: str = ""
    exit_code: int | None = None


def place_of(root: Path, subscription: str | None, resource_group: str | None, workspace: str | None) -> Place:
    """Return a workspace by its names, or by the `config.json` that its page offers for download.

    Raises:
        ConfigError: There is none, or it does not name a workspace.
    """
    if subscription and resource_group and workspace:
        return Place(subscription, resource_group, workspace)
    path = next((root / name for name in _NAMES if (root / name).is_file()), None)
    hint = "the workspace's page offers `config.json` for download; or name all three under [targets.NAME]"
    if path is None:
        raise ConfigError("no workspace is named: `subscription`, `resource_group`, `workspace`", hint=hint)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Place(*(str(found[key]) for key in ("subscription_id", "resource_group", "workspace_name")))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path.relative_to(root)} names no workspace: {error!r}", hint=hint) from error


class Workspace:
    """A workspace, signed in to by DefaultAzureCredential when it is first asked.

    Args:
        place: Its names.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @cached_property
    def client(self) -> Any:
        """The SDK's client."""
        need_sdk()
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        place = self.place
        with our_errors(f"the workspace {place.workspace}"):
            return MLClient(
                DefaultAzureCredential(),
                place.subscription,
                place.resource_group,
                place.workspace,
                show_progress=False,
                enable_telemetry=False,
            )

    def check_compute(self, name: str, nodes: int) -> None:
        """Raise where a compute is not there, or is smaller than the job.

        Raises:
            ConfigError: It is not.
        """
        try:
            with our_errors(f"the compute {name}"):
                found = self.client.compute.get(name)
        except NotFound as error:
            with our_errors(f"the workspace {self.place.workspace}"):
                there = ", ".join(each.name for each in self.client.compute.list()) or "none"
            message = f"the workspace {self.place.workspace} has no compute {name}"
            raise ConfigError(message, hint=f"there are: {there}") from error
        most = getattr(found, "max_instances", None)
        if most is not None and nodes > most:
            raise ConfigError(f"`nodes = {nodes}`, and {name} grows to {most} machines at most")

    def submit(self, file: Path, name: str) -> str:
        """Submit a job's file under a name, and return the address of its page.

        Raises:
            ConfigError: The file is no job.
            ScaffolderError: The service refused it.
        """
        need_sdk()
        from azure.ai.ml import load_job

        with our_errors(file.name):
            job = load_job(file)
        job.name = name
        with our_errors(f"the job {name}"):
            made = self.client.jobs.create_or_update(job)
        return str(made.studio_url or "")

    def state(self, name: str) -> JobState | None:
        """Return how a job stands, or None where the workspace does not know it."""
        try:
            with our_errors(f"the job {name}"):
                status = self.client.jobs.get(name).status
                word = str(getattr(status, "value", status))  # an enumeration, or a word that is new
                message = self._why(name) if word in ("Failed", "NotResponding") else ""
        except NotFound:
            return None
        code = _STATUS_CODE.search(message)
        return JobState(word, message, int(code[1]) if code else None)

    def log(self, name: str) -> bytes:
        """Return what the job's first node printed so far."""
        import requests

        with our_errors(f"the job {name}"):
            files = self._details(name).log_files or {}
        # The rank's number stands in the name where there are several; the first node's is zero.
        known = sorted(path for path in files if re.search(r"user_logs/std_log(_process_0*)?\.txt$", path))
        if not known:
            return b""
        answer = requests.get(files[known[0]], timeout=60)
        return answer.content if answer.ok else b""

    def cancel(self, name: str) -> None:
        """Have a job ended."""
        with our_errors(f"the job {name}"):
            self.client.jobs.begin_cancel(name)

    def download(self, uri: str, into: Path) -> None:
        """Download the file, or all below the folder (with a slash at its end), that a datastore's address names."""
        # The public way, `jobs.download`, brings whole outputs, and with them every checkpoint.
        from azure.ai.ml._artifacts._artifact_utilities import download_artifact_from_aml_uri

        with our_errors(uri):
            download_artifact_from_aml_uri(uri, str(into), self.client.datastores)

    def models(self, name: str) -> Iterable[Any]:
        """Return the versions of a model, newest first."""
        return list(self.client.models.list(name=name))

    def _details(self, name: str) -> Any:
        # The public way, `jobs.stream`, prints the log and waits for the job's end.
        return self.client.jobs._runs_operations.get_run_details(name)

    def _why(self, name: str) -> str:
        error = getattr(self._details(name), "error", None)
        told = getattr(error, "error", None)
        return str(getattr(told, "message", "") or "")


def check_job(job: dict[str, Any]) -> list[str]:
    """Return what is wrong with a job's file and neither the SDK nor the service tells before it is queued.

    Args:
        job: Its content.
    """
    return [*_unplaced(job), *_unknown_names(job), *_malformed_paths(job)]


def _unplaced(job: dict[str, Any]) -> Iterator[str]:
    resources = job.get("resources") or {}
    if not job.get("compute") and not resources.get("instance_type"):
        yield "neither `compute` nor `resources.instance_type` says where it runs"
    count = resources.get("instance_count", 1)
    if not isinstance(count, int) or count < 1:
        yield f"`resources.instance_count` is {count}; it is at least 1"


def _unknown_names(job: dict[str, Any]) -> Iterator[str]:
    for kind, name in _REFERENCE.findall(str(job.get("command", ""))):
        if name not in (job.get(kind) or {}):
            yield f"`command` uses ${{{{{kind}.{name}}}}}, and there is no such entry in `{kind}`"
    for name, value in (job.get("environment_variables") or {}).items():
        if not isinstance(value, str):
            yield f"`environment_variables.{name}` is no text: quote it"
    name = job.get("name")
    if name is not None and not _JOB_NAME.fullmatch(str(name)):
        yield f"`name`: `{name}` may hold letters, digits, `-` and `_`, 255 at most"


def _malformed_paths(job: dict[str, Any]) -> Iterator[str]:
    for kind in ("inputs", "outputs"):
        for name, entry in (job.get(kind) or {}).items():
            path = entry.get("path") if isinstance(entry, dict) else None
            if isinstance(path, str) and path.startswith("azureml:") and not _URI.fullmatch(path):
                yield f"`{kind}.{name}.path`: `{path}` is no address of a datastore, asset, job or registry"
