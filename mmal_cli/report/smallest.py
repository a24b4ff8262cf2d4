"""The smallest difference of two methods that the seeds can show, as tables have it."""

from collections.abc import Sequence

from mmal_cli.analysis.power import paired, smallest_difference
from mmal_cli.core.tables import AulcRow, RankBlock
from mmal_cli.report.markup import Cell, number

NAME = "smallest difference"
FOOT = (
    "Smallest difference: the least by which the means of two methods must differ for this number of seeds to show it (paired "
    "two-sided t-test at .05, power .8). One seed shows none."
)


def row(rows: Sequence[AulcRow], subsets: Sequence[str], factors: Sequence[float]) -> list[Cell]:
    """The number of seeds that all methods of a regime have, then a cell for each subset."""
    seeds = set.intersection(*(set(of.seeds) for of in rows))
    cells = [number(len(seeds), "d")]
    for subset, factor in zip(subsets, factors, strict=True):
        areas = {of.qm: (of.seeds, of.subsets[subset].aulc.values) for of in rows if subset in of.subsets}
        found = (
            smallest_difference(paired({qm: dict(zip(*pair, strict=True)) for qm, pair in areas.items()})) if areas else None
        )
        cells.append(shown(None if found is None else found * factor, rows[0].cycles - 1))
    return cells


def shown(value: float | None, top: float) -> Cell:
    """A value; no number where it is more than the whole range."""
    return number(value) if value is None or value <= top else Cell("> range", value)


def foot(blocks: Sequence[RankBlock]) -> str:
    """A sentence for tables over blocks."""
    known = sorted(block.smallest for block in blocks if block.smallest is not None)
    if not known:
        return "One seed shows no difference between methods, however large: it takes two."
    values = " to ".join(dict.fromkeys(f"{value:.2g}" for value in (known[0], known[-1])))
    return (
        f"Smallest difference of mean AULC that the seeds of a block can show: {values} (paired two-sided t-test at .05, power "
        ".8; block by block under Ranks)."
    )
