"""How do seconds and memory of a query grow with the pool?"""

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

from data_recipes.workers import processes
from mmal_cli.bench import queries
from mmal_cli.bench.growth import slope
from mmal_cli.checking._asking import Row, Skipped, Subject, Wrong, examined
from mmal_cli.core.errors import UserError

PLACE = 8
PICKS, LABELLED, CLASSES = 10, 1_000, 10
MOST = {"s": 120.0, "MiB": 8192.0}  # that a pool may be expected to take, from the smaller ones


def rows(subject: Subject) -> Iterator[Row]:
    """A row for each pool, each measured in a process of its own with one thread."""
    measured: list[dict] = []
    for pool in subject.pools:
        yield examined(f"a pool of {pool:,}", lambda pool=pool: _measured(subject, pool, measured))


def _measured(subject: Subject, pool: int, measured: list[dict]) -> str:
    """Measures a pool and keeps it for the next one, unless the smaller ones say that it takes too much."""
    before = measured[-1] if measured else None
    if before:
        _must_be_small(before, pool)
    with processes(2) as elsewhere:
        try:
            task = (subject.name, pool, PICKS, LABELLED, CLASSES, subject.options)
            ((seconds, beyond, _),) = elsewhere(queries.cost, [task])
        except UserError:
            raise
        except BrokenProcessPool as error:
            raise Wrong("the process that asked has died, as one that takes too much memory does") from error
        except Exception as error:
            raise Wrong(f"{type(error).__name__}: {error}") from error
    row = {"pool": pool, "s": float(f"{seconds:.2g}"), "MiB": round(beyond / 2**20, 1)}
    slopes = {key: slope(before, row, key) for key in MOST}
    measured.append(row | {f"slope of {key}": found for key, found in slopes.items()})
    return ", ".join(f"{row[key]:g} {key}" + ("" if s is None else f" (slope {s:g})") for key, s in slopes.items())


def _must_be_small(before: dict, pool: int) -> None:
    """Raises Skipped if a pool would take too much, going by the one before it and by its slope, at least 1."""
    for key, most in MOST.items():
        expected = before[key] * (pool / before["pool"]) ** max(1.0, before[f"slope of {key}"] or 1.0)
        if expected > most:
            raise Skipped(f"would take about {expected:,.0f} {key}; measure it all the same by: --pools {pool}")
