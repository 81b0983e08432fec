"""List a repository of the hub, open its files as bytes, sign in; errors in our terms."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.errors import EnvironmentFault, ScaffolderError
from scaffolder.modellock import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Read when the client is imported: it would tell the hub which packages and agents there are, and ask for their list.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
_SECONDS_TO_ANSWER = 10.0
_MOST_REDIRECTS = 5
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_NETWORK_HINT = "check the network, or HF_ENDPOINT and HF_HUB_OFFLINE"


class HubUnreachable(EnvironmentFault):
    """The hub did not answer, or is switched off."""


class Transient(HubUnreachable):
    """The hub failed in a way that may pass.

    Args:
        message: What happened.
        wait: Seconds that the hub asks to wait.
        answered: False where no connection came about at all.
    """

    def __init__(self, message: str, *, wait: float | None = None, answered: bool = True) -> None:
        super().__init__(message, hint=_NETWORK_HINT)
        self.wait = wait
        self.answered = answered


class OtherContent(Transient):
    """What the hub is about to send has another length than the file that was asked for."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub lists it: bytes, and the SHA-256 (large files) or git's SHA-1 (others) of its content."""

    size: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit, files by path."""

    id: str
    commit: str
    files: Mapping[str, RemoteFile]


class Hub:
    """The hub that HF_ENDPOINT names, with a token or the hub's own login.

    Args:
        token: An access token; it is handed to the client alone and stored nowhere.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    def repository(self, repo: str, revision: str | None) -> Repository:
        """Return all files of a model repository.

        Raises:
            HubUnreachable: No answer from the hub.
            ScaffolderError: No such repository or revision, it is gated, or it names a file outside its folder.
        """
        with our_errors(repo, revision):
            info = self._api().model_info(repo, revision=revision, files_metadata=True, timeout=_SECONDS_TO_ANSWER)
        try:
            files = {safe_path(file.rfilename): _remote(file) for file in info.siblings or []}
        except ValueError as error:
            raise ScaffolderError(f"{repo} is not downloaded: {error}") from error
        if info.sha is None:
            raise ScaffolderError(f"the hub names no commit of {repo}", hint="is HF_ENDPOINT a model hub?")
        return Repository(repo, info.sha, files)

    def commits_since(self, repo: str, old: str, new: str) -> list[str]:
        """Return the titles of the commits after `old` up to `new`, newest first; at most those the hub lists."""
        with our_errors(repo, new):
            commits = self._api().list_repo_commits(repo, revision=new)
        ids = [commit.commit_id for commit in commits]
        return [commit.title for commit in commits[: ids.index(old) if old in ids else len(ids)]]

    @contextlib.contextmanager
    def open(self, repo: str, commit: str, path: str, file: RemoteFile, start: int) -> Iterator[tuple[int, Any]]:
        """Open a file's content from byte `start` on.

        Yields:
            The byte that the content begins with (0 where the hub cannot begin elsewhere), and an iterator of
            its pieces. Xet storage is used where the hub offers it.

        Raises:
            Transient: Trying again may help.
            ScaffolderError: It will not.
        """
        from huggingface_hub import get_session, hf_hub_url

        headers = {**self._headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with our_errors(repo, commit, path), contextlib.ExitStack() as stack:
            client = get_session()
            request = client.build_request(
                "GET", hf_hub_url(repo, path, revision=commit), headers=headers, timeout=read_timeout()
            )
            for _ in range(_MOST_REDIRECTS):
                response = client.send(request, stream=True, follow_redirects=False)
                stack.callback(response.close)
                if response.next_request is None:
                    break
                xet = _xet_stream(response, self._headers(), file, start)
                if xet is not None:
                    yield start, xet
                    return
                request = response.next_request
            first = _first_byte(response, start, file)
            yield first, response.iter_raw()

    def cached(self, repo: str, commit: str, path: str) -> Path | None:
        """Return the file in the hub's own cache on this machine, or None."""
        from pathlib import Path

        import huggingface_hub

        found = huggingface_hub.try_to_load_from_cache(repo, path, revision=commit)
        return Path(found) if isinstance(found, str) else None

    def whoami(self) -> dict[str, Any]:
        """Return `name`, `organisations` and `endpoint` of who is logged in.

        Raises:
            ScaffolderError: Nobody is, or the token is no longer valid.
        """
        from huggingface_hub import constants, get_token

        if self._token is None and get_token() is None:
            raise ScaffolderError("not logged in", hint="`scaffolder login`, or set HF_TOKEN")
        with our_errors("your account", None):
            found = self._api().whoami()
        organisations = [each["name"] for each in found.get("orgs", [])]
        return {"name": found["name"], "organisations": organisations, "endpoint": constants.ENDPOINT}

    def _api(self) -> Any:
        import huggingface_hub
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # retries are told by our own view
        return huggingface_hub.HfApi(token=self._token)

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        found: dict[str, str] = build_hf_headers(token=self._token)
        return found


def login(token: str | None) -> None:
    """Log in by the hub's own dialogue, or with a token; the hub's client stores it where `hf auth login` does.

    Raises:
        ScaffolderError: The token is not valid.
    """
    import huggingface_hub

    try:
        with our_errors("your account", None):
            huggingface_hub.login(token=token, skip_if_logged_in=False)
    except ValueError as error:
        raise ScaffolderError(f"not logged in: {_first_line(error)}", hint="make a token on the hub's page") from error


def abandon() -> None:
    """End transfers from Xet storage, whose threads are not Python's and outlast an interrupt."""
    if "hf_xet" in sys.modules:
        from huggingface_hub.utils import _xet

        _xet.abort_xet_session()  # type: ignore[no-untyped-call]


def read_timeout() -> float:
    """Seconds without a byte after which a connection counts as broken: HF_HUB_DOWNLOAD_TIMEOUT, 10 by default."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _remote(file: Any) -> RemoteFile:
    if file.lfs is not None:
        return RemoteFile(file.lfs.size, sha256=file.lfs.sha256)
    return RemoteFile(file.size or 0, blob=file.blob_id)


def _raise_for_status(response: Any) -> None:
    from huggingface_hub import hf_raise_for_status

    if response.status_code >= 400:
        response.read()
    hf_raise_for_status(response)


def _first_byte(response: Any, asked: int, file: RemoteFile) -> int:
    """Return the byte that a body begins with: a server may ignore a range, and then says 200.

    Raises:
        OtherContent: The file has another length there.
    """
    said, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    length = whole or (response.headers.get("Content-Length", "") if response.status_code == 200 else "")
    plain = "Content-Encoding" not in response.headers
    if response.status_code in (200, 206, 416) and plain and length.isdigit() and int(length) != file.size:
        raise OtherContent(f"{int(length):,} bytes instead of {file.size:,}")
    _raise_for_status(response)
    first = said.partition("-")[0]
    return 0 if response.status_code != 206 else int(first) if first.isdigit() else asked


def _xet_stream(response: Any, headers: dict[str, str], file: RemoteFile, start: int) -> Any:
    """Return the file's bytes from Xet storage, or None where the answer names none or the client lacks it.

    `snapshot_download` starts a Xet file anew after an interruption; a stream can begin in the middle.
    """
    from huggingface_hub.utils import _xet
    from huggingface_hub.utils._runtime import is_xet_available

    data = _xet.parse_xet_file_data_from_response(response)
    if data is None or not is_xet_available():
        return None
    from hf_xet import XetFileInfo

    connection = _xet.refresh_xet_connection_info(file_data=data, headers=headers)
    session = _xet.get_xet_session()  # type: ignore[no-untyped-call]
    group = session.new_download_stream_group(
        endpoint=connection.endpoint,
        token=connection.access_token,
        token_expiry_unix_secs=connection.expiration_unix_epoch,
        token_refresh_url=data.refresh_route,
        token_refresh_headers=headers,
        custom_headers=_xet.xet_headers_without_auth(headers),
    )
    return group.download_stream(XetFileInfo(data.file_hash, file.size), start=start or None)


@contextlib.contextmanager
def our_errors(repo: str, revision: str | None, path: str = "") -> Iterator[None]:
    """Turn what the hub's client raises into errors of ours."""
    try:
        yield
    except ScaffolderError:
        raise
    except Exception as error:
        ours = _translated(error, repo, revision, path)
        if ours is None:
            raise
        raise ours from error


def _translated(error: Exception, repo: str, revision: str | None, path: str) -> ScaffolderError | None:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return ScaffolderError(
                f"{repo} is gated",
                hint=f"accept its terms on its page of the hub, then `scaffolder login`; see {repo} there",
            )
        case errors.RevisionNotFoundError():
            return ScaffolderError(f"{repo} has no revision {revision}", hint="leave out --revision for its newest")
        case errors.RemoteEntryNotFoundError():
            return ScaffolderError(f"{repo} has no file {path} at {revision}")
        case errors.RepositoryNotFoundError():
            return ScaffolderError(
                f"the hub has no model {repo}, or it is private", hint="check the spelling, or `scaffolder login`"
            )
        case errors.OfflineModeIsEnabled():
            return HubUnreachable("the hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE to download")
        case errors.HfHubHTTPError():
            return _refused(error, f"{repo}: {path}" if path else repo)
        case errors.HFValidationError():
            return ScaffolderError(f"`{repo}` is no name of a repository", hint="it has the form organisation/name")
        case RuntimeError() if isinstance(error.__cause__, Exception):  # of an upload's threads
            return _translated(error.__cause__, repo, revision, path)
    return _network(error)


def _refused(error: Any, what: str) -> ScaffolderError:
    status = error.response.status_code
    if status in _BUSY:
        return Transient(f"the hub answered {status} for {what}", wait=_asked_to_wait(error.response))
    if status == 401:
        return ScaffolderError(f"the hub does not accept the token for {what}", hint="`scaffolder login`")
    if status == 403:
        hint = "`scaffolder whoami` says who you are there; a token needs the right to write to upload"
        return ScaffolderError(f"the hub does not let you do that with {what}: {_first_line(error)}", hint=hint)
    if status == 412:
        return ScaffolderError(f"{what} was changed on the hub meanwhile", hint="run the same command again")
    return ScaffolderError(f"the hub refused {what}: {_first_line(error)}")


def _network(error: Exception) -> ScaffolderError | None:
    module = type(error).__module__.partition(".")[0]
    if module.startswith(("httpx", "httpcore")):
        name = type(error).__name__
        refused = "Connect" in name or "Proxy" in name
        if refused:
            return Transient(f"the hub cannot be reached: {_first_line(error)}", answered=False)
        if "Timeout" in name:
            return Transient(f"nothing came from the hub for {read_timeout():.0f} s")
        return Transient("the connection to the hub broke")
    if module == "hf_xet" or (isinstance(error, RuntimeError) and "xet" in str(error).lower()):
        return Transient(f"the hub's storage failed: {_first_line(error)}")
    return None


def _asked_to_wait(response: Any) -> float | None:
    """Return the seconds of `Retry-After`, or of the hub's own rate limit header; None without either."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    said = response.headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    limit = parse_ratelimit_headers(response.headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
