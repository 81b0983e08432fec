"""Blob storage: azurite, and its files for the stand-in, which speaks plain HTTPS with a signature of its own."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.azure_stand_in.network import Certificates

ACCOUNT = "devstoreaccount1"
# Azurite's own account, as its documentation publishes it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HOST = f"https://{ACCOUNT}.blob.core.windows.net"
_VERSION = "2020-10-02"


def signature() -> str:
    """Return a query that lets its holder do anything with the account's blobs for a day."""
    expiry = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = [ACCOUNT, "rwdlac", "b", "sco", "", expiry, "", "https", _VERSION, ""]
    mac = hmac.new(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256).digest()
    given = {"sv": _VERSION, "ss": "b", "srt": "sco", "sp": "rwdlac", "se": expiry, "spr": "https"}
    return urlencode({**given, "sig": base64.b64encode(mac).decode()})


class Storage:
    """Azurite's blobs by container and path.

    Args:
        port: Where it listens.
        authority: Whose certificate it shows.
    """

    def __init__(self, port: int, authority: Path) -> None:
        self.port = port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._signature = signature()

    def make(self, container: str) -> None:
        with contextlib.suppress(FileExistsError):
            self._ask("PUT", container, "", {"restype": "container"})

    def put(self, container: str, name: str, content: bytes) -> None:
        self._ask("PUT", container, name, {}, content, {"x-ms-blob-type": "BlockBlob"})

    def get(self, container: str, name: str) -> bytes:
        return self._ask("GET", container, name, {})

    def names(self, container: str, prefix: str) -> list[str]:
        text = self._ask("GET", container, "", {"restype": "container", "comp": "list", "prefix": prefix})
        return [str(each.text) for each in ElementTree.fromstring(text).iter("Name")]

    def bring(self, container: str, path: str, target: Path) -> Path:
        """Write a blob, or everything below a path, to `target`."""
        for name in self.names(container, path):
            if name != path and not name.startswith(f"{path.rstrip('/')}/"):
                continue
            file = target if name == path else target / name[len(path.rstrip("/")) + 1 :]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.get(container, name))
        return target

    def keep(self, container: str, path: str, folder: Path) -> None:
        """Write everything below a folder to blobs."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(container, f"{path.rstrip('/')}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def _ask(
        self,
        method: str,
        container: str,
        name: str,
        query: dict[str, str],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        # Through no proxy: the certificate holds for this address as well.
        path = f"{container}/{quote(name)}" if name else container
        address = f"https://127.0.0.1:{self.port}/{ACCOUNT}/{path}?{urlencode(query)}&{self._signature}"
        request = urllib.request.Request(address, data=body, method=method, headers=headers or {})
        if method == "PUT" and body is None:
            request.add_header("Content-Length", "0")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 409:
                raise FileExistsError(container) from error
            raise


@contextlib.contextmanager
def azurite(modules: Path, folder: Path, certificates: Certificates) -> Iterator[Storage]:
    """Run azurite's blob service on a free port of loopback."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    program = modules / "azurite" / "dist" / "src" / "blob" / "main.js"
    command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", port, "--silent"]
    command += ["--cert", certificates.certificate, "--key", certificates.key]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
    with (folder / "azurite.log").open("w") as log:
        child = subprocess.Popen([*map(str, command)], stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            _wait(port, child, folder)
            yield Storage(port, certificates.authority)
        finally:
            child.terminate()
            child.wait(20)


def _wait(port: int, child: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if child.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(re.sub(r"\s+", " ", (folder / "azurite.log").read_text()))
