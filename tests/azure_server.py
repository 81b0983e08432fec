"""A registry of Azure Machine Learning on loopback, under Azure's own host names, for the real SDK.

The SDK is pointed here by its proxy variable: a CONNECT proxy leads every host to one TLS server, whose certificate
is of an authority made for the test. What the service needs of Entra ID and of Blob Storage is here too.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT = "11111111-2222-3333-4444-555555555555"
REGION = "https://eastus.api.azureml.ms"
STORE = "https://registry.blob.core.windows.net/models"
HOSTS = ("DNS:*.api.azureml.ms", "DNS:*.blob.core.windows.net", "DNS:management.azure.com")


@dataclass
class Registry:
    """Models by "name/version", files by path; which hosts were asked; where the doors are."""

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ClassVar[Registry]

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_HEAD(self) -> None:
        # The SDK looks whether the model is one file.
        self.send_response(404)
        self.send_header("x-ms-error-code", "BlobNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/msi/token":
            token = {"access_token": "e30.e30.e30", "expires_on": "4102444800", "token_type": "Bearer"}
            self._json({**token, "resource": parse_qs(parts.query)["resource"][0]})
        elif parts.path.startswith("/registrymanagement/"):
            place = {"primaryRegion": "eastus", "regions": ["eastus"], "primaryRegionResourceProviderUri": f"{REGION}/"}
            owner = {"tenantId": TENANT, "subscriptionId": TENANT, "resourceGroup": "group"}
            self._json({"registryName": "acme", **place, **owner})
        elif self.headers["Host"].endswith(".blob.core.windows.net"):
            self._store(parts.path, parse_qs(parts.query))
        else:
            self._model(parts.path.split("/"))

    def _model(self, parts: list[str]) -> None:
        name, version = parts[-3], parts[-1]
        key = f"{name}/{version}"
        if key not in self.registry.models:
            self._json({"error": {"code": "NotFound", "message": f"no model {key}"}}, 404)
        elif parts[-4] == "datarefs":
            given = {"credentialType": "SAS", "sasUri": f"{STORE}?sig=signature"}
            self._json({"blobReferenceForConsumption": {"blobUri": f"{STORE}/{key}", "credential": given}})
        else:
            stated = {"modelType": "custom_model", "modelUri": f"{STORE}/{key}", "flavors": {}, "properties": {}}
            name = f"azureml://registries/acme/models/{name}/versions/{version}"
            self._json(
                {"id": name, "name": version, "type": "x", "systemData": {}, "properties": {**stated, "tags": {}}}
            )

    def _store(self, path: str, query: dict[str, list[str]]) -> None:
        files = {f"{key}/{path}": body for key, model in self.registry.models.items() for path, body in model.items()}
        if query.get("comp") == ["list"]:
            found = "".join(
                f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(body)}</Content-Length>"
                "<BlobType>BlockBlob</BlobType></Properties><Metadata/></Blob>"
                for name, body in files.items()
                if name.startswith(query["prefix"][0])
            )
            text = f'<?xml version="1.0"?><EnumerationResults><Blobs>{found}</Blobs><NextMarker/></EnumerationResults>'
            self._answer(200, text.encode(), "application/xml")
            return
        body = files[path.removeprefix("/models/")]
        whole = {"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}", "x-ms-blob-type": "BlockBlob", "ETag": '"1"'}
        self._answer(206, body, "application/octet-stream", **whole)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Proxy(BaseHTTPRequestHandler):
    registry: ClassVar[Registry]
    service: ClassVar[int]

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.registry.hosts.add(self.path.partition(":")[0])
        with socket.create_connection(("127.0.0.1", self.service)) as there:
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
        target.shutdown(socket.SHUT_WR)


def _certificate(folder: Path) -> Path:
    """Make a certificate for Azure's host names that is its own authority."""
    path = folder / "azure.pem"
    names = f"subjectAltName={','.join(HOSTS)}"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", names, "-keyout", str(path), "-out", str(folder / "ca.pem")]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "ca.pem").read_text())
    return path


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Registry]:
    """Run a registry; its `variables` lead the SDK there."""
    registry = Registry()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    handler = type("Handler", (_Service,), {"registry": registry})
    secure = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    plain = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy_handler = type("Handler", (_Proxy,), {"registry": registry, "service": secure.server_port})
    servers = [secure, plain, ThreadingHTTPServer(("127.0.0.1", 0), proxy_handler)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    registry.variables = {
        "HTTPS_PROXY": f"http://127.0.0.1:{servers[2].server_port}",
        "NO_PROXY": "127.0.0.1",
        "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
        # The managed identity of a machine in Azure.
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{plain.server_port}/msi/token",
        "IDENTITY_HEADER": "header",
    }
    try:
        yield registry
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
