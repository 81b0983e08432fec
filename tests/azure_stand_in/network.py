"""Azure's host names on loopback: an authority made on the spot, a proxy that leads there and nowhere else."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

HOSTS = ("management.azure.com", "*.blob.core.windows.net", "*.api.azureml.ms", "*.vault.azure.net")
_BLOBS = r".+\.blob\.core\.windows\.net"
_SERVICE = r"management\.azure\.com|.+\.api\.azureml\.ms|.+\.vault\.azure\.net"


@dataclass
class Certificates:
    """Files: the authority's certificate, what clients trust, the server's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority for this one test run, and a certificate of it for Azure's host names."""
    authority, key = folder / "authority.pem", folder / "authority.key"
    new = ["-newkey", "rsa:2048", "-nodes"]
    own = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=tests", *own, "-keyout", key, "-out", authority)
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1,{names}\nextendedKeyUsage=serverAuth\n")
    request, certificate, server_key = folder / "server.csr", folder / "server.pem", folder / "server.key"
    _openssl("req", *new, "-subj", "/CN=azure", "-keyout", server_key, "-out", request)
    signed = ["-CA", authority, "-CAkey", key, "-CAcreateserial", "-days", "2", "-extfile", extensions]
    _openssl("x509", "-req", "-in", request, *signed, "-out", certificate)
    key.unlink()
    return Certificates(authority, certificate, server_key)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass
class Doors:
    """Ports behind the proxy, and the hosts that were asked for: led on, and refused."""

    service: int = 0
    blobs: int = 0
    allowed: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


class Proxy(BaseHTTPRequestHandler):
    """CONNECT to Azure's hosts leads to the stand-in or to azurite; every other host is refused."""

    doors: ClassVar[Doors]

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        blobs, service = re.fullmatch(_BLOBS, host), re.fullmatch(_SERVICE, host)
        if not blobs and not service:
            self.doors.refused.add(host)
            self.send_error(403)
            return
        self.doors.allowed.add(host)
        with socket.create_connection(("127.0.0.1", self.doors.blobs if blobs else self.doors.service)) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(2**16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
