"""Does chance come from the generator that a method is handed, and from nothing else?"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from mmal_cli.checking._asking import SEEDS, Row, Subject, Wrong, ask, examined, must_repeat
from mmal_cli.checking._views import make_view
from mmal_cli.method import Method
from mmal_cli.pool import PoolView, each_tensor

PLACE = 2
SAMPLES, PICKS = 60, 15


def rows(subject: Subject) -> Iterator[Row]:
    """The same seed, and other ones."""
    yield examined("same seed, same answer", lambda: _same(subject.method))
    yield examined("another seed, another answer", lambda: _another(subject.method))


def _same(method: Method) -> str:
    view = make_view(SAMPLES, classes=3)
    first = ask(method, view, PICKS, seed=1)
    if first.strange:
        raise Wrong(f"drew from the global generator of {', '.join(first.strange)}; expected `rng` to be the only chance")
    for world in (0, 1):
        again = ask(method, view, PICKS, seed=1, world=world).samples
        if again != first.samples:
            differ = sum(one != other for one, other in zip(again, first.samples, strict=True))
            raise Wrong(f"{differ} of {PICKS} samples differ; expected the same, all chance drawn from `rng`")
    return f"{PICKS} of {SAMPLES}, asked three times"


def _another(method: Method) -> str:
    plain = make_view(SAMPLES, classes=3)
    must_repeat(method, plain, PICKS)
    drew = False
    for view in (plain, _equal(plain)):  # a method may draw among equals alone
        found = [ask(method, view, PICKS, seed) for seed in SEEDS]
        drew |= any(one.drew for one in found)
        if len({tuple(one.samples) for one in found}) > 1:
            return "draws from `rng`"
    if drew:
        raise Wrong(f"`rng` was drawn from, but seeds {SEEDS[0]} to {SEEDS[-1]} give one answer; expected several")
    return "without chance: `rng` did not move"


def _equal(view: PoolView) -> PoolView:
    """The view with all samples predicted alike."""
    flat = each_tensor(view.unlabelled, lambda tensor, dim: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor)
    return replace(view, unlabelled=flat)
