"""`mmal import`: the runs of another lab's zip beside those that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import show

STAGE = 3.4
SHOWN = 5  # folders that are named


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Of mmal export.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")] = Path("runs"),
    progress: show.Progress = "auto",
) -> None:
    """Merge the runs of a zip of mmal export into a folder of runs: more seeds, methods or datasets.

    All is checked first; runs of other data or settings are refused, and nothing is written over.
    """
    from mmal_cli.exchange import unpack

    with unpack.opened(file) as (archive, export):
        plan = unpack.planned(archive, export, out)
        models = {}
        if export.weights:
            from mmal_cli.exchange import weights  # torch

            models = weights.planned(archive, export, out)
        large = any(len(run.files) > 1 for run in plan.new)
        with show.progress("import", "runs", progress if large else "none") as bar:
            unpack.write(archive, plan.new, out, bar)
        if models:
            weights.write(archive, export, models)
    if there := list(plan.there):
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        show.note(f"there already, the same, skipped: {', '.join(map(str, there[:SHOWN]))}{more}")
    came = f", {len(models)} of {len(export.weights)} first models" if export.weights else ""
    show.note(f"{len(plan.new)} of {len(export.runs)} runs imported{came}")
    show.result(out)
