"""A model to a repository of the hub, with its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaffolder.records import RECORD
from scaffolder.registry.card import lineage_of, write_card
from scaffolder.scores import EVALUATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaffolder.hub import Published
    from scaffolder.project import Project
    from scaffolder.registry.deliverable import Deliverable

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that one commit brings.

    Attributes:
        files: Content by path in the repository.
        card: The card's text.
        message: Of the commit.
    """

    files: dict[str, Path | bytes]
    card: str
    message: str


def prepare(project: Project, found: Deliverable, *, repo: str | None = None, card: Path | None = None) -> Parcel:
    """Return what would be uploaded; nothing leaves the machine.

    Args:
        project: The project.
        found: The model.
        repo: Where it goes, for the card; None where that is not known yet.
        card: A card in place of the generated one.

    Raises:
        OSError: The card cannot be read.
    """
    text = card.read_text(encoding="utf-8") if card else write_card(project, found, repo=repo or found.name)
    run = found.record.id if found.record else "unverified"
    loss = found.figures.get("loss")
    title = f"{found.name}: run {run}" + (f", loss {loss:.3f}" if loss is not None else "")
    lines = [f"{name}: {value}" for name, value in lineage_of(project, found).items()]
    return Parcel({**found.files, CARD: text.encode()}, text, "\n".join([title, "", *lines]))


def own_repo(name: str, *, token: str | None) -> str:
    """Return `name` below the account that is logged in.

    Raises:
        ScaffolderError: Nobody is.
    """
    from scaffolder.hub import Hub

    return f"{Hub(token).whoami()['name']}/{name}"


def publish(parcel: Parcel, repo: str, *, token: str | None, public: bool) -> Published:
    """Upload; the repository is made, private unless `public`, and changed by one commit or not at all.

    Args:
        parcel: See `prepare`.
        repo: `organisation/name`.
        token: An access token; None for HF_TOKEN or the hub's own login.
        public: Make a public repository, or write into one.

    Raises:
        HubUnreachable: No answer from the hub.
        ScaffolderError: The hub refused.
    """
    from scaffolder.hub import Uploader

    return Uploader(token).publish(repo, parcel.files, message=parcel.message, owned=_owned, public=public)


def _owned(read: Callable[[str], bytes]) -> set[str]:
    """Return the files that the upload before put into the repository: what people add there stays."""
    try:
        files = json.loads(read(RECORD))["files"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {EVALUATION, *(str(name).removeprefix("adapter/") for name in files)}
