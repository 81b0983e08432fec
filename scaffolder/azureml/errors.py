"""What the SDK raises, in our terms."""

from __future__ import annotations

import contextlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

from scaffolder.errors import ConfigError, EnvironmentFault, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "pip install 'olive-scaffolder[azureml]', best with pipx or uv: not beside training"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class NotFound(ScaffolderError):
    """The service does not have it, or does not show it."""


def need_sdk() -> None:
    """Raise where the SDK is not installed.

    Raises:
        EnvironmentFault: The hint says what installs it.
    """
    try:
        import azure.ai.ml
        import azure.identity  # noqa: F401 (whether they are there)
    except ImportError as error:
        raise EnvironmentFault("Azure Machine Learning needs the package azure-ai-ml", hint=INSTALL) from error
    import logging

    # It warns of each of its classes that is new.
    for name in ("azure", "azure.ai.ml"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def our_errors(what: str) -> Iterator[None]:
    """Turn what the SDK raises about `what` into errors of ours, and keep to itself what it prints of its progress."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except ScaffolderError:
        raise
    except Exception as error:
        # The SDK has errors of its own, without a common base that it exports.
        if not type(error).__module__.startswith(("azure", "marshmallow", "msrest")):
            raise
        raise _translated(error, what) from error


def _translated(error: Exception, what: str) -> ScaffolderError:
    from azure.core import exceptions
    from azure.identity import CredentialUnavailableError

    match error:
        case exceptions.ClientAuthenticationError() | CredentialUnavailableError():
            return EnvironmentFault("not signed in to Azure", hint="`az login`, or set AZURE_CLIENT_ID and its kin")
        case exceptions.ResourceNotFoundError():
            return NotFound(f"{what} does not exist, or you may not read it")
        case exceptions.ServiceRequestError() | exceptions.ServiceResponseError():
            return EnvironmentFault(
                f"Azure Machine Learning cannot be reached: {_first_line(error)}",
                hint="check the network and the proxy's variables (HTTPS_PROXY, REQUESTS_CA_BUNDLE)",
            )
        case exceptions.HttpResponseError():
            return _refused(error, what)
    problems = _problems(str(error))
    if problems:
        return ConfigError("\n".join(f"{what}: {problem}" for problem in problems))
    return ScaffolderError(f"{what}: {_first_line(error)}")


def _refused(error: Any, what: str) -> ScaffolderError:
    message = _first_line(error.error) if getattr(error, "error", None) else _first_line(error)
    message = re.sub(r"^\([\w.]+\) ?", "", message)
    if error.status_code in (401, 403):
        hint = "the role `AzureML Data Scientist` on the workspace is enough; `az account show` says who you are"
        return ScaffolderError(f"Azure does not let you do that with {what}: {message}", hint=hint)
    if error.status_code == 404:
        return NotFound(f"{what} does not exist, or you may not read it")
    if error.status_code in (408, 429) or error.status_code >= 500:
        return EnvironmentFault(f"Azure Machine Learning answered {error.status_code} for {what}: {message}")
    return ScaffolderError(f"Azure refused {what}: {message}")


def _problems(text: str) -> list[str]:
    """Return what stands in the JSON that the SDK's validation packs into its message, and into messages in that."""
    start = text.find("{")
    try:
        told, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else ({}, 0)
    except ValueError:
        return []
    if not isinstance(told.get("errors"), list):
        return [f"`{key}`: {_words(value)}" for key, value in told.items()]
    found = []
    for each in told["errors"]:
        message = str(each.get("message", ""))
        found += _problems(message) or [f"`{each.get('path', '*')}`: {_first_line(message)}"]
    return found


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_words(each)}" if key != "_schema" else _words(each) for key, each in value.items())
    if isinstance(value, list):
        # The first says what is wrong, the others what else it could have been.
        return _words(value[0]) if value else ""
    return _first_line(value).rstrip(".")


def _first_line(error: object) -> str:
    lines = [line for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
