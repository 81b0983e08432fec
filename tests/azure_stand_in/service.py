"""A stand-in for Azure Machine Learning: enough of its interfaces for the real SDK, over TLS on loopback.

Its answers are shaped from what the SDK reads, not from recorded traffic: rules of the real service (quota, roles,
image builds) are not in it. Blobs lie in azurite; jobs run for real, see `executor`.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.azure_stand_in import storage
from tests.azure_stand_in.storage import Storage

TENANT = "11111111-2222-3333-4444-555555555555"
REGION = "https://eastus.api.azureml.ms"
CONTAINER, ARTEFACTS = "azureml-blobstore", "azureml-artefacts"
# The hub's token in the key vault: what must be seen nowhere else.
SECRET = "hf_" + "Kv7Zq2" * 6
_WORKSPACE = r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft.machinelearningservices/workspaces/space"
Answer = tuple[int, Any]


@dataclass
class Record:
    """A request as it came."""

    method: str
    host: str
    path: str
    body: str


@dataclass
class Cloud:
    """What the service knows: resources by lower-case id, computes with their most machines, what was asked."""

    storage: Storage
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    computes: dict[str, int] = field(default_factory=lambda: {"gpu-cluster": 2})
    requests: list[Record] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    start: Callable[[dict[str, Any]], None] = field(default=lambda job: None)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def job(self, name: str) -> dict[str, Any] | None:
        """Return a job by its name."""
        ending = f"/jobs/{name}".lower()
        return next((each for key, each in self.resources.items() if key.endswith(ending)), None)

    def address(self, container: str, name: str = "") -> str:
        """Return a blob's address, with a signature in it."""
        path = f"{storage.HOST}/{container}" + (f"/{name}" if name else "")
        return f"{path}?{storage.signature()}"


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: ClassVar[Cloud]

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        host = self.headers.get("Host", "").partition(":")[0]
        self.cloud.requests.append(Record(self.command, host, path, raw))
        try:
            body = json.loads(raw) if raw[:1] in ("{", "[") else {}
            with self.cloud.lock:
                status, answer = self._route(host, path, query, body)
        except Exception:
            self.cloud.problems.append(traceback.format_exc())
            status, answer = 500, _error("StandIn", "the stand-in failed")
        if status == 404:
            self.cloud.problems.append(f"404 {self.command} {host}{path}")
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        if status == 401:
            challenge = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}"'
            self.send_header("WWW-Authenticate", f'{challenge}, resource="https://vault.azure.net"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    def _route(self, host: str, path: str, query: dict[str, str], body: Any) -> Answer:
        refused = next((status for part, status in self.cloud.refuse.items() if part in path), None)
        if refused is not None:
            return refused, _error("AuthorizationFailed", "The client does not have authorization to do this.")
        key = path.lower().rstrip("/")
        if key == "/msi/token":
            return 200, self._token(query["resource"])
        if host.endswith(".vault.azure.net"):
            if not self.headers.get("Authorization"):
                return 401, {}
            return 200, {"value": SECRET, "id": f"https://{host}{path}/1", "attributes": {"enabled": True}}
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, key)
            if method in (self.command, "*") and found:
                return answer(self.cloud, path, found, body)
        return 404, _error("NotFound", f"there is no {self.command} {path}")

    def _token(self, audience: str) -> dict[str, str]:
        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        claims = {"aud": audience, "tid": TENANT, "oid": TENANT, "exp": 4102444800}
        token = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.c2ln"
        self.cloud.tokens.add(token)
        return {"access_token": token, "expires_on": "4102444800", "resource": audience, "token_type": "Bearer"}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _system() -> dict[str, str]:
    return {"createdAt": _now(), "createdBy": "tests", "createdByType": "User", "lastModifiedAt": _now()}


