"""`scaffolder login` and `scaffolder whoami`: the hub's own login."""

from __future__ import annotations

from scaffolder.cli.options import Json, Quiet, Token, read_token
from scaffolder.cli.output import Output


def login(token: Token = None, quiet: Quiet = False) -> None:
    """Log in to the model hub, by its own dialogue; its client keeps the token, this command does not."""
    from scaffolder import downloader

    downloader.login(read_token(token))
    Output(quiet=quiet).say(f"logged in as {downloader.Hub().whoami()['name']}")


def whoami(json: Json = False) -> None:
    """Say who is logged in to the model hub."""
    from scaffolder import downloader

    found = downloader.Hub().whoami()
    organisations = f" ({', '.join(found['organisations'])})" if found["organisations"] else ""
    output = Output(json=json)
    output.data(found, found["name"])
    output.say(f"{found['endpoint']}{organisations}")
