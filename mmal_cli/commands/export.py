"""`mmal export`: finished runs in one zip for other labs and for supplements, without data, people or machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmal_cli import show

if TYPE_CHECKING:
    from mmal_cli.exchange.pack import Leaving
    from mmal_cli.exchange.weights import Model
    from mmal_cli.runs import Runs

STAGE = 3.3


def export(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or of some of them.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The zip, written over an older export.")] = Path("results.zip"),
    cycles: Annotated[
        bool, typer.Option("--cycles", help="With the positions that each query asked for, for the report's overlaps.")
    ] = False,
    logits: Annotated[bool, typer.Option("--logits", help="With --cycles: test logits too, which are large.")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="With the first cycle's models, from which others' methods can start.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Found by the audit, but harmless; may be repeated.")
    ] = None,
    progress: show.Progress = "auto",
) -> None:
    """Pack finished runs into one zip: all that tables need; no data, paths or names.

    An audit comes first: what cannot be made clean is an error, and nothing is written.
    Of restricted data settings and aggregate metrics leave, nothing else.
    """
    from mmal_cli.core.errors import UserError
    from mmal_cli.exchange import pack
    from mmal_cli.runs import find

    if logits and not cycles:
        raise UserError("--logits adds to the files of cycles; give --cycles --logits")
    found = find(runs)
    found.need_one(runs)
    chosen = pack.leaving(found, cycles)
    models, without = _models(chosen) if weights else ([], [])
    pack.must_be_clean(chosen, logits, allow or (), models)
    with show.progress("export", "runs", progress if cycles else "none") as bar:
        written = pack.write(chosen, out, logits, models, bar)
    _say(found, chosen, cycles, without)
    counts = f"{len(chosen)} {'run' if len(chosen) == 1 else 'runs'}" + (f", first models: {len(models)}" if weights else "")
    show.note(f"export {written.id}: {counts}, {out.stat().st_size / 1e3:,.0f} kB")
    show.result(out)


def _models(chosen: Sequence[Leaving]) -> tuple[list[Model], list[Path]]:
    """The first cycle's models of the runs, and the runs that have none."""
    from mmal_cli.exchange import weights  # torch

    return weights.beside({run.source: run.record for run in chosen})


def _say(found: Runs, chosen: Sequence[Leaving], cycles: bool, without: Sequence[Path]) -> None:
    """What did not leave, on stderr."""
    for folder in found.unfinished:
        show.note(f"{folder} is not finished and left out")
    if of_restricted := [run for run in chosen if run.restricted]:
        names = ", ".join(sorted({run.record.config["dataset"] for run in of_restricted}))
        show.note(
            f"restricted data ({names}, {len(of_restricted)} of {len(chosen)} runs): settings and aggregate metrics leave; "
            "files of cycles, logits, weights, positions of samples and counts of what was asked do not"
        )
    for run in chosen if cycles else ():
        if not run.cycles and not run.restricted:
            show.note(f"{run.source} has not all files of its cycles: its record alone leaves")
    for folder in without:
        show.note(f"{folder} has no first cycle's model beside it: no weights of it leave")
