"""The command line: `main` is the only place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

from scaffolder import unchanged
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode, Interrupted, ScaffolderError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; as a program, exit with it."""
    code = _main(list(sys.argv[1:] if argv is None else argv))
    if argv is None:
        sys.exit(code)
    return code


def _main(argv: list[str]) -> int:
    try:
        known = unchanged.answer(argv)
        result = _run(argv) if known is None else _tell(known)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except ScaffolderError as error:
        _debug(error)
        Output().error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        Output().error(Interrupted("stopped"))
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        return int(ExitCode.OK)
    except Exception as error:
        return _unexpected(error)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _run(argv: list[str]) -> object:
    # What every command needs takes longer to load than to find out that there is nothing to do.
    from scaffolder.cli.app import app

    return app(args=argv, standalone_mode=True)


def _tell(known: dict[str, Any]) -> int:
    output = Output(quiet=known["quiet"])
    for line in known["told"]:
        output.say(line)
    for line in known["shown"]:
        output.line(line)
    return int(ExitCode.OK)


def _debug(error: Exception) -> bool:
    """Show where an error came from, if that is wanted; return whether it is."""
    from scaffolder.settings import debug

    if debug():
        import traceback

        traceback.print_exception(error)
    return debug()


def _unexpected(error: Exception) -> int:
    debug = _debug(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" at {error.filename}" if error.filename else ""
        Output().error(ScaffolderError(f"the disk is full{place}", hint="make room, then run the same command again"))
        return int(ExitCode.FAILED)
    described = ScaffolderError(
        f"unexpected {type(error).__name__}: {error}",
        hint="" if debug else "SCAFFOLDER_DEBUG=1 shows where; please report it",
    )
    Output().error(described)
    return int(ExitCode.FAILED)
