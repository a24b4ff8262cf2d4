"""Engines run the cells of a sweep: the file `engines/local.py` is `--engine local`. The truth is always in the run folders.

An engine is a file with two functions:

    devices(options: Options) -> list[str]
        What each of the cells that run at once trains on: "cpu", "cuda:0"; UserError if the options cannot be fulfilled.
    run(works: Sequence[Work], options: Options, on_event: Callable[[Event], None]) -> list[Outcome]
        Runs every cell once and returns what became of each. Which cell may start next says `ready`. A cell's work is
        `run_cell`, called in a process that may die; where it does, the engine calls `died`. It calls `on_event` about once
        a second at least, so that progress can be read from the folders; while it has nothing at work, its ticks carry what
        `waits_for` says. On KeyboardInterrupt it ends all that it started, releases their folders, and raises it again.
"""

import os
import shlex
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mmal_cli.cell import Cell, Refused
from mmal_cli.core import files, running
from mmal_cli.core.errors import UserError


@dataclass(frozen=True)
class Options:
    """What the person asked for; an engine ignores what it has no use for. Without `jobs` it chooses."""

    jobs: int | None = None
    gpu: str = "auto"
    slurm: tuple[str, ...] = ()  # KEY[=VALUE], options of sbatch
    ray: str = "local"  # or the address of a cluster
    gpus_per_cell: float = 1.0  # of Ray

    def at_once(self, otherwise: int) -> int:
        """Cells at once: as asked, or what the engine chooses; UserError unless it is 1 or more."""
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs is {self.jobs}, expected 1 or more")
        return self.jobs or otherwise


@dataclass(frozen=True)
class Work:
    """A cell with all that running it takes; can be pickled.

    Attributes:
        cell: which one.
        data: its dataset folder.
        out: the folder of all runs.
        command: the al-run that makes the same run.
        first: where its first cycle's model lies, or will; cells that share it have the same path.
        threads: with which it trains on the CPU; beside a GPU None, as the engine sees fit.
        deterministic: whether the same run is to give the same bits on a GPU too.
    """

    cell: Cell
    data: Path
    out: Path
    command: str
    first: Path
    threads: int | None = None
    deterministic: bool = False

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.cell.folder(self.out)

    @property
    def cycles(self) -> int:
        """Trainings of the whole run."""
        return self.cell.settings.budget.cycles

    @property
    def again(self) -> str:
        """The command that goes on with this cell alone."""
        words = shlex.split(self.command)
        return shlex.join(words if self.out == Path("runs") else [*words, "--out", str(self.out)])


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    busy: another sweep has it, so it is asked again later. refused: its folder is of other settings. damaged: its record
    cannot be read, so that the sweep gives it to no engine.
    """

    folder: Path
    result: Literal["ran", "done", "failed", "busy", "refused", "damaged"]
    error: str = ""  # one line


@dataclass(frozen=True)
class Event:
    """A cell was started or ended (with its outcome), or some time has passed; `said` is what the sweep waits for."""

    kind: Literal["started", "ended", "tick"]
    work: Work | None = None
    outcome: Outcome | None = None
    said: str = ""


OnEvent = Callable[[Event], None]


def ready(waiting: Sequence[Work], at_work: Collection[Work]) -> Work | None:
    """The next cell to start, None if all have to wait.

    A cell waits while another sweep runs it, and while the first model that it shares is being trained by another cell.
    """
    elsewhere = [running.taken(work.folder) for work in waiting]
    others = [*at_work, *(work for work, is_taken in zip(waiting, elsewhere, strict=True) if is_taken)]
    training = {work.first for work in others if _trains_first(work)}
    for work, is_taken in zip(waiting, elsewhere, strict=True):
        if not is_taken and not (work.first in training and _trains_first(work)):
            return work
    return None


def ready_ones(waiting: list[Work], at_work: Collection[Work], most: int) -> list[Work]:
    """Takes out of `waiting` the cells to start now, at most so many."""
    found: list[Work] = []
    while len(found) < most and (work := ready(waiting, [*at_work, *found])):
        waiting.remove(work)
        found.append(work)
    return found


def waits_for(waiting: Sequence[Work], at_work: Collection) -> str:
    """What a sweep says that runs nothing and has cells left; nothing otherwise."""
    if at_work or not waiting:
        return ""
    cells = "1 cell" if len(waiting) == 1 else f"{len(waiting)} cells"
    return (
        f"waiting for others, who run {waiting[0].folder} ({cells} left); see how far they are: mmal status {waiting[0].out}; "
        f"one that gives no sign of life for {running.STALE:g} s is taken over"
    )


def threads() -> int:
    """Of a cell on the CPU, on every engine: OMP_NUM_THREADS, or one. Numbers depend on it in their last bits."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, int(asked)) if asked.isdecimal() else 1


