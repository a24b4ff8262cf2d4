"""How alike the queries of two methods are, from the cycles on disk."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from mmal_cli.analysis.diagnostics import Reading, common, jaccard
from mmal_cli.core import shards
from mmal_cli.core.manifest import Run


class Asked(NamedTuple):
    """The positions that a run asked for in each query, and those that are labelled at its end."""

    queries: list[frozenset[int]]
    labelled: frozenset[int]


class Overlap(NamedTuple):
    """Of two methods of one block: seed -> share of each query that both asked for; `end`, of all labels, mean over seeds."""

    one: str
    other: str
    queries: dict[int, list[float]]
    end: float

    @property
    def first(self) -> float | None:
        """Of the first query, the same model's: mean over seeds."""
        return _mean([shares[0] for shares in self.queries.values() if shares])

    @property
    def later(self) -> float | None:
        """Of all other queries: mean over seeds and cycles."""
        return _mean([share for shares in self.queries.values() for share in shares[1:]])


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def read(folder: Path, cycles: int) -> Asked | None:
    """None where a cycle's file is not there."""
    paths = [folder / f"cycle-{number:02d}.h5" for number in range(cycles)]
    if not all(path.exists() for path in paths):
        return None
    queries: list[frozenset[int]] = []
    for path in paths:
        arrays, _ = shards.read_arrays(path, ("selected", "labelled"))
        queries.append(frozenset(arrays["selected"].tolist()))
    return Asked([query for query in queries if query], frozenset(arrays["labelled"].tolist()))


def pairs(of: Mapping[str, Mapping[int, Asked]]) -> list[Overlap]:
    """All pairs of methods that have a seed in common; of: qm -> seed -> queries, all of one (dataset, regime, moddrop)."""
    found = []
    for one, other in combinations(sorted(of), 2):
        both = {seed: (of[one][seed], of[other][seed]) for seed in sorted(of[one].keys() & of[other].keys())}
        if both:
            alike = {seed: list(map(common, a.queries, b.queries)) for seed, (a, b) in both.items()}
            found.append(Overlap(one, other, alike, fmean(jaccard(a.labelled, b.labelled) for a, b in both.values())))
    return found


def readings(found: Iterable[Overlap], qm: str, seed: int, run: Run) -> Iterator[Reading]:
    """The share of each query of a run that another method asked for too, one reading for each query and other method."""
    for pair in found:
        if qm in (pair.one, pair.other):
            other = pair.other if qm == pair.one else pair.one
            for cycle, share in zip(run.cycles, pair.queries.get(seed, []), strict=False):
                yield Reading(cycle.number, cycle.labels, "overlap", other, share)
