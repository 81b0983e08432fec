"""What a compute of Azure does with a job: bring code and inputs, run the command on each machine, keep the outputs.

Machines are processes here, each with a copy of the code. A mounted output is one folder for all machines, and for
every job that names the same place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.azure_stand_in.service import ARTEFACTS, CONTAINER, Cloud

_DATASTORE = re.compile(r"datastores/[^/]+/paths/(.+)")


@dataclass
class Executor:
    """Runs jobs in `folder`, with `python` as the interpreter of their environment.

    Attributes:
        variables: Of the machine, beside the job's own.
        seen: Command lines and variables of every process of a job.
        prelude: Shell before every command, for tests that break something.
    """

    cloud: Cloud
    folder: Path
    python: Path
    variables: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    prelude: str = ""
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, job: dict[str, Any]) -> None:
        """Run a job in the background."""
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Wait until every job has ended."""
        for thread in self.threads:
            thread.join(60)

    def _run(self, job: dict[str, Any]) -> None:
        stated = job["properties"]
        try:
            self._set(job, "Preparing")
            codes = self._execute(job, self.folder / "jobs" / job["name"])
            failed = [code for code in codes if code]
            if stated["status"] == "CancelRequested":
                self._set(job, "Canceled")
            elif failed:
                job["_error"] = {
                    "error": {"code": "UserError", "message": f"Process exited with exit code {failed[0]}"}
                }
                self._set(job, "Failed")
            else:
                self._set(job, "Completed")
        except Exception:
            self.cloud.problems.append(traceback.format_exc())
            job["_error"] = {"error": {"code": "StandIn", "message": traceback.format_exc()}}
            self._set(job, "Failed")

    def _set(self, job: dict[str, Any], word: str) -> None:
        with self.cloud.lock:
            if job["properties"]["status"] != "CancelRequested" or word in ("Canceled",):
                job["properties"]["status"] = word

    def _execute(self, job: dict[str, Any], work: Path) -> list[int]:
        stated = job["properties"]
        values = self._inputs(stated, work) | self._outputs(stated)
        command = re.sub(r"\$\{\{(.+?)\}\}", lambda found: values[found[1].strip()], stated["command"])
        machines = int((stated.get("resources") or {}).get("instanceCount") or 1)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        children = []
        for rank in range(machines):
            place = work / f"machine-{rank}"
            self._code(stated, place)
            log = (work / f"std_log_process_{rank:02d}.txt").open("wb")
            variables = self._variables(job, rank, machines, port)
            children.append(
                subprocess.Popen(
                    ["bash", "-c", self.prelude + command],
                    cwd=place,
                    env=variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            log.close()
        self._set(job, "Running")
        self._watch(job, children, work)
        for name, output in stated["outputs"].items():
            if name != "default":
                self.cloud.storage.keep(CONTAINER, self._path(output["uri"]), Path(values[f"outputs.{name}"]))
        return [child.returncode for child in children]

    def _watch(self, job: dict[str, Any], children: list[subprocess.Popen[bytes]], work: Path) -> None:
        while True:
            over = all(child.poll() is not None for child in children)
            # One that fails takes the others with it, as a job's end does.
            broken = any(child.poll() not in (None, 0) for child in children)
            if job["properties"]["status"] == "CancelRequested" or broken:
                _end(children)
            self._note(children)
            logs = {}
            for file in work.glob("std_log*.txt"):
                place = f"ExperimentRun/dcid.{job['name']}/user_logs/{file.name}"
                self.cloud.storage.put(ARTEFACTS, place, file.read_bytes())
                logs[f"user_logs/{file.name}"] = place
            job["_logs"] = logs
            if over:
                return
            time.sleep(0.5)

    def _note(self, children: list[subprocess.Popen[bytes]]) -> None:
        for child in children:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(child.pid)
                for each in [process, *process.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        self.seen.append(f"{each.cmdline()} {each.environ()}")

    def _variables(self, job: dict[str, Any], rank: int, machines: int, port: int) -> dict[str, str]:
        stated = job["properties"]
        own = {"PATH": f"{self.python.parent}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        found = {**own, **self.variables, **(stated.get("environmentVariables") or {}), "AZUREML_RUN_ID": job["name"]}
        if (stated.get("distribution") or {}).get("distributionType") == "PyTorch":
            assert stated["distribution"]["processCountPerInstance"] == 1
            ranks = {"RANK": rank, "LOCAL_RANK": 0, "NODE_RANK": rank, "WORLD_SIZE": machines, "MASTER_PORT": port}
            found |= {**{name: str(value) for name, value in ranks.items()}, "MASTER_ADDR": "127.0.0.1"}
        return found

    def _code(self, stated: dict[str, Any], place: Path) -> None:
        place.mkdir(parents=True)
        address = self.cloud.resources[stated["codeId"].lower()]["properties"]["codeUri"]
        _, container, path = urlsplit(address).path.split("/", 2)
        self.cloud.storage.bring(container, path, place)

    def _inputs(self, stated: dict[str, Any], work: Path) -> dict[str, str]:
        found = {}
        for name, given in (stated.get("inputs") or {}).items():
            path = self._path(given["uri"])
            place = self.cloud.storage.bring(CONTAINER, path, work / "inputs" / name / Path(path).name)
            found[f"inputs.{name}"] = str(place)
        return found

    def _outputs(self, stated: dict[str, Any]) -> dict[str, str]:
        found = {}
        for name, given in stated["outputs"].items():
            if name != "default":
                place = self.folder / "mounts" / hashlib.sha256(given["uri"].encode()).hexdigest()[:16]
                place.mkdir(parents=True, exist_ok=True)
                found[f"outputs.{name}"] = str(place)
        return found

    def _path(self, uri: str) -> str:
        """Return a datastore's path; assets of data and models are looked up."""
        found = _DATASTORE.search(uri)
        if found:
            return found[1].rstrip("/")
        asset = self.cloud.resources[uri.lower()]["properties"]
        return self._path(asset.get("dataUri") or asset["modelUri"])


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