def _trains_first(work: Work) -> bool:
    """Whether its first cycle is to be run, and the model for it is not there."""
    return not work.first.exists() and not running.cycles_in(work.folder)


def run_cell(work: Work, device: str, engine: str, token: str) -> Outcome:
    """Runs a cell, or goes on with it, in this process; a failure is written into its folder and never raised.

    Args:
        work: the cell.
        device: "cpu", "cuda:0".
        engine: its name, for running.yaml.
        token: tells this claim of the folder from all others; who starts processes keeps it to release for a dead one.

    Raises:
        KeyboardInterrupt: finished cycles stay, the folder is released.
    """
    import torch

    from mmal_cli.device import deterministic
    from mmal_cli.loop import run_active_learning

    if work.threads:
        torch.set_num_threads(work.threads)
    cell, claim = replace(work.cell), None  # a fresh one: its identity is that of the files as this process reads them
    try:
        with (
            running.claimed(work.folder, token, engine, work.cycles, cell.settings.train.epochs) as claim,
            deterministic(work.deterministic),
        ):
            if claim is None:
                return Outcome(work.folder, "busy")
            ran = run_active_learning(cell, work.data, work.out, torch.device(device), work.command, claim.progress)
    except running.Lost:
        return Outcome(work.folder, "busy")
    except Refused as error:
        return Outcome(work.folder, "refused", str(error))
    except (Exception, SystemExit) as error:  # a query method may call exit
        return record_failure(work, claim and claim.said, _said(error), traceback.format_exc())
    (work.folder / running.ERROR).unlink(missing_ok=True)
    return Outcome(work.folder, "ran" if ran else "done")


def _said(error: BaseException) -> str:
    line = running.last_line("".join(traceback.format_exception_only(error)))
    return f"error: {error}" if isinstance(error, UserError) else line


def died(work: Work, token: str, error: str) -> Outcome:
    """Records that the process of a cell died without a word, and gives the folder back if it still has it.

    Where its record is there it has run: what died, or is seen late, is but the word of it.
    """
    said = running.read(work.folder)
    said = said if said and said.token == token else None
    running.release(work.folder, token)
    running.refresh(work.folder)
    if (work.folder / running.RECORD).exists():
        (work.folder / running.ERROR).unlink(missing_ok=True)
        return Outcome(work.folder, "ran")
    return record_failure(work, said, error)


def record_failure(work: Work, said: running.Running | None, error: str, trace: str = "") -> Outcome:
    """Writes error.txt: where it happened, the command that tries again, the traceback; of restricted data no path."""
    where = "" if said is None else f" in cycle {said.cycle + 1} of {said.cycles}, epoch {said.epoch} of {said.epochs}"
    text = f"failed{where}; try again by: {work.again}\n{trace}"
    text = text if running.last_line(text) == error else f"{text.rstrip()}\n{error}\n"
    if work.cell.dataset.restricted:
        for path in (str(work.data.resolve()), str(work.data)):
            text, error = (part.replace(path, work.cell.dataset.name) for part in (text, error))
    try:
        files.write_text(work.folder / running.ERROR, text)
    except UserError as full:
        return Outcome(work.folder, "failed", f"{error} ({full})")
    return Outcome(work.folder, "failed", error)
