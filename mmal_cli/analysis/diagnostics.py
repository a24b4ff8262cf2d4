"""What a run did beside its accuracy: worth of each modality, gap, synergy, and what its queries asked for."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from mmal_cli.core.manifest import Asked, Run


class Reading(NamedTuple):
    """One number of one cycle: `measure` is shapley, gap, synergy, share_ratio, entropy, entropy_share or overlap."""

    cycle: int
    labels: int
    measure: str
    of: str  # a modality, a pattern of presence, or the other method of an overlap; else empty
    value: float


def shapley(values: Mapping[str, float], modalities: Sequence[str], empty: float) -> dict[str, float] | None:
    """Exact Shapley value of each modality (Shapley 1953), the mean of what it adds over all orders of the M modalities.

    phi_m = sum over subsets S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)); they add up to v(all) - v(empty).

    Args:
        values: subset (`a+b`, in the order of `modalities`) -> value.
        empty: the value of no modality at all.

    Returns:
        None where a subset is missing.

    Cost: M 2^(M - 1) differences.
    """
    found = _coalitions(values, modalities)
    if found is None:
        return None
    found[()] = empty
    m = len(modalities)

    def phi(modality: str) -> Iterator[float]:
        others = [name for name in modalities if name != modality]
        for size in range(m):
            weight = math.factorial(size) * math.factorial(m - size - 1) / math.factorial(m)
            for subset in combinations(others, size):
                joined = tuple(name for name in modalities if name in subset or name == modality)
                yield weight * (found[joined] - found[subset])

    return {modality: math.fsum(phi(modality)) for modality in modalities}


def gap(values: Mapping[str, float], modalities: Sequence[str]) -> float | None:
    """The strongest single modality minus the weakest; None for one modality, or where one is missing."""
    if len(modalities) < 2 or not all(name in values for name in modalities):
        return None
    return max(values[name] for name in modalities) - min(values[name] for name in modalities)


def synergy(values: Mapping[str, float], modalities: Sequence[str]) -> float | None:
    """v(all) minus the best of all proper subsets (for a and b: v(a+b) - max(v(a), v(b))); None as for `gap`."""
    found = _coalitions(values, modalities)
    if found is None or len(modalities) < 2:
        return None
    return found.pop(tuple(modalities)) - max(found.values())


def _coalitions(values: Mapping[str, float], modalities: Sequence[str]) -> dict[tuple[str, ...], float] | None:
    """Subset -> value for all 2^M - 1 of them; None where one is missing."""
    all_of_them = [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]
    if not all("+".join(subset) in values for subset in all_of_them):
        return None
    return {subset: values["+".join(subset)] for subset in all_of_them}


def shares(asked: Asked) -> dict[str, tuple[float, float]]:
    """Pattern of presence -> its share of what was asked, its share of the pool before."""
    total, pool = sum(asked.present.values()), sum(asked.pool_present.values())
    return {
        pattern: (asked.present.get(pattern, 0) / total, count / pool) for pattern, count in sorted(asked.pool_present.items())
    }


def entropy(counts: Sequence[int]) -> float:
    """Of the classes that were asked for, in nats: 0 for one class, log C for all alike."""
    total = sum(counts)
    return -math.fsum(n / total * math.log(n / total) for n in counts if n) + 0.0


def common(one: Collection[int], other: Collection[int]) -> float:
    """The share of two queries that is the same samples: |A and B| / min(|A|, |B|)."""
    return len(set(one) & set(other)) / min(len(one), len(other))


def jaccard(one: Collection[int], other: Collection[int]) -> float:
    """|A and B| / |A or B|."""
    return len(set(one) & set(other)) / len(set(one) | set(other))


def chance(run: Run) -> float | None:
    """Balanced accuracy of a guess, 1 / C: stands for the empty coalition, which runs do not test."""
    classes = run.inputs.get("dataset", {}).get("classes")
    return 1 / classes if classes else None


def read(run: Run, metric: str = "balanced_accuracy") -> Iterator[Reading]:
    """All numbers of a run, cycle by cycle; what is not defined, or not in its record, is left out."""
    modalities, empty = run.inputs.get("dataset", {}).get("modalities", []), chance(run)
    for cycle in run.cycles:
        here, values = (cycle.number, cycle.labels), {name: of[metric] for name, of in cycle.metrics.items() if metric in of}
        worth = None if empty is None else shapley(values, modalities, empty)
        for modality, phi in (worth or {}).items():
            yield Reading(*here, "shapley", modality, phi)
        for measure, value in (("gap", gap(values, modalities)), ("synergy", synergy(values, modalities))):
            if value is not None:
                yield Reading(*here, measure, "", value)
        if cycle.asked:
            for pattern, (share, pool) in shares(cycle.asked).items():
                yield Reading(*here, "share_ratio", pattern, share / pool)
            nats, classes = entropy(cycle.asked.classes), len(cycle.asked.classes)
            yield Reading(*here, "entropy", "", nats)
            if classes > 1:
                yield Reading(*here, "entropy_share", "", nats / math.log(classes))
