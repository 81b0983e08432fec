"""List a repository of the hub, open its files as bytes, sign in; errors in our terms."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ScaffolderError
from scaffolder.hub.failures import OtherContent, first_line, our_errors, read_timeout
from scaffolder.modellock import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Read when the client is imported: it would tell the hub which packages and agents there are, and ask for their list.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
_SECONDS_TO_ANSWER = 10.0
_MOST_REDIRECTS = 5


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

    def dataset_files(self, repo: str, revision: str | None) -> tuple[str, list[str]]:
        """Return the commit of a data set and the names of its files; raises as `repository` does."""
        with our_errors(repo, revision, kind="data set"):
            info = self._api().dataset_info(repo, revision=revision, timeout=_SECONDS_TO_ANSWER)
        return str(info.sha), [file.rfilename for file in info.siblings or []]

    def fetch_dataset(self, repo: str, commit: str, names: list[str], folder: Path) -> None:
        """Fetch files of a data set into a folder; raises as `repository` does."""
        import huggingface_hub

        with our_errors(repo, commit, kind="data set"):
            huggingface_hub.snapshot_download(
                repo, repo_type="dataset", revision=commit, local_dir=folder, allow_patterns=names, token=self._token
            )

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
    from huggingface_hub.errors import DeviceCodeError

    try:
        with our_errors("your account", None):
            huggingface_hub.login(token=token, skip_if_logged_in=False)
    except (ValueError, DeviceCodeError) as error:
        hint = "make a token on the hub's page; `scaffolder login --token -` reads it"
        raise ScaffolderError(f"not logged in: {first_line(error)}", hint=hint) from error


def abandon() -> None:
    """End transfers from Xet storage, whose threads are not Python's and outlast an interrupt."""
    if "hf_xet" in sys.modules:
        from huggingface_hub.utils import _xet

        _xet.abort_xet_session()  # type: ignore[no-untyped-call]


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
