"""One active-learning run: train, test, ask, label, again; a file after each cycle, so that a killed run goes on."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmal_cli import first, fixmatch
from mmal_cli.cell import Cell, identity_of, must_be_of
from mmal_cli.core import files, shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Asked, Cycle, Run, made
from mmal_cli.core.running import RECORD
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split, load_split, shrunk, subset_name, subsets
from mmal_cli.device import device_name, forget_peak_memory, peak_memory_mb
from mmal_cli.method import Method, load_method, select
from mmal_cli.metrics import metrics
from mmal_cli.model import build
from mmal_cli.pool import Pool, PoolView, Predictions, Subset
from mmal_cli.predict import dropout_masks, predict
from mmal_cli.start import start
from mmal_cli.train import Fitted, fit

log = logging.getLogger("mmal")
HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Bench:
    """What stays on the table during a run; only the pool changes."""

    cell: Cell
    command: str
    method: Method
    train: Split
    test: Split
    validation: Tensor
    pool: Pool

    @property
    def dropout(self) -> float:
        """Before the head: only methods that need Monte Carlo passes train with it (as realistic-al does)."""
        return self.cell.settings.model.mc_dropout if "passes" in self.method.needs else 0.0


def run_active_learning(
    cell: Cell,
    data: Path,
    out: Path,
    device: torch.device,
    command: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> bool:
    """Runs one cell, or goes on with it, or finds it done.

    Args:
        cell: which one.
        data: its dataset folder.
        out: the folder of all runs.
        device: where to train.
        command: that makes this run; kept in run.yaml and in every cycle.
        on_progress: called with (epochs done, epochs in all).

    Returns:
        Whether anything had to be run.

    Raises:
        UserError: damaged data, a folder of another configuration, a budget that the dataset does not have, a loss or
            scores that are not finite, a selection that is not `size` distinct pool samples.
    """
    folder, started = cell.folder(out), time.monotonic()
    if (folder / RECORD).exists():
        found = Run.read(folder / RECORD)
        must_be_of(cell, folder, identity_of(found))
        return False
    forget_peak_memory(device)
    method = load_method(cell.qm, cell.settings.query_options)
    build(cell.dataset.modalities, cell.dataset.classes, cell.settings, 0.0, seed=0)  # wrong options end here, not later
    splits = (load_split(data, cell.dataset, split) for split in ("train", "test"))
    train, test = (shrunk(split, cell.settings.shrink).to(device) for split in splits)
    pool, validation = start(train, cell)
    if cell.settings.train.fixmatch.enabled:  # a pool that will not fill its batches ends here, not after hours
        budget = cell.settings.budget
        fixmatch.steps(len(pool.unlabelled_index) - budget.query * (budget.cycles - 1), cell.settings.train)
    with _logged(folder):
        cycles = _run_cycles(Bench(cell, command, method, train, test, validation, pool), folder, on_progress)
    packages = ("torch", "torchvision", "numpy", *(("transformers",) if "weights" in cell.content else ()))
    info = made(started, command, packages) | {"device": device_name(device)}
    run = Run(id=files.identity(cell.identity), config=cell.content, inputs=cell.inputs, cycles=cycles, made=info)
    run.write(folder / RECORD)
    return True


def _run_cycles(bench: Bench, folder: Path, on_progress: Callable[[int, int], None]) -> list[Cycle]:
    """All cycles, those that are on disk read, the others run."""
    budget, epochs = bench.cell.settings.budget, bench.cell.settings.train.epochs
    total, cycles = budget.cycles * epochs, []
    for number in range(budget.cycles):
        path = folder / f"cycle-{number:02d}.h5"
        if not path.exists():
            on_progress(number * epochs, total)
            _run_cycle(bench, number, path, lambda epoch, before=number * epochs: on_progress(before + epoch, total))
        cycle, selected = _read_cycle(bench, number, path)
        cycles.append(cycle)
        bench.pool.label(selected)
    return cycles


def _read_cycle(bench: Bench, number: int, path: Path) -> tuple[Cycle, Tensor]:
    """A finished cycle, if it is this run's and follows from the cycles before it."""
    arrays, attributes = shards.read_arrays(path)
    try:
        must_be_of(bench.cell, path, attributes["identity"])
        cycle, selected = Cycle.model_validate(attributes["cycle"]), torch.from_numpy(arrays["selected"])
        expected = bench.cell.settings.budget.query if number < bench.cell.settings.budget.cycles - 1 else 0
        follows = (
            cycle.number == number
            and np.array_equal(arrays["labelled"], bench.pool.labelled_index.numpy())
            and np.array_equal(arrays["validation"], bench.validation.numpy())
            and len(selected) == len(selected.unique()) == expected
            and bool(torch.isin(selected, bench.pool.unlabelled_index).all())
        )
    except (KeyError, ValueError):
        follows = False
    if not follows:
        raise UserError(
            f"{path} does not follow from the cycles before it, or was edited; remove it and all later cycles of "
            f"{path.parent} and give the same command again",
            BAD_DATA,
        )
    return cycle, selected


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Logs to run.log from INFO on, warnings to stderr too; a folder that cannot be written ends the run before it begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} could not be written: {error.strerror}; choose another --out", BAD_DATA) from error
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    to_file.handleError = lambda record: None  # a full disk is reported by the cycle that cannot be written
    to_person = logging.StreamHandler()
    to_person.setFormatter(logging.Formatter("warning: %(message)s"))
    to_person.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)
    handlers = to_file, to_person
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
        with suppress(OSError):
            to_file.close()


