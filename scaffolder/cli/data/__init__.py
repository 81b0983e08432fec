"""`scaffolder data`."""

import typer

from scaffolder.cli.data.check import check
from scaffolder.cli.data.importing import import_
from scaffolder.cli.data.preview import preview
from scaffolder.cli.data.split import split
from scaffolder.cli.data.stats import stats

app = typer.Typer(
    help="Examples: import, check, preview, split, and what training on them takes.", no_args_is_help=True
)
app.command("import")(import_)
app.command("check")(check)
app.command("preview")(preview)
app.command("split")(split)
app.command("stats")(stats)
