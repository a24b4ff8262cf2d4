"""`mmal answer`: takes what people said of a batch into the campaign's journal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmal_cli import show
from mmal_cli.core.errors import UserError

if TYPE_CHECKING:
    from mmal_cli.annotation.answering import Taken
    from mmal_cli.annotation.campaign import Ask

STAGE = 2.5

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A filled ask-00.csv, or Label Studio's export as JSON.", show_default=False)
]
Folder = Annotated[
    Path | None,
    typer.Option("--campaign", metavar="FOLDER", help="Default: the file's folder, or the one campaign under ./campaigns."),
]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who answered; kept with each answer.")]
Revise = Annotated[bool, typer.Option("--revise", help="Labels that differ from earlier answers take these back.")]


def answer(file: File, campaign: Folder = None, by: By = None, revise: Revise = False) -> None:
    """Take a filled batch of mmal ask, whole or in part; nothing answered is ever lost.

    Rows without a label stay open. One wrong row, and nothing of the file is
    taken; a file may be given again once more of its rows are filled.
    """
    from mmal_cli.annotation import answering
    from mmal_cli.annotation import campaign as campaigns

    if by is not None and not by.isprintable():
        raise UserError(f"--by {by!r}: expected a name in readable characters")
    place = campaigns.find(file, campaign)
    found = campaigns.Campaign.read(place / campaigns.RECORD, helps="mmal ask")
    asks = campaigns.asks(place, found)
    taken = answering.take(file, place, found, asks, by, revise)
    _say(taken, asks)
    if asks and all(name in taken.labels for name in asks[-1].asked):
        show.note(f"go on: {campaigns.goes_on(place, asks[-1].made['command'])}")
    show.result(taken.file or f"nothing new: {shlex.quote(str(place))}")


def _say(taken: Taken, asks: Sequence[Ask]) -> None:
    """What became of the rows, and how far each batch is."""
    from mmal_cli.annotation.campaign import answered, place_of

    revised = [answer for answer in taken.new if answer.revises]
    parts = [f"{len(taken.new)} new", f"{taken.same} there already", f"{taken.empty} without a label"]
    show.note(", ".join(parts))
    for answer in revised:
        show.note(f"revised: {answer.id} is {answer.label}, was {answer.revises}")
    counts = [(ask.cycle.number, len(ask.asked), answered(ask.asked, taken.labels)) for ask in asks if ask.asked]
    rows = [[place_of(number), str(size), str(done)] for number, size, done in counts]
    show.table("", ["batch", "asked", "answered"], rows)
