"""The command line's commands, each from its own file."""

from __future__ import annotations

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