def _run_cycle(bench: Bench, number: int, path: Path, on_epoch: Callable[[int], None]) -> None:
    """Trains, tests and asks once, and writes the cycle's file."""
    cell, pool, settings = bench.cell, bench.pool, bench.cell.settings
    chance, labelled, clock = Chance(cell.seed, number), bench.pool.labelled_index, [time.monotonic()]
    train = partial(fit, bench.train, pool, bench.validation, settings, bench.dropout, chance, on_epoch)
    # the folder of a regime is two above that of a run: <regime>/<qm>/seed-<k>
    shared = path.parents[2] / first.FOLDER
    fitted = first.first_model(cell, bench.train, bench.dropout, shared, train) if number == 0 else train()
    clock.append(time.monotonic())
    masks = dropout_masks(fitted.model, settings, chance)
    logits = _test(fitted, bench.test, masks)
    clock.append(time.monotonic())
    selected = torch.empty(0, dtype=torch.int64)
    if number < settings.budget.cycles - 1:
        view = view_of(fitted, bench.train, pool, bench.method.needs, masks, number, settings.budget.cycles)
        selected = select(bench.method, view, settings.budget.query, chance("query"))
    clock.append(time.monotonic())
    cycle = Cycle(
        number=number,
        labels=len(labelled),
        best_epoch=fitted.best_epoch,
        validation=fitted.validation,
        metrics={subset_name(subset): metrics(x, bench.test.labels) for subset, x in logits.items()},
        seconds={name: round(b - a, 3) for name, a, b in zip(("train", "test", "query"), clock, clock[1:], strict=False)},
        peak_memory_mb=peak_memory_mb(bench.train.labels.device),
        deterministic=torch.are_deterministic_algorithms_enabled() or None,
        asked=_asked(bench.train, pool, selected) if len(selected) else None,
    )
    halves = {f"test_logits/{subset_name(s)}": x.clamp(-HALF, HALF).half().cpu().numpy() for s, x in logits.items()}
    arrays = {"labelled": labelled.numpy(), "selected": selected.numpy(), "validation": bench.validation.numpy()}
    attributes = {"identity": cell.identity, "command": bench.command, "cycle": cycle.model_dump(mode="json")}
    shards.write_arrays(path, arrays | halves, attributes)
    whole = cycle.metrics[subset_name(bench.test.names)]["balanced_accuracy"]
    log.info("cycle %d: %d labels, balanced accuracy %.4f, seconds %s", number, len(labelled), whole, cycle.seconds)


def _asked(train: Split, pool: Pool, selected: Tensor) -> Asked:
    """What the query was: the tables have no dataset to look it up in."""
    return Asked(
        present=_patterns(train, selected),
        pool_present=_patterns(train, pool.unlabelled_index),
        classes=torch.bincount(train.labels[selected.to(train.labels.device)], minlength=train.classes).tolist(),
    )


def _patterns(train: Split, index: Tensor) -> dict[str, int]:
    """The modalities that samples have -> how many samples have just these."""
    found, counts = train.present[index].unique(dim=0, return_counts=True)
    named = (subset_name(tuple(compress(train.names, pattern))) or "none" for pattern in found.tolist())
    return dict(zip(named, counts.tolist(), strict=True))


def _test(fitted: Fitted, test: Split, masks: Tensor | None) -> Mapping[Subset, Tensor]:
    """Logits of every subset of modalities on the whole test split."""
    index = torch.arange(len(test.labels))
    return predict(fitted.model, test, index, {"subset_logits"}, masks, subsets(test.names)).subset_logits


def view_of(
    fitted: Fitted, train: Split, pool: Pool, needs: frozenset[str], masks: Tensor | None, number: int, cycles: int
) -> PoolView:
    """What the query method sees: the predictions that it NEEDS, and of all labels those of the labelled samples."""
    coalitions = [(), *subsets(train.names)] if {"subset_logits", "subset_embeddings"} & needs else []

    def scored(index: Tensor) -> Predictions:
        return predict(fitted.model, train, index, needs, masks, coalitions)

    device, unlabelled, labelled = train.labels.device, pool.unlabelled_index, pool.labelled_index
    return PoolView(
        unlabelled=scored(unlabelled) if needs else Predictions(unlabelled.to(device)),
        labelled=scored(labelled) if "labelled" in needs else Predictions(labelled.to(device)),
        targets=train.labels[labelled.to(device)],
        present=train.present[unlabelled].to(device),
        modalities=train.names,
        cycle=number,
        cycles=cycles,
    )
