"""Every failure a user can meet: what went wrong, the next step, and the exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command, stable across versions."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    ENVIRONMENT = 4
    CONFLICT = 7
    UPDATE_AVAILABLE = 8
    INTERRUPTED = 130


class ScaffolderError(Exception):
    """A failure with a message for the user.

    Args:
        message: What went wrong; no full stop after a single sentence.
        hint: The next command or edit that mends it, or empty.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ScaffolderError):
    """The command was called with arguments that cannot work."""

    exit_code = ExitCode.USAGE


class ConfigError(ScaffolderError):
    """A file of the project is missing, unreadable or says something impossible."""

    exit_code = ExitCode.USAGE


class EnvironmentFault(ScaffolderError):
    """Something outside the project is missing or does not fit: interpreter, packages, disk, network."""

    exit_code = ExitCode.ENVIRONMENT


class RunFailed(ScaffolderError):
    """A workflow ended without a verified result."""


class SomeFailed(ScaffolderError):
    """Of many, some failed and the others are done."""

    exit_code = ExitCode.SOME_FAILED


class Interrupted(ScaffolderError):
    """The user stopped the command."""

    exit_code = ExitCode.INTERRUPTED
