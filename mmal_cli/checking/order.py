"""Does a method choose the same samples wherever they stand in train?

A position tells nothing but the sample: in a quint dataset each run of C positions holds every class once, so a method that
computed with positions would read labels of the pool. Samples change places among other positions, their predictions with
them. Without chance the same samples must be chosen; by chance each must be chosen as often, over many seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from scipy.stats import fisher_exact
from torch import Tensor

from mmal_cli.checking._asking import Row, Subject, Wrong, ask, by_chance, examined, must_repeat
from mmal_cli.checking._views import chance, make_view
from mmal_cli.checking._views import rows as taken
from mmal_cli.method import Method
from mmal_cli.pool import PoolView

PLACE = 3
SAMPLES, MANY, PICKS, REPEATS = 24, 300, 6, 100
CYCLES = (1, 0, 8, 4, 1)  # of a run of ten; an order for each
ALARM = 1e-6  # how likely a method that is blind to the order fails


def rows(subject: Subject) -> Iterator[Row]:
    """With all modalities, and with some absent."""
    for what, absent in (("order and labels of the pool", 0.0), ("the same, some modalities absent", 0.3)):
        yield examined(what, lambda absent=absent: _blind(subject.method, absent))


def _blind(method: Method, absent: float) -> str:
    """A method may draw in some cycles alone, or of large pools alone."""
    said = {}
    for samples in (SAMPLES, MANY):
        view = make_view(samples=samples, classes=3, absent=absent)
        must_repeat(method, view, PICKS)
        drawn = [cycle for cycle in sorted(set(CYCLES)) if by_chance(method, replace(view, cycle=cycle), PICKS)]
        fixed = [cycle for cycle in CYCLES if cycle not in drawn]
        _must_be_the_same(method, view, fixed)
        if fixed:
            said[f"the same {PICKS} of {samples} in {len(fixed)} other orders"] = None
        if drawn and samples == SAMPLES:
            _must_be_as_often(method, view, drawn)
            said[f"by chance: each of {SAMPLES} as often in another order, over 2 x {REPEATS} seeds"] = None
    return "; ".join(said)


def _must_be_the_same(method: Method, view: PoolView, cycles: Sequence[int]) -> None:
    here = torch.arange(len(view.unlabelled.index))
    for number, cycle in enumerate(cycles):
        view = replace(view, cycle=cycle)
        expected = _samples(ask(method, view, PICKS).samples, view, here)
        other, order = _elsewhere(view, number)
        found = _samples(ask(method, other, PICKS).samples, other, order)
        if lost := set(expected) - set(found):
            raise Wrong(f"{len(lost)} of {PICKS} samples change once the pool stands in another order; expected the same ones")


def _must_be_as_often(method: Method, view: PoolView, cycles: Sequence[int]) -> None:
    """Fisher's exact test for each sample, whether it was chosen or not in either order, by Bonferroni."""
    other, order = _elsewhere(view, 0)
    counts = torch.zeros(2, SAMPLES, dtype=torch.int64)
    for seed in range(REPEATS):
        here, there = (replace(one, cycle=cycles[seed % len(cycles)]) for one in (view, other))
        counts[0, _samples(ask(method, here, PICKS, seed).samples, view, torch.arange(SAMPLES))] += 1
        counts[1, _samples(ask(method, there, PICKS, REPEATS + seed).samples, other, order)] += 1
    for sample, (before, after) in enumerate(counts.T.tolist()):
        if fisher_exact([[before, REPEATS - before], [after, REPEATS - after]]).pvalue < ALARM / SAMPLES:
            raise Wrong(
                f"sample {sample} of {SAMPLES} is chosen {before} times of {REPEATS}, and {after} times once the pool stands "
                "in another order; expected as often but for chance"
            )


def _elsewhere(view: PoolView, number: int) -> tuple[PoolView, Tensor]:
    """The view with its samples in another order at other, ascending positions; row k holds what was row order[k]."""
    rng = chance(number)
    samples = len(view.unlabelled.index)
    order = torch.randperm(samples, generator=rng)
    free = torch.arange(10 * samples)
    free = free[~torch.isin(free, view.labelled.index)]
    index = free[torch.randperm(len(free), generator=rng)[:samples]].sort().values
    other = taken(view, order)
    return replace(other, unlabelled=replace(other.unlabelled, index=index)), order


def _samples(answer: list[int], view: PoolView, order: Tensor) -> list[int]:
    """Which samples stand at the positions of an answer, as rows of the first view."""
    return order[torch.searchsorted(view.unlabelled.index, torch.tensor(answer))].tolist()
