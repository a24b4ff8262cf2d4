"""How alike the queries of two methods are, from the cycles on disk."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from mmal_cli.analysis.diagnostics import common, jaccard
from mmal_cli.core import shards


class Asked(NamedTuple):
    """The positions that a run asked for in each query, and those that are labelled at its end."""

    queries: list[frozenset[int]]
    labelled: frozenset[int]


class Overlap(NamedTuple):
    """Of two methods of one block, means over common seeds: `first` query (the same model), `later` ones, labels at the end."""

    one: str
    other: str
    seeds: int
    first: float | None
    later: float | None
    end: float


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
        both = [(of[one][seed], of[other][seed]) for seed in sorted(of[one].keys() & of[other].keys())]
        if both:
            alike = [[common(x, y) for x, y in zip(a.queries, b.queries, strict=False)] for a, b in both]
            first, later = [row[0] for row in alike if row], [value for row in alike for value in row[1:]]
            end = fmean(jaccard(a.labelled, b.labelled) for a, b in both)
            found.append(Overlap(one, other, len(both), fmean(first) if first else None, fmean(later) if later else None, end))
    return found
