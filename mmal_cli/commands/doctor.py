"""`mmal doctor`: what this machine has, and what is wrong with it."""

import textwrap
from shutil import get_terminal_size
from typing import Annotated

import typer

from mmal_cli import show

STAGE = 4.2
MARKS = {True: "ok", None: "-", False: "WRONG"}


def doctor(json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check this installation: versions, GPU and driver, free disk, weights, Slurm.

    A dash is something optional that is not there. Exit 2: something is wrong.
    """
    from dataclasses import asdict
    from json import dumps

    from mmal_cli.doctor import findings

    found = list(findings())
    if json:
        show.result(dumps([asdict(one) for one in found], indent=2))
    else:
        wide = max(len(one.what) for one in found)
        for one in found:
            text = f"{one.found}; {one.helps}" if one.helps else one.found
            head = f"{MARKS[one.ok]:<6}{one.what:<{wide}}  "
            show.result(
                textwrap.fill(text, get_terminal_size().columns, initial_indent=head, subsequent_indent=" " * len(head))
            )
    if any(one.ok is False for one in found):
        raise typer.Exit(2)
