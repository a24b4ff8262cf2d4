"""Grids of finished runs for the page: fake records with everything that a report shows, drawn from a fixed generator."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, combinations
from pathlib import Path

import fake_runs
import numpy as np

from mmal_cli.core import shards
from mmal_cli.core.manifest import Asked, Dataset, Modality, Run
from mmal_cli.core.settings import resolve
from mmal_cli.report import gather, page
from mmal_cli.runs import find

INFO = {"mmal": "0.1.0", "command": "mmal report RUNS", "versions": {"matplotlib": "3.9"}}
KINDS = {
    "missing": {"a": "image", "b": "image"},
    "share": {"cifar10": "image", "mnist": "image"},
    "unique": {"a": "image", "b": "image"},
    "synergy": {"a": "image", "b": "image"},
    "food101": {"image": "image", "text": "tokens"},
    "mimic": {"labs": "vector", "ecg": "series"},
}
METHODS = ("badge", "bald", "bmmal", "entropy", "grace", "kcg", "random")
LABELS = {"low": 500, "mid": 1000, "high": 5000}  # as in the protocols of unique and synergy


def subsets(modalities: Sequence[str]) -> list[str]:
    """As `data.subsets`, by name."""
    sizes = range(1, len(modalities) + 1)
    return ["+".join(of) for of in chain.from_iterable(combinations(modalities, size) for size in sizes)]


@cache
def resolved(name: str, regime: str, modalities: tuple[str, ...] = (), assignments: tuple[str, ...] = ()) -> dict:
    """The settings that al-run would record."""
    kinds = dict.fromkeys(modalities, "image") or KINDS[name]
    described = [Modality(name=m, kind=kind, shape=(3, 300), dtype="uint8") for m, kind in kinds.items()]
    splits = {split: {"samples": 60_000, "shards": []} for split in ("train", "test")}
    dataset = Dataset.model_construct(name=name, classes=10, modalities=described, splits=splits)
    return resolve(dataset, regime, "badge", (), assignments)[0].model_dump(mode="json")


def record(
    dataset: str,
    regime: str,
    qm: str,
    seed: int,
    modalities: Sequence[str],
    cycles: int,
    settings: Mapping,
    moddrop: bool,
    train: int = 60_000,
) -> Run:
    """One run on `train` samples; b of unique and both of synergy can be right in one of ten only."""
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
    taken = settings.get("budget", {}).get("validation", 0)
    done = []
    for cycle in run.cycles:
        counts = rng.multinomial(step, np.full(10, 0.1)).tolist()
        present = {whole: step - step // 4, some: step // 4} if len(modalities) > 1 else {whole: step}
        left = train - taken - step * (cycle.number + 1)
        pool = {whole: left - left // 5, some: left // 5} if len(modalities) > 1 else {whole: left}
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
    assignments: Sequence[str] = (),
    train: int = 60_000,
    leave_out: Iterable[tuple[str, str, str, int]] = (),
) -> Path:
    """Writes a grid of runs and returns its folder; synergy is without modality dropout.

    Args:
        settings: of all runs; None: the protocol's with these assignments, as al-run would record them.
    """
    gaps = set(leave_out)
    for dataset in datasets:
        for regime in regimes:
            for qm in methods:
                for seed in range(seeds):
                    if (dataset, regime, qm, seed) not in gaps:
                        of = settings or resolved(dataset, regime, tuple(modalities), tuple(assignments))
                        run = record(dataset, regime, qm, seed, modalities, cycles, of, dataset != "synergy", train)
                        fake_runs.write(root, run)
    return root


def write_cycles(folder: Path, queries: Sequence[Sequence[int]], start: Sequence[int]) -> None:
    """The cycles of a run: what was labelled at first, and what each query asked for; the last cycle asks nothing."""
    labelled = list(start)
    for number, asked in enumerate([*queries, []]):
        arrays = {"labelled": np.array(sorted(labelled)), "selected": np.array(asked, dtype=np.int64)}
        shards.write_arrays(folder / f"cycle-{number:02d}.h5", arrays, {})
        labelled += asked


def gathered(root: Path) -> gather.Material:
    """What a report of a folder shows."""
    return gather.gather(find(root), root)


def text_of(root: Path) -> str:
    """The page of a folder."""
    return page.page(gathered(root), INFO)


def table(text: str, caption: str) -> list[list[str]]:
    """The rows of the page's table with this caption, headings and groups too."""
    whole = re.search(rf"<table><caption>{re.escape(caption)}</caption>(.*?)</table>", text, re.DOTALL)[1]
    return [re.findall(r"<t[hd][^>]*>(?:<b>)?([^<]*)", row) for row in re.findall(r"<tr.*?</tr>", whole)]
