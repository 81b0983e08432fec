"""The command line: `main` is the only place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence

import typer

from scaffolder.cli import (
    adapters,
    chat,
    data,
    doctor,
    download,
    evaluate,
    export,
    fleet,
    generate,
    jobs,
    login,
    new,
    presets,
    run,
    runs,
    setup,
    status,
    template,
    update,
    upgrade_config,
    upload,
    validate,
    version,
)
from scaffolder.cli.output import Output
from scaffolder.errors import ExitCode, Interrupted, ScaffolderError
from scaffolder.settings import debug

app = typer.Typer(
    name="scaffolder",
    help="Fine-tuning projects for small language models: generate, run, verify, use.",
    epilog="Exit codes: 0 done and verified, 1 failed, 2 usage or configuration, 3 some of many failed, "
    "4 environment (see `scaffolder doctor`), 7 update conflict, 8 update available, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("new")(new.new)
app.add_typer(presets.app, name="presets")
app.command("doctor")(doctor.doctor)
app.command("setup")(setup.setup)
app.command("download")(download.download)
app.command("login")(login.login)
app.command("whoami")(login.whoami)
app.add_typer(data.app, name="data")
app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("upgrade-config")(upgrade_config.upgrade_config)
app.command("evaluate")(evaluate.evaluate)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.add_typer(adapters.app, name="adapters")
app.add_typer(runs.app, name="runs")
app.add_typer(jobs.app, name="jobs")
app.add_typer(upload.app, name="upload")
app.add_typer(export.app, name="export")
app.command("status")(status.status)
app.command("update")(update.update)
app.add_typer(fleet.app, name="fleet")
app.add_typer(template.app, name="template")
app.callback()(version.root)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; as a program, exit with it."""
    code = _main(list(sys.argv[1:] if argv is None else argv))
    if argv is None:
        sys.exit(code)
    return code


def _main(argv: list[str]) -> int:
    try:
        result = app(args=argv, standalone_mode=True)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except ScaffolderError as error:
        if debug():
            traceback.print_exc()
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


def _unexpected(error: Exception) -> int:
    if debug():
        traceback.print_exc()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" at {error.filename}" if error.filename else ""
        Output().error(ScaffolderError(f"the disk is full{place}", hint="make room, then run the same command again"))
        return int(ExitCode.FAILED)
    described = ScaffolderError(
        f"unexpected {type(error).__name__}: {error}",
        hint="" if debug() else "SCAFFOLDER_DEBUG=1 shows where; please report it",
    )
    Output().error(described)
    return int(ExitCode.FAILED)