def _workspace(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    stated = {"discoveryUrl": f"{REGION}/discovery", "workspaceId": TENANT, "storageAccount": "/x/account"}
    identity = {"type": "SystemAssigned", "principalId": TENANT, "tenantId": TENANT}
    kind = "Microsoft.MachineLearningServices/workspaces"
    head = {"id": path, "name": "space", "location": "eastus", "type": kind, "systemData": _system()}
    return 200, {**head, "identity": identity, "properties": stated}


def _no_workspace(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    return 404, _error("ResourceNotFound", f"The workspace {found[1]} was not found.")


def _discovery(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    return 200, dict.fromkeys(("api", "history", "modelmanagement", "experimentation", "mlflow", "studio"), REGION)


def _datastore(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    name = found[1] if found.re.groups and found[1] else "workspaceblobstore"
    container = ARTEFACTS if name == "workspaceartifactstore" else CONTAINER
    blob = {"accountName": storage.ACCOUNT, "containerName": container, "endpoint": "core.windows.net"}
    stated = {"datastoreType": "AzureBlob", "protocol": "https", "isDefault": name == "workspaceblobstore", **blob}
    stated |= {"credentials": {"credentialsType": "AccountKey"}, "serviceDataAccessAuthIdentity": "None"}
    place = path if path.endswith(name) else f"{path}/{name}"
    return 200, {"id": place, "name": name, "type": "x/datastores", "systemData": _system(), "properties": stated}


def _datastores(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    return 200, {"value": [_datastore(cloud, path, found, body)[1]]}


def _secrets(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    return 200, {"secretsType": "AccountKey", "key": storage.KEY}


def _pending(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    container = re.sub(r"[^a-z0-9]+", "-", f"up-{path.lower().rsplit('/', 2)[0][-40:]}").strip("-")
    cloud.storage.make(container)
    credential = {"credentialType": "SAS", "sasUri": cloud.address(container)}
    blob = {"blobUri": f"{storage.HOST}/{container}", "storageAccountArmId": "/x", "credential": credential}
    kind = {"pendingUploadId": None, "pendingUploadType": "TemporaryBlobReference"}
    return 200, {**kind, "blobReferenceForConsumption": blob}


def _compute(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    name = path.rsplit("/", 1)[1]
    if name not in cloud.computes:
        return 404, _error("ResourceNotFound", f"The compute {name} was not found.")
    return 200, _compute_body(path, name, cloud.computes[name])


def _computes(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    return 200, {"value": [_compute_body(f"{path}/{name}", name, most) for name, most in cloud.computes.items()]}


def _compute_body(path: str, name: str, most: int) -> dict[str, Any]:
    sizes = {"vmSize": "STANDARD_NC6", "scaleSettings": {"maxNodeCount": most, "minNodeCount": 0}}
    stated = {"computeType": "AmlCompute", "provisioningState": "Succeeded", "properties": sizes}
    return {"id": path, "name": name, "location": "eastus", "properties": stated}


def _put(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    made = {**body, "id": path, "name": path.rsplit("/", 1)[1], "type": "x", "systemData": _system()}
    made["properties"].setdefault("flavors", {})
    cloud.resources[path.lower()] = made
    return 201, made


def _put_job(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    _, job = _put(cloud, path, found, body)
    stated = job["properties"]
    stated["status"] = "Starting"
    page = {"jobServiceType": "Studio", "endpoint": f"https://ml.azure.com/runs/{job['name']}"}
    stated["services"] = {**(stated.get("services") or {}), "Studio": page}
    for key in ("properties", "tags", "outputs"):
        stated[key] = stated.get(key) or {}
    log = f"azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.{job['name']}"
    stated["outputs"]["default"] = {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": log}
    cloud.start(job)
    return 200, job


def _get(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    made = cloud.resources.get(path.lower().rstrip("/"))
    return (200, made) if made else (404, _error("UserError", f"{path} was not found"))


def _model(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    """A model without its versions says which comes next."""
    start = f"{path.lower()}/versions/"
    made = [int(key.removeprefix(start)) for key in cloud.resources if key.startswith(start)]
    if not made:
        return 404, _error("UserError", f"{path} was not found")
    stated = {"latestVersion": str(max(made)), "nextVersion": str(max(made) + 1)}
    return 200, {"id": path, "name": path.rsplit("/", 1)[1], "systemData": _system(), "properties": stated}


def _list(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    key = path.lower().rstrip("/")
    made = [each for name, each in cloud.resources.items() if name.rsplit("/", 1)[0] == key]
    # As the service does, newest first; snapshots are found again by their hash, which nobody has yet.
    return 200, {"value": [] if "/codes/" in key else made[::-1]}


def _cancel(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    job = cloud.resources[path.lower().removesuffix("/cancel")]
    if job["properties"]["status"] not in ("Completed", "Failed", "Canceled"):
        job["properties"]["status"] = "CancelRequested"
    return 200, None


def _run(cloud: Cloud, path: str, found: re.Match[str], body: Any) -> Answer:
    job = cloud.job(found[1])
    if job is None:
        return 404, _error("UserError", "no such run")
    logs = {name: cloud.address(ARTEFACTS, place) for name, place in job.get("_logs", {}).items()}
    head = {"runId": job["name"], "status": job["properties"]["status"], "target": "c", "startTimeUtc": _now()}
    rest = {"properties": {}, "inputs": {}, "outputs": {}, "warnings": [], "runDefinition": {}}
    return 200, {**head, **rest, "logFiles": logs, "error": job.get("_error")}


_ROUTES: list[tuple[str, str, Callable[[Cloud, str, re.Match[str], Any], Answer]]] = [
    ("GET", "/discovery", _discovery),
    ("GET", _WORKSPACE, _workspace),
    ("GET", f"{_WORKSPACE}/datastores", _datastores),
    ("GET", f"{_WORKSPACE}/datastores/([^/]+)", _datastore),
    ("POST", f"{_WORKSPACE}/datastores/[^/]+/listsecrets", _secrets),
    ("POST", f"{_WORKSPACE}/.+/startpendingupload", _pending),
    ("GET", f"{_WORKSPACE}/computes", _computes),
    ("GET", f"{_WORKSPACE}/computes/[^/]+", _compute),
    ("POST", f"{_WORKSPACE}/jobs/[^/]+/cancel", _cancel),
    ("PUT", f"{_WORKSPACE}/jobs/[^/]+", _put_job),
    ("PUT", f"{_WORKSPACE}/.+", _put),
    ("GET", f"{_WORKSPACE}/[^/]+/[^/]+/versions", _list),
    ("GET", f"{_WORKSPACE}/models/[^/]+", _model),
    ("GET", f"{_WORKSPACE}/.+", _get),
    ("GET", r"/history/v1.0/.*/runs/([^/]+)(?:/details)?", _run),
    ("GET", r"/subscriptions/.*/workspaces/([^/]+)(?:/.*)?", _no_workspace),
]
