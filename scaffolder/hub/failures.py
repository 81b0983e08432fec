"""What the hub's client raises, in our terms: what may pass with time, and what will not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from scaffolder.errors import EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextlib.contextmanager
def our_errors(repo: str, revision: str | None, path: str = "", *, kind: str = "model") -> Iterator[None]:
    """Turn what the hub's client raises into errors of ours; `kind` is what people call the repository."""
    try:
        yield
    except ScaffolderError:
        raise
    except Exception as error:
        ours = _translated(error, repo, revision, path, kind)
        if ours is None:
            raise
        raise ours from error


def _translated(error: Exception, repo: str, revision: str | None, path: str, kind: str) -> ScaffolderError | None:
    from huggingface_hub import constants, errors

    match error:
        case errors.GatedRepoError():
            return ScaffolderError(
                f"{repo} is gated", hint=f"accept its terms at {constants.ENDPOINT}/{repo}, then `scaffolder login`"
            )
        case errors.RevisionNotFoundError():
            return ScaffolderError(f"{repo} has no revision {revision}", hint="leave out --revision for its newest")
        case errors.RemoteEntryNotFoundError():
            return ScaffolderError(f"{repo} has no file {path} at {revision}")
        case errors.RepositoryNotFoundError():
            return ScaffolderError(
                f"the hub has no {kind} {repo}, or it is private", hint="check the spelling, or `scaffolder login`"
            )
        case errors.OfflineModeIsEnabled():
            return HubUnreachable("the hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE to download")
        case errors.HfHubHTTPError():
            return _refused(error, f"{repo}: {path}" if path else repo)
        case errors.HFValidationError():
            return ScaffolderError(f"`{repo}` is no name of a repository", hint="it has the form organisation/name")
        case RuntimeError() if isinstance(error.__cause__, Exception):  # of an upload's threads
            return _translated(error.__cause__, repo, revision, path, kind)
    return _network(error)


def read_timeout() -> float:
    """Seconds without a byte after which a connection counts as broken: HF_HUB_DOWNLOAD_TIMEOUT, 10 by default."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _refused(error: Any, what: str) -> ScaffolderError:
    status = error.response.status_code
    if status in _BUSY:
        return Transient(f"the hub answered {status} for {what}", wait=_asked_to_wait(error.response))
    if status == 401:
        return ScaffolderError(f"the hub does not accept the token for {what}", hint="`scaffolder login`")
    if status == 403:
        hint = "`scaffolder whoami` says who you are there; a token needs the right to write to upload"
        return ScaffolderError(f"the hub does not let you do that with {what}: {first_line(error)}", hint=hint)
    if status == 412:
        return ScaffolderError(f"{what} was changed on the hub meanwhile", hint="run the same command again")
    return ScaffolderError(f"the hub refused {what}: {first_line(error)}")


def _network(error: Exception) -> ScaffolderError | None:
    module = type(error).__module__.partition(".")[0]
    if module.startswith(("httpx", "httpcore")):
        name = type(error).__name__
        refused = "Connect" in name or "Proxy" in name
        if refused:
            return Transient(f"the hub cannot be reached: {first_line(error)}", answered=False)
        if "Timeout" in name:
            return Transient(f"nothing came from the hub for {read_timeout():.0f} s")
        return Transient("the connection to the hub broke")
    if module == "hf_xet" or (isinstance(error, RuntimeError) and "xet" in str(error).lower()):
        return Transient(f"the hub's storage failed: {first_line(error)}")
    return None


def _asked_to_wait(response: Any) -> float | None:
    """Return the seconds of `Retry-After`, or of the hub's own rate limit header; None without either."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    said = response.headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    limit = parse_ratelimit_headers(response.headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def first_line(error: BaseException) -> str:
    """Return what a foreign error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
