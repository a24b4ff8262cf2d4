"""Asks a query method, each time with tensors of its own, and says what went wrong in the method's own file."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from mmal_cli.checking._views import chance, copied, lend
from mmal_cli.core.errors import UserError
from mmal_cli.method import Broken, Method, answer, load_method
from mmal_cli.pool import PoolView, checked

SEEDS = range(5)
WORLD = {  # generators that belong to nobody: how they are seeded, read and set
    "torch": (torch.default_generator.manual_seed, torch.get_rng_state, torch.set_rng_state),
    "numpy": (np.random.seed, lambda: np.random.get_state(legacy=False), np.random.set_state),  # noqa: NPY002
    "random": (random.seed, random.getstate, random.setstate),
}


class Wrong(UserError):
    """A check failed: what was found, what was expected."""


class Skipped(Exception):
    """A check that cannot be made here, and why."""


@dataclass(frozen=True)
class Row:
    """What came of one check."""

    check: str
    result: Literal["pass", "FAIL", "skipped"]
    detail: str


@dataclass(frozen=True)
class Subject:
    """The query method under test, by name or path, its options, and the pools that its growth is measured at."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pools: tuple[int, ...] = ()

    @cached_property
    def method(self) -> Method:
        """Loaded, its options checked."""
        return load_method(self.name, self.options)


@dataclass(frozen=True)
class Answer:
    """Train positions in order of choice; whether the generator moved; which generators of the world did."""

    samples: list[int]
    drew: bool
    strange: tuple[str, ...]


def examined(check: str, look: Callable[[], str]) -> Row:
    """The row of a check: `look` gives the detail of a pass, or raises."""
    try:
        return Row(check, "pass", look())
    except Skipped as why:
        return Row(check, "skipped", str(why))
    except UserError as error:
        return Row(check, "FAIL", str(error))


def ask(method: Method, view: PoolView, size: int, seed: int = 0, world: int = 0) -> Answer:
    """What a method answers that sees only what it NEEDS, after the loop's own check.

    Args:
        seed: of the generator that it is handed.
        world: seed of all global generators meanwhile.

    Raises:
        UserError: the answer is no `size` distinct samples of the pool, or the method raised something.
    """
    return ask_with(method, copied(lend(view, method.needs)), size, seed, world)


def ask_with(method: Method, view: PoolView, size: int, seed: int = 0, world: int = 0) -> Answer:
    """The same with just this view and its tensors."""
    rng = chance(seed)
    before, index = rng.get_state(), view.unlabelled.index.clone()
    kept = replace(view, unlabelled=replace(view.unlabelled, index=index))  # a method may write into its own
    with _world(world) as strange:
        try:
            found = answer(method, view, size, rng)
        except Broken as error:
            raise Wrong(str(error)) from error
    return Answer(checked(found, kept, size, method.name).tolist(), not torch.equal(before, rng.get_state()), tuple(strange))


@contextmanager
def _world(number: int) -> Iterator[list[str]]:
    """Inside, all global generators begin from a seed, afterwards they are as before; gives the names of those that moved."""
    kept, begun, strange = {}, {}, []
    for name, (seed, state, _) in WORLD.items():
        kept[name] = state()
        seed(number)
        begun[name] = _plain(state())
    try:
        yield strange
    finally:
        for name, (_, state, set_state) in WORLD.items():
            if _plain(state()) != begun[name]:
                strange.append(name)
            set_state(kept[name])


def _plain(state: Any) -> Any:
    """What can be compared by ==."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state


def must_repeat(method: Method, view: PoolView, size: int) -> None:
    """Raises Skipped if the same seed gives another answer: then answers cannot be compared."""
    if ask(method, view, size).samples != ask(method, view, size, world=1).samples:
        raise Skipped("the same seed gives other answers")


def by_chance(method: Method, view: PoolView, size: int) -> bool:
    """Whether the method draws here: the generator moved, or another seed gave another answer."""
    found = [ask(method, view, size, seed) for seed in SEEDS]
    return any(one.drew for one in found) or len({tuple(one.samples) for one in found}) > 1
