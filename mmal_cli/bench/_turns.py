"""Times ways of doing the same in turn, so that whatever else the machine does meets all of them, and puts two side by side."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import torch

Way = TypeVar("Way", bound=Hashable)


def in_turns(
    ways: Mapping[Way, Callable[[], object]],
    rounds: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Way, list[float]]:
    """Runs each way to its end once a round, A B A B; the first round warms up and is not counted.

    Args:
        ways: name -> what to time.
        rounds: how many are counted.
        on_progress: called with (rounds done, rounds in all) after each.

    Returns:
        name -> seconds, one for each round.
    """
    seconds = {name: [] for name in ways}
    for done in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            settled()
            seconds[name].append(time.perf_counter() - started)
        on_progress(done + 1, rounds + 1)
    return {name: spent[1:] for name, spent in seconds.items()}


def settled() -> None:
    """Returns when a GPU has done what it was asked for: it works on after the calls."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def beside(ours: Sequence[float], theirs: Sequence[float], unit: str, value: Callable[[float], float]) -> dict[str, object]:
    """The columns that compare two ways.

    Args:
        ours: seconds of each round, for as much work as a round of `theirs`.
        theirs: seconds of the reference.
        unit: of the figures shown.
        value: seconds -> figure.

    Returns:
        Median and range of both, and how many times as fast ours is, by the medians.
    """
    return {
        f"ours {unit}": _figure(value(median(ours))),
        "range": _range(map(value, ours)),
        f"reference {unit}": _figure(value(median(theirs))),
        "its range": _range(map(value, theirs)),
        "times": round(median(theirs) / median(ours), 2),
        "rounds": len(ours),
    }


def _range(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{_figure(ordered[0])}-{_figure(ordered[-1])}"


def _figure(value: float) -> float:
    """Three digits at least."""
    return round(value) if value >= 100 or value == round(value) else float(f"{value:.3g}")
