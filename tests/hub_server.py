"""A small model hub on loopback: enough of the real one's protocol for the real client."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Files by repository, faults by name, and what was asked for."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    # Sizes that the listing claims instead of the true ones.
    claimed: dict[str, int] = field(default_factory=dict)
    # How many more answers with a body are cut off in the middle.
    drops: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if path.startswith("/api/datasets/"):
            # Data sets are kept as `datasets/organisation/name`, as their files' addresses have it.
            self._api(path.removeprefix("/api/"))
            return
        if path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
            return
        repo, sign, rest = path.lstrip("/").partition("/resolve/")
        files = self.hub.repositories.get(repo)
        name = rest.partition("/")[2]
        if not sign or files is None:
            self._refuse(404, "RepoNotFound")
        elif repo in self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif name not in files:
            self._refuse(404, "EntryNotFound")
        else:
            self._file(files[name], body=body)

    def _api(self, rest: str) -> None:
        repo, _, revision = rest.partition("/revision/")
        repo, _, tree = repo.partition("/tree/")
        files = self.hub.repositories.get(repo)
        if files is None:
            self._refuse(401 if "/" in repo else 404, "RepoNotFound")
            return
        if (revision or tree.partition("/")[0] or "main") not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
            return
        if tree:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self._json(entries)
            return
        siblings = [
            {"rfilename": name, "size": self.hub.claimed.get(name, len(content))} for name, content in files.items()
        ]
        gated = "manual" if repo in self.hub.gated else False
        self._json({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "gated": gated})

    def _file(self, content: bytes, *, body: bool) -> None:
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        if self.hub.drops and len(part) > 1000:
            self.hub.drops -= 1
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            return
        self.wfile.write(part)

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def serve() -> tuple[Hub, ThreadingHTTPServer]:
    """Start a hub on a free port of loopback; the caller shuts the server down."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return hub, server
