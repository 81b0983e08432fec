"""The whole stand-in, and the command beside the real SDK that it serves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from tests.azure_stand_in.executor import Executor
from tests.azure_stand_in.network import Doors, Proxy, make_certificates
from tests.azure_stand_in.service import ARTEFACTS, CONTAINER, Cloud, Service
from tests.azure_stand_in.storage import azurite

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "SCAFFOLDER_AZURE"


def missing() -> str | None:
    """Return what these tests lack on this machine, or None."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"{VARIABLE} names no folder: `sh tests/azure_stand_in/setup.sh FOLDER` makes one"
    # Its compiled packages are loaded into this interpreter too.
    same = f"venv/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    for part in ("venv/bin/python", same, "node_modules/azurite"):
        if not (Path(folder) / part).exists():
            return f"{folder}/{part} is missing: `sh tests/azure_stand_in/setup.sh {folder}`"
    return None


def light_python() -> Path:
    """Return the interpreter of the light environment, which has the SDK."""
    return Path(os.environ[VARIABLE]).absolute() / "venv" / "bin" / "python"


def packages() -> Path:
    """Return the folder of the light environment's packages."""
    return next(Path(os.environ[VARIABLE]).absolute().glob("venv/lib/python*/site-packages"))


@dataclass
class StandIn:
    """The service, its computes, and what leads a client there."""

    cloud: Cloud
    executor: Executor
    doors: Doors
    variables: dict[str, str]
    folder: Path

    def command(self, root: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `scaffolder ARGUMENTS` in the project `root`, in the light environment."""
        result = subprocess.run(
            [str(light_python()), "-m", "scaffolder", *map(str, arguments)],
            cwd=root,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a client: nothing but loopback is reached."""
        own = {"SCAFFOLDER_PYTHON": sys.executable, "PYTHONWARNINGS": "ignore"}
        return {**os.environ, **own, **self.variables, **variables}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that were ended break off."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[StandIn]:
    """Run everything on free ports of loopback."""
    certificates = make_certificates(folder)
    doors = Doors()
    with azurite(Path(os.environ[VARIABLE]) / "node_modules", folder, certificates) as blobs:
        for container in (CONTAINER, ARTEFACTS):
            blobs.make(container)
        cloud = Cloud(blobs)
        handler = type("Handler", (Service,), {"cloud": cloud})
        secure = _Server(("127.0.0.1", 0), handler)
        secure.socket = _context(certificates).wrap_socket(
            secure.socket, server_side=True, do_handshake_on_connect=False
        )
        plain = _Server(("127.0.0.1", 0), handler)
        proxy = _Server(("127.0.0.1", 0), type("Handler", (Proxy,), {"doors": doors}))
        doors.service, doors.blobs = secure.server_port, blobs.port
        variables = {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}",
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(certificates.authority),
            # The managed identity of a machine in Azure.
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{plain.server_port}/msi/token",
            "IDENTITY_HEADER": "header",
        }
        executor = Executor(cloud, folder, Path(sys.executable))
        cloud.start = executor.start
        with _running(secure, plain, proxy):
            yield StandIn(cloud, executor, doors, variables, folder)
            for job in list(cloud.resources.values()):
                if job["properties"].get("status") in ("Starting", "Preparing", "Running"):
                    job["properties"]["status"] = "CancelRequested"
            executor.wait()


def _context(certificates: object) -> object:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)  # type: ignore[attr-defined]
    return context


@contextlib.contextmanager
def _running(*servers: ThreadingHTTPServer) -> Iterator[None]:
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
