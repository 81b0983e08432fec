"""A small model hub on loopback: enough of the real one's protocol for the real client, with faults to order.

Large files are redirected to another host name, as the real hub does to its store: there the token must not go.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_token_of_the_tests"
_LARGE = (".safetensors", ".bin", ".gguf", ".onnx", ".pth")
_PIECE = 2**18


@dataclass
class Fault:
    """What goes wrong with answers whose path ends in `path`, `times` times.

    Attributes:
        path: End of a file's path, or of an address of the interface.
        times: How often; a large number for always.
        status: Answer with this status instead.
        headers: Headers of that answer.
        drop: Close the connection after so many bytes of the body.
        change: Makes the body out of the right one.
        trickle: Seconds between bytes.
        before: Called before the body is sent.
    """

    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: int | None = None
    change: Callable[[bytes], bytes] | None = None
    trickle: float | None = None
    before: Callable[[], None] | None = None


@dataclass
class Commit:
    """A state of a repository."""

    id: str
    title: str
    files: dict[str, bytes]


@dataclass
class Hub:
    """Commits by repository (newest last), faults, and what was asked for."""

    history: dict[str, list[Commit]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    # Sizes that the listing claims instead of the true ones.
    claimed: dict[str, int] = field(default_factory=dict)
    # By path: hash in Xet storage; and where that storage is.
    xet: dict[str, str] = field(default_factory=dict)
    xet_endpoint: str = ""
    ranges: bool = True
    # Bytes after which a file's answer stands still while the entry is here.
    stall: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)
    bodies: Counter[str] = field(default_factory=Counter)
    # Uploads: content by SHA-256, whether committed or not; bytes received of each; repositories that all may see.
    stored: dict[str, bytes] = field(default_factory=dict)
    received: Counter[str] = field(default_factory=Counter)
    public: set[str] = field(default_factory=set)
    messages: list[dict[str, str]] = field(default_factory=list)
    token: str = TOKEN
    url: str = ""

    def put(self, repo: str, files: dict[str, bytes], title: str = "Add files") -> str:
        """Commit a whole state of a repository and return its id."""
        commits = self.history.setdefault(repo, [])
        name = COMMIT if not commits else hashlib.sha1(f"{repo}{len(commits)}".encode()).hexdigest()
        commits.append(Commit(name, title, dict(files)))
        return name

    def at(self, repo: str, revision: str) -> Commit | None:
        """Return the state that a revision names."""
        commits = self.history[repo]
        wanted = commits[-1].id if revision in ("", "main") else self.tags.get(revision, revision)
        return next((commit for commit in commits if commit.id == wanted), None)

    def fault(self, path: str) -> Fault | None:
        """Return the fault that strikes this time."""
        for found in self.faults:
            if path.endswith(found.path) and found.times > 0:
                found.times -= 1
                return found
        return None

    def asked_for(self, name: str) -> int:
        """How many bodies of a file were asked for."""
        return sum(request.startswith("GET") and request.endswith(f"/{name}") for request in self.requests)


def is_large(name: str) -> bool:
    return name.endswith(_LARGE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        # A client that was killed leaves a broken connection behind.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._serve()

    def do_POST(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._take()

    def do_PUT(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._store()

    def _take(self) -> None:
        """Uploads: repositories made, files announced, commits."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self._has_length() else self._chunks()
        fault = self.hub.fault(path)
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b"", **fault.headers)
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(401, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            self._batch(found[1], json.loads(body))
        elif found := re.fullmatch(r"/api/models/(.+)/(preupload|commit)/main", path):
            lines = body.splitlines() if found[2] == "commit" else [body]
            values = [json.loads(line) for line in lines]
            self._commit(found[1], values) if found[2] == "commit" else self._announced(found[1], values[0])
        else:
            self._refuse(404, "RepoNotFound")

    def _has_length(self) -> bool:
        return "chunked" not in self.headers.get("Transfer-Encoding", "")

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _create(self, wanted: dict[str, object]) -> None:
        repo = f"{wanted.get('organization') or 'ada'}/{wanted['name']}"
        there = repo in self.hub.history
        if not there:
            self.hub.put(repo, {".gitattributes": b"*.onnx filter=lfs\n"}, "initial commit")
            if not wanted.get("private") and wanted.get("visibility") != "private":
                self.hub.public.add(repo)
        body = {"url": f"{self.hub.url}/{repo}", "name": repo}
        self._json(body, status=409 if there else 200)

    def _announced(self, repo: str, wanted: dict[str, list[dict[str, str]]]) -> None:
        modes = {True: "lfs", False: "regular"}
        files = [
            {"path": f["path"], "uploadMode": modes[is_large(f["path"])], "shouldIgnore": False}
            for f in wanted["files"]
        ]
        self._json({"files": files})

    def _batch(self, repo: str, wanted: dict[str, list[dict[str, object]]]) -> None:
        objects = []
        for each in wanted["objects"]:
            missing = each["oid"] not in self.hub.stored
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}", "header": {}}}
            objects.append({**each, **({"actions": upload} if missing else {})})
        self._json({"transfer": "basic", "objects": objects})

    def _store(self) -> None:
        """A large file's content; the address is the ticket, and a token must not come along."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"PUT {path}")
        if self.headers.get("Authorization"):
            self.hub.authorized.append(f"store {path}")
        length, fault = int(self.headers["Content-Length"]), self.hub.fault(path)
        if fault is not None and fault.drop is not None:
            self.hub.received[path] += len(self.rfile.read(fault.drop))
            self.close_connection = True
            return
        body = self.rfile.read(length)
        self.hub.received[path] += len(body)
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b"", **fault.headers)
            return
        assert hashlib.sha256(body).hexdigest() == path.removeprefix("/lfs/")
        self.hub.stored[path.removeprefix("/lfs/")] = body
        self._answer(200, b"")

    def _commit(self, repo: str, lines: list[dict[str, dict[str, str]]]) -> None:
        """All of it or nothing, on top of the state that the client has seen."""
        head, *operations = lines
        last = self.hub.history[repo][-1]
        if head["value"].get("parentCommit", last.id) != last.id:
            self._refuse(412, "")
            return
        files = dict(last.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                del files[value["path"]]
        commit = self.hub.put(repo, files, head["value"]["summary"])
        self.hub.messages.append(head["value"])
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"})

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.headers.get("Authorization"):
            self.hub.authorized.append(f"{self.headers['Host'].partition(':')[0]} {path}")
        if path.startswith("/store/"):
            _, _, repo_commit, name = path.split("/", 3)
            repo, _, commit = unquote(repo_commit).replace("|", "/").rpartition("/")
            found = self.hub.at(repo, commit)
            assert found is not None
            self._body(name, found.files[name], commit)
            return
        if path.startswith("/api/datasets/"):
            # Data sets are kept as `datasets/organisation/name`, as their files' addresses have it.
            self._api(path.removeprefix("/api/"))
            return
        fault = self.hub.fault(path) if path.startswith("/api/") or not is_large(path) else None
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b"", **fault.headers)
        elif path == "/api/whoami-v2":
            self._whoami()
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        else:
            self._resolve(path, fault)

    def _api(self, rest: str) -> None:
        found = re.fullmatch(r"((?:datasets/)?[^/]+/[^/]+)(?:/(revision|commits|tree|xet-read-token)/([^/]+))?.*", rest)
        repo, kind, revision = found.groups() if found else (rest, None, None)
        if repo not in self.hub.history:
            self._refuse(401, "RepoNotFound")
            return
        state = self.hub.at(repo, revision or "")
        if state is None:
            self._refuse(404, "RevisionNotFound")
        elif kind == "xet-read-token":
            given = {"X-Xet-Cas-Url": self.hub.xet_endpoint, "X-Xet-Access-Token": "t"}
            self._answer(200, b"{}", **given, **{"X-Xet-Token-Expiration": str(int(time.time()) + 3600)})
        elif kind == "commits":
            commits = self.hub.history[repo]
            until = commits[: commits.index(state) + 1]
            self._json([_listed(each) for each in reversed(until)])
        elif kind == "tree":
            self._json([{"type": "file", "path": name, **self._entry(name, state)} for name in state.files])
        else:
            siblings = [{"rfilename": name, **self._sibling(name, state)} for name in state.files]
            gated = "manual" if repo in self.hub.gated else False
            seen = {"gated": gated, "private": repo not in self.hub.public}
            self._json({"id": repo, "modelId": repo, "sha": state.id, "siblings": siblings, "tags": [], **seen})

    def _entry(self, name: str, state: Commit) -> dict[str, object]:
        content = state.files[name]
        entry: dict[str, object] = {"size": len(content), "oid": git_hash(content)}
        if is_large(name):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _sibling(self, name: str, state: Commit) -> dict[str, object]:
        content = state.files[name]
        size = self.hub.claimed.get(name, len(content))
        found: dict[str, object] = {"size": size, "blobId": git_hash(content)}
        if is_large(name):
            found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return found

    def _resolve(self, path: str, fault: Fault | None) -> None:
        repo, sign, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if not sign or repo not in self.hub.history:
            self._refuse(404, "RepoNotFound")
            return
        if repo in self.hub.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
            return
        state = self.hub.at(repo, revision)
        if state is None or name not in state.files:
            self._refuse(404, "RevisionNotFound" if state is None else "EntryNotFound")
        elif is_large(name):
            self._redirect(repo, state, name)
        else:
            self._body(name, state.files[name], state.id, fault)

    def _redirect(self, repo: str, state: Commit, name: str) -> None:
        content, place = state.files[name], f"{repo.replace('/', '|')}|{state.id}"
        headers = {
            "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/store/{place}/{name}",
            "X-Repo-Commit": state.id,
            "X-Linked-Size": str(len(content)),
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
        }
        if name in self.hub.xet:
            route = f"{self.hub.url}/api/models/{repo}/xet-read-token/{state.id}"
            headers |= {"X-Xet-Hash": self.hub.xet[name], "Link": f'<{route}>; rel="xet-auth"'}
        self._answer(302, b"", **headers)

    def _body(self, name: str, content: bytes, commit: str, fault: Fault | None = None) -> None:
        fault = fault or self.hub.fault(name)
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b"", **fault.headers)
            return
        if fault is not None and fault.change is not None:
            content = fault.change(content)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.hub.ranges:
            start = int(asked[1])
        if start and start >= len(content):
            self._answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest() if is_large(name) else git_hash(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._send(name, memoryview(content)[start:], fault)

    def _send(self, name: str, body: memoryview, fault: Fault | None) -> None:
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.drop is not None:
            body, self.close_connection = body[: fault.drop], True
        pause = fault.trickle if fault is not None else None
        piece, stall = 1 if pause else _PIECE, self.hub.stall.get(name)
        for at in range(0, len(body), piece):
            if stall is not None and at + piece > stall:
                self._stand_still(name)
                return
            if pause:
                time.sleep(pause)
            self.wfile.write(body[at : at + piece])
            self.hub.bodies[name] += len(body[at : at + piece])

    def _stand_still(self, name: str) -> None:
        while name in self.hub.stall:
            time.sleep(0.02)
        self.close_connection = True

    def _whoami(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._answer(401, b"", **{"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        token = {"type": "access_token", "accessToken": {"displayName": "tests", "role": "read"}}
        self._json({"type": "user", "name": "ada", "fullname": "Ada", "orgs": [{"name": "acme"}], "auth": token})

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"", **{"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command in ("GET", "POST"):
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that break off are what the tests are about."""


def _listed(commit: Commit) -> dict[str, object]:
    return {"id": commit.id, "title": commit.title, "message": "", "date": "2026-01-01T00:00:00.000Z", "authors": []}


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port of loopback."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
