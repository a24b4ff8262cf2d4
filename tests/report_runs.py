"""Grids of finished runs for the page: fake records with everything that a report shows, drawn from a fixed generator."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path

import fake_runs
import numpy as np

from mmal_cli.core import shards
from mmal_cli.core.manifest import Asked, Run

METHODS = ("badge", "bald", "bmmal", "entropy", "grace", "kcg", "random")
LABELS = {"low": 500, "mid": 1000, "high": 5000}  # as in the protocols of unique and synergy


def subsets(modalities: Sequence[str]) -> list[str]:
    """As `data.subsets`, by name."""
    sizes = range(1, len(modalities) + 1)
    return ["+".join(of) for of in chain.from_iterable(combinations(modalities, size) for size in sizes)]


def record(
    dataset: str, regime: str, qm: str, seed: int, modalities: Sequence[str], cycles: int, settings: Mapping, moddrop: bool
) -> Run:
    """One run; b of unique and both of synergy can be right in one of ten only."""
    rng = np.random.default_rng([*dataset.encode(), *regime.encode(), *qm.encode(), seed])
    ceiling = {"unique": {"b": 0.1}, "synergy": {"a": 0.1, "b": 0.1}}.get(dataset, {})
    rise = 1 - np.exp(-3 * np.linspace(0.1, 1, cycles))
    curves = {
        subset: np.clip(ceiling.get(subset, 1.0) * (rng.uniform(0.4, 0.9) * rise + rng.normal(0, 0.02, cycles)), 0, 1).tolist()
        for subset in subsets(modalities)
    }
    run = fake_runs.record(curves, dataset, qm, regime, seed, moddrop, settings=settings, weak=modalities[-1], ceiling=ceiling)
    read = run.inputs["dataset"] | {"modalities": list(modalities)}
    whole, some, step = "+".join(modalities), modalities[0], LABELS[regime]
    pool = {whole: 40000, some: 10000} if len(modalities) > 1 else {whole: 50000}
    done = []
    for cycle in run.cycles:
        counts = rng.multinomial(step, np.full(10, 0.1)).tolist()
        present = {whole: step - step // 4, some: step // 4} if len(modalities) > 1 else {whole: step}
        asked = Asked(present=present, pool_present=pool, classes=counts) if cycle.number < cycles - 1 else None
        update = {"labels": step * (cycle.number + 1), "asked": asked}
        update["seconds"] = {"train": 30.0, "test": 2.0, "query": 1.5}
        done.append(cycle.model_copy(update=update))
    made = run.made | {"mmal": "0.1.0", "device": "NVIDIA H100", "versions": {"torch": "2.15.0"}}
    return run.model_copy(update={"cycles": done, "inputs": {"dataset": read}, "made": made})


def make(
    root: Path,
    datasets: Sequence[str] = ("unique",),
    regimes: Sequence[str] = ("low", "mid"),
    methods: Sequence[str] = ("random", "badge", "grace"),
    seeds: int = 2,
    modalities: Sequence[str] = ("a", "b"),
    cycles: int = 10,
    settings: Mapping | None = None,
    leave_out: Iterable[tuple[str, str, str, int]] = (),
) -> Path:
    """Writes a grid of runs and returns its folder; synergy is without modality dropout."""
    gaps = set(leave_out)
    for dataset in datasets:
        for regime in regimes:
            for qm in methods:
                for seed in range(seeds):
                    if (dataset, regime, qm, seed) not in gaps:
                        of = settings or {"train": {"lr": 0.1}}
                        run = record(dataset, regime, qm, seed, modalities, cycles, of, dataset != "synergy")
                        fake_runs.write(root, run)
    return root


def write_cycles(folder: Path, queries: Sequence[Sequence[int]], start: Sequence[int]) -> None:
    """The cycles of a run: what was labelled at first, and what each query asked for; the last cycle asks nothing."""
    labelled = list(start)
    for number, asked in enumerate([*queries, []]):
        arrays = {"labelled": np.array(sorted(labelled)), "selected": np.array(asked, dtype=np.int64)}
        shards.write_arrays(folder / f"cycle-{number:02d}.h5", arrays, {})
        labelled += asked
