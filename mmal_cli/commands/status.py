"""`mmal status`: which cells are done, running, failed and to do, from their folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import show

if TYPE_CHECKING:
    from mmal_cli.annotation.standing import Standing
    from mmal_cli.core.errors import UserError
    from mmal_cli.core.grid import Grid
    from mmal_cli.core.running import Found
    from mmal_cli.sweep import Row

STAGE = 2.3
EVERY = 2.0  # seconds between two looks
STATES = {"done": "done", "running": "running", "part": "part done", "failed": "failed", "todo": "to do"}
AROUND = 5  # lines of a page beside the rows


def status(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or of some of them.")] = Path("runs"),
    grid: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Show the cells of this grid, those not begun too.")
    ] = None,
    scale: Annotated[Literal["paper", "quick"], typer.Option(help="Of the grid, as in sweep.")] = "paper",
    watch: Annotated[bool, typer.Option("--watch/--once", help="On a terminal: refresh until Ctrl-C.")] = False,
    format: show.Format = "rich",
    json: Annotated[bool, typer.Option("--json", help="Every cell: --format json.")] = False,
) -> None:
    """Show which runs are done, running, failed, part done and to do, on any engine.

    Of campaigns: how much of each was asked and answered, and whether an ask is at work.
    """
    import sys

    from mmal_cli.core import grid as grids
    from mmal_cli.core.errors import BAD_DATA, UserError

    wanted = None if grid is None else grids.load(grid, scale)
    if wanted is None and not runs.is_dir():
        raise UserError(f"{runs} not found; make runs by: mmal sweep smoke", BAD_DATA)
    if watch and sys.stdout.isatty() and not json and format != "json":
        _watch(runs, wanted)
        return
    cells, found, wrong = _look(runs, wanted)
    if json or format == "json":
        _print_json(cells, found)
    else:
        if cells or not (found or wrong):
            _print(runs, cells, format)
        _print_campaigns(found, format)
    if wrong:
        several = f"\ndamaged campaigns beside it: {len(wrong) - 1}" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{several}", BAD_DATA)


def _look(runs: Path, wanted: Grid | None) -> tuple[dict[Path, Found], list[Standing], list[UserError]]:
    """The cells, the campaigns, of which a grid has none, and what is wrong with damaged ones."""
    from mmal_cli.annotation.standing import standings
    from mmal_cli.sweep import in_folder

    return in_folder(runs, wanted), *(([], []) if wanted else standings(runs))


def _print_campaigns(found: Sequence[Standing], format: show.FormatName = "rich") -> None:
    if not found:
        return
    columns = ("campaign", "dataset", "method", "batches", "answers", "of the last batch", "now")
    lines = []
    for one in found:
        now = f"asking, epoch {one.running.epoch} of {one.running.epochs}" if one.running else ""
        counts = str(one.batches), str(one.answers), f"{one.answered} of {one.asked}"
        lines.append([str(one.folder), one.dataset, one.method, *counts, now])
    show.table("", columns, lines, "The curves: mmal aulc FOLDER. To go on: mmal answer FILE, mmal ask", left=3, format=format)


def _watch(runs: Path, wanted: Grid | None) -> None:
    """The table, made anew every few seconds; Ctrl-C is how one leaves it."""
    import io
    import shutil
    import time
    from contextlib import redirect_stdout, suppress

    from rich.live import Live
    from rich.text import Text

    def page() -> Text:
        text, (cells, found, wrong) = io.StringIO(), _look(runs, wanted)
        with redirect_stdout(text):
            if cells or not (found or wrong):
                _print_page(runs, cells, shutil.get_terminal_size().lines)
            _print_campaigns(found)
            for error in wrong:
                show.result(f"damaged: {error}")
        return Text(text.getvalue().rstrip(), no_wrap=True, overflow="crop")

    with suppress(KeyboardInterrupt), Live(page(), auto_refresh=False, redirect_stdout=False) as live:
        while True:
            time.sleep(EVERY)
            live.update(page(), refresh=True)


def _print(runs: Path, cells: Mapping[Path, Found], format: show.FormatName) -> None:
    from mmal_cli.sweep import rows

    if not cells:
        show.note(f"no run under {runs}")
        return
    _print_rows(rows(cells), _totals(cells), format)
    _print_failed(cells, format)


def _print_page(runs: Path, cells: Mapping[Path, Found], height: int) -> None:
    """The same for a terminal of so many lines, totals first; where methods have no room, a row for each regime."""
    from mmal_cli.sweep import merged, rows

    show.result(_totals(cells) if cells else f"no run under {runs}")
    found = rows(cells)
    _print_rows(found if len(found) + AROUND <= height else merged(found))
    _print_failed(cells)


def _totals(cells: Mapping[Path, Found]) -> str:
    order = ("done", "running", "failed", "part", "todo")
    counts = [f"{sum(found.state == state for found in cells.values())} {STATES[state]}" for state in order]
    return f"{len(cells)} cells: {', '.join(counts)}"


def _print_rows(found: Sequence[Row], foot: str = "", format: show.FormatName = "rich") -> None:
    columns = ("dataset", "regime", "method", *STATES.values(), "now")
    lines = []
    for row in found:
        counts = (str(row.count(state) or "-") for state in STATES)
        lines.append([row.dataset, row.regime, row.method, *counts, _now(row)])
    show.table("", columns, lines, foot, left=3, format=format)


def _print_failed(cells: Mapping[Path, Found], format: show.FormatName = "rich") -> None:
    for folder, found in cells.items():
        if found.state == "failed":
            show.paragraph(f"failed: {folder}\n  {found.error}", format)


def _now(row: Row) -> str:
    """`cycle 2 of 4, 3 min 5 s left`, of a row's running cells that which is left the longest."""
    at_work = [found.running for found in row.cells.values() if found.state == "running" and found.running]
    if not at_work:
        return ""
    slowest = max(at_work, key=lambda one: one.seconds_left() or 0)
    left = slowest.seconds_left()
    said = f"cycle {slowest.cycle + 1} of {slowest.cycles}"
    return said if left is None else f"{said}, {show.duration(left)} left"


def _print_json(cells: Mapping[Path, Found], campaigns: Sequence[Standing]) -> None:
    from json import dumps

    content = []
    for folder, found in cells.items():
        one = {"folder": str(folder), "state": found.state, "cycles_done": found.cycles}
        if found.running:
            left = found.running.seconds_left()
            one |= found.running.model_dump(mode="json", exclude={"token", "process", "before"})
            one["seconds_left"] = None if left is None else round(left, 1)
        content.append(one | ({"error": found.error} if found.error else {}))
    show.result(dumps(content + [one.plain() for one in campaigns], indent=2))
