"""How do time and memory of a query grow with the pool?"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from data_recipes.workers import processes
from mmal_cli.bench import queries

POOLS = (1_000, 10_000, 100_000, 1_000_000)
METHODS = ("entropy", "kcg", "badge", "grace", "bmmal")  # bald's 50 passes of a million samples would be 20 GB
PICKS, LABELLED, ROUNDS = 100, 1_000, 5


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A query of 100 at each size of pool, each in a process of its own with one thread: seconds, and memory beyond its inputs.

    Medians of five rounds.

    Returns:
        A row for each method and pool; `slope` is how the logarithm of seconds (MiB) grows with that of the pool from the
        pool before to this one: 1 is in proportion.
    """
    rows = []
    for method in METHODS:
        for pool in POOLS:
            with processes(2) as elsewhere:
                ((seconds, beyond, _),) = elsewhere(queries.cost, [(method, pool, PICKS, LABELLED, None, None, ROUNDS)])
            before = rows[-1] if pool > POOLS[0] else None
            row = {"method": method, "pool": pool, "s": float(f"{seconds:.3g}"), "MiB": float(f"{beyond / 2**20:.3g}")}
            rows.append(row | {f"slope of {key}": slope(before, row, key) for key in ("s", "MiB")})
            on_progress(len(rows), len(METHODS) * len(POOLS))
    return rows


def slope(before: dict | None, row: dict, key: str) -> float | None:
    """Between two rows on logarithmic axes; None where there is nothing before, or nothing to see."""
    if before is None or not before[key] or not row[key]:
        return None
    return round(math.log(row[key] / before[key]) / math.log(row["pool"] / before["pool"]), 2)


def draw(rows: Sequence[dict], path: Path) -> None:
    """Seconds and MiB against the pool, a line for each method, on logarithmic axes with a line of slope 1 beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("s", "MiB"), strict=True):
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if row["method"] == method and row[key]]
            last = own[-1][f"slope of {key}"]
            axes.loglog([row["pool"] for row in own], [row[key] for row in own], marker="o", label=f"{method}, slope {last}")
        low = min(row[key] for row in rows if row[key])
        axes.loglog(POOLS, [low * pool / POOLS[0] for pool in POOLS], color="grey", linestyle=":", label="slope 1")
        axes.set(xlabel="samples in the pool", ylabel={"s": f"seconds for {PICKS} picks", "MiB": "MiB beyond the inputs"}[key])
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
