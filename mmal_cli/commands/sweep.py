"""`mmal sweep`: all cells of a grid, on an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import show
from mmal_cli.core.errors import BAD_DATA, WRONG_USE, UserError, lines

if TYPE_CHECKING:
    from mmal_cli.core.grid import Grid
    from mmal_cli.costs import Cost
    from mmal_cli.engines import Event, Outcome
    from mmal_cli.sweep import Seen

STAGE = 2.2
ENDS = {"refused": WRONG_USE, "damaged": BAD_DATA, "failed": 4}  # exit codes by what became of cells; the lowest counts

Engine = Annotated[str, typer.Option(metavar="NAME", help="What runs the cells: local, slurm, ray.")]
Jobs = Annotated[
    int | None, typer.Option(metavar="N", help="Cells at once; default: one a GPU, or a core; slurm: 100.", show_default=False)
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of all cells, over the grid's; may be repeated."),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY[=VALUE]", help="An option of sbatch, such as partition=gpu; may be repeated."),
]
Ray = Annotated[str, typer.Option(metavar="local|ADDRESS", help="Ray on this machine, or a cluster; auto: the one around.")]
GpusPerCell = Annotated[float, typer.Option(metavar="SHARE", help="Of a GPU that each cell gets from Ray: 0.25 runs four.")]


def sweep(
    grid: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Grid (mmal ls grids), or your own YAML file.")],
    engine: Engine = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is done, what is left and its cost; stop.")] = False,
    jobs: Jobs = None,
    gpu: Annotated[str, typer.Option(metavar="auto|none|N,...", help="All GPUs, the CPU, or these.")] = "auto",
    scale: Annotated[Literal["paper", "quick"], typer.Option(help="quick: small stand-ins, in minutes on a CPU.")] = "paper",
    assignments: Assignments = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out datasets that are not there.")] = False,
    data_root: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the datasets lie.")] = Path("data"),
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")] = Path("runs"),
    slurm: Slurm = None,
    ray: Ray = "local",
    gpus_per_cell: GpusPerCell = 1.0,
    deterministic: show.Deterministic = False,
    progress: show.Progress = "auto",
) -> None:
    """Run all cells of a grid: datasets x regimes x query methods x modality dropout x paradigms x seeds.

    What is done is not run again, whoever made it; what is begun goes on.
    A failed cell never stops the others and keeps its traceback in error.txt;
    the same sweep tries it again. Exit 4: it ended with failed cells;
    2: some run folders are of other settings, 3: damaged, and were left as they are.
    """
    from mmal_cli import engines
    from mmal_cli import sweep as cells
    from mmal_cli.core import plugins

    wanted = _grid(grid, scale, data_root, skip_missing)
    wanted = wanted.model_copy(update={"assignments": [*wanted.assignments, *(assignments or ())]})
    runner = plugins.load("engines", engine, "engine", must_have="run")
    options = engines.Options(jobs, gpu, tuple(slurm or ()), ray, gpus_per_cell)
    devices = runner.devices(options)
    works = cells.expand(wanted, data_root, out, devices[0].partition(":")[0], deterministic)
    if missing := cells.untuned(wanted):
        show.note(f"{wanted.tuned} has no tuned settings for {', '.join(missing)}: their own protocol's hold (see mmal tune)")
    seen = [cells.see(work) for work in works]
    if dry_run:
        _print_plan(seen, len(devices))
        return
    outcomes = [engines.Outcome(one.work.folder, "refused", one.refused) for one in seen if one.refused]
    outcomes += [engines.Outcome(one.work.folder, "damaged", one.damaged) for one in seen if one.damaged]
    if todo := [one.work for one in seen if one.open]:
        outcomes += _run(runner, todo, options, Path(grid).stem, progress)
    _print_summary(seen, outcomes, {work.folder: work.again for work in works})
    show.result(out)
    if codes := [ENDS[outcome.result] for outcome in outcomes if outcome.result in ENDS]:
        raise typer.Exit(min(codes))


def _grid(name: str, scale: Literal["paper", "quick"], root: Path, skip_missing: bool) -> Grid:
    """The grid at a scale; if asked, without the datasets that are not there, each with a note."""
    from mmal_cli.core import grid
    from mmal_cli.core.datasets import MANIFEST, maker
    from mmal_cli.sweep import places

    found = grid.load(name, scale)
    if not skip_missing:
        return found
    missing = {name: folder for name, folder in found.folders(root).items() if not (folder / MANIFEST).exists()}
    if len(missing) == len(found.datasets):
        made = lines(f"{folder}; make it by: {maker(folder, dataset)}" for dataset, folder in missing.items())
        raise UserError(f"none of the datasets of {name} is there: {made}", BAD_DATA)
    for dataset, folder in missing.items():
        cells = sum(place.dataset == dataset for place in places(found))
        show.note(f"{folder} is not there: its {cells} cells stay empty; make it by: {maker(folder, dataset)}")
    return found.without(missing)


def _run(runner, todo: Sequence, options, name: str, progress: str) -> list[Outcome]:
    """Lets the engine run, with a bar over the cycles of all cells, counted in their folders."""
    from mmal_cli.core.running import cycles_in

    at_work, before = {}, {work.folder: cycles_in(work.folder) for work in todo}
    total, ended, said = sum(work.cycles - before[work.folder] for work in todo), 0, ""

    with show.progress(f"sweep {name}", "cycles", progress) as bar:

        def on_event(event: Event) -> None:
            nonlocal ended, total, said
            if event.said and event.said != said:
                show.note(event.said)
            said = event.said
            if event.kind == "started":
                at_work[event.work.folder] = event.work
            elif event.kind == "ended":
                at_work.pop(event.work.folder, None)
                made = event.work.cycles if event.outcome.result in ("ran", "done") else cycles_in(event.work.folder)
                ended += made - before[event.work.folder]
                total -= event.work.cycles - made
                if event.outcome.result == "failed":
                    show.note(f"failed: {event.outcome.folder}: {event.outcome.error}")
            bar(ended + sum(cycles_in(folder) - before[folder] for folder in at_work), total)

        bar(0, total)
        return runner.run(todo, options, on_event)


def _print_plan(seen: Sequence[Seen], jobs: int) -> None:
    _print_rows(seen)
    _print_cost(seen, jobs)
    for one in seen:
        if said := one.refused or one.damaged:
            show.result(f"cannot be run: {said}")


def _print_rows(seen: Sequence[Seen]) -> None:
    from mmal_cli.sweep import rows

    columns = ["dataset", "regime", "method", "cells", "done", "running", "part done", "failed", "to do"]
    stuck = {one.work.folder for one in seen if one.refused or one.damaged}
    columns += ["cannot be run"] * bool(stuck)
    lines = []
    for row in rows({one.work.folder: one.found for one in seen}):
        free = [found.state for folder, found in row.cells.items() if folder not in stuck]
        counts = [free.count(state) for state in ("done", "running", "part", "failed", "todo")]
        counts += [len(row.cells) - len(free)] * bool(stuck)
        lines.append([row.dataset, row.regime, row.method, str(len(row.cells)), *(str(n or "-") for n in counts)])
    show.table("", columns, lines, left=3)


def _print_cost(seen: Sequence[Seen], jobs: int) -> None:
    from mmal_cli.costs import cost

    left = cost(seen)
    open_cells = sum(one.open for one in seen)
    shared = sum(one.work.cycles - one.found.cycles for one in seen if one.open) - left.trainings
    show.result(f"cells left      {open_cells:,} of {len(seen):,}")
    show.result(f"trainings left  {left.trainings:,} ({shared:,} more are shared first cycles)")
    show.result(f"epochs          {left.epochs:,}")
    show.result(f"labels to ask   {left.labels:,}")
    show.result(f"disk            {_bytes(left.disk)}")
    show.result(f"time            {_time(left, jobs, open_cells)}")


def _time(left: Cost, jobs: int, open_cells: int) -> str:
    if not left.trainings:
        return "none"
    if not left.timed:
        return "unknown: nothing of this kind has run yet"
    known = "" if left.timed == left.trainings else f" for {left.timed:,} of the trainings, unknown for the others"
    return f"about {show.duration(left.seconds / min(jobs, open_cells))}{known} with --jobs {jobs}, by the runs that are done"


def _bytes(count: int) -> str:
    """1.2 MB, 34 GB; in powers of ten."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def _print_summary(seen: Sequence[Seen], outcomes: Sequence[Outcome], again: dict[Path, str]) -> None:
    """What became of the cells; of those left as they are why, of failed ones the error and the command that tries again."""
    ran, failed, refused, damaged = (
        [outcome for outcome in outcomes if outcome.result == result] for result in ("ran", "failed", "refused", "damaged")
    )
    for outcome in refused + damaged:
        show.result(f"{outcome.result}: {outcome.error}")
    for outcome in failed:
        show.result(f"failed: {outcome.folder}\n  {outcome.error}\n  again: {again[outcome.folder]}")
    done = len(seen) - len(ran) - len(failed) - len(refused) - len(damaged)
    counts = {"cells": len(seen), "done already": done, "run": len(ran), "failed": len(failed)}
    counts |= {some[0].result: len(some) for some in (refused, damaged) if some}
    show.table("", tuple(counts), [[str(count) for count in counts.values()]], left=0)
    if failed:
        show.note("the same sweep tries failed cells again; tracebacks are in their error.txt")
    if refused:
        said = "1 cell is" if len(refused) == 1 else f"{len(refused)} cells are"
        show.note(f"{said} of other settings than the grid's: no table of this grid can be made of this folder of runs")
    if damaged:
        said = "1 record" if len(damaged) == 1 else f"{len(damaged)} records"
        show.note(f"{said} cannot be read (above: why); without its run.yaml the same sweep makes it anew from a run's cycles")
