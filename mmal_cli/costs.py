"""What it will cost to run the open cells of a grid: trainings, labels, disk, time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import mean

from mmal_cli import first
from mmal_cli.cell import Cell
from mmal_cli.core import files
from mmal_cli.sweep import Seen

HEAD = 2048  # bytes that HDF5 takes for an array's head, about


@dataclass(frozen=True)
class Cost:
    """What is left to do: models to train, labels to ask, epochs, bytes of cycles and first models, seconds on one worker.

    `seconds` is of the `timed` trainings, those for which a finished run tells how long they take.
    """

    trainings: int
    labels: int
    epochs: int
    disk: int
    seconds: float
    timed: int


def cost(seen: Sequence[Seen]) -> Cost:
    """Adds up what the open cells of a grid will cost; a first model that cells share, or that is there, counts once or not."""
    kept: set[Path] = set()
    sizes: dict[str, int] = {}  # of a network
    paces = _paces(seen)
    trainings = labels = epochs = disk = timed = 0
    seconds = 0.0
    for one in filter(lambda one: one.open, seen):
        work, done, budget = one.work, one.found.cycles, one.work.cell.settings.budget
        models = budget.cycles - done
        if not done and (work.first.exists() or work.first in kept):
            models -= 1
        elif not done:
            kept.add(work.first)
            network = files.canonical([work.cell.dataset.id, work.cell.settings.model.model_dump(mode="json")])
            sizes[network] = sizes.get(network) or first.size(work.cell)
            disk += sizes[network]
        trainings += models
        epochs += models * work.cell.settings.train.epochs
        labels += budget.query * max(0, budget.cycles - 1 - done) + (0 if done else budget.start)
        disk += sum(cycle_bytes(work.cell, number) for number in range(done, budget.cycles))
        if pace := paces.get(_kind(work.cell, work.cell.qm)) or paces.get(_kind(work.cell)):
            timed += models
            seconds += models * mean(pace)
    return Cost(trainings, labels, epochs, disk, seconds, timed)


def _paces(seen: Iterable[Seen]) -> Mapping[str, list[float]]:
    """Seconds per cycle of the runs that are done, by what determines them: with the query method, and without."""
    found = defaultdict(list)
    for one in seen:
        if not isnan(one.seconds):
            for kind in (_kind(one.work.cell, one.work.cell.qm), _kind(one.work.cell)):
                found[kind].append(one.seconds)
    return found


def _kind(cell: Cell, qm: str = "") -> str:
    settings = cell.settings.model_dump(mode="json", exclude={"query_options": True, "model": {"start"}})
    return files.canonical([cell.dataset.id, cell.regime, cell.settings.paradigm, settings, qm])


def cycle_bytes(cell: Cell, number: int) -> int:
    """About how large a cycle's file is: fp16 logits of every subset on the test split, and three lists of positions."""
    budget, subsets = cell.settings.budget, 2 ** len(cell.dataset.modalities) - 1
    logits = 2 * cell.dataset.splits["test"].samples * cell.dataset.classes * subsets
    asked = budget.query if number < budget.cycles - 1 else 0
    return logits + 8 * (budget.start + number * budget.query + asked + budget.validation) + HEAD * (subsets + 3)
