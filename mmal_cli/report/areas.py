"""AULC tables beside the published ones."""

from collections.abc import Sequence

from mmal_cli.analysis import figures
from mmal_cli.core.tables import AulcRow, Spread
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import EMPTY, Cell, Row, number, paragraph, section, spread, table

DECIMALS = 10  # float noise makes no method the best
NAMED = 6  # settings that a foot names one by one


def areas(material: Material) -> str:
    """A table for each dataset and variant."""
    lead = paragraph(
        "Mean ± standard deviation over seeds; the best mean of a regime is bold. Beside it stand the paper's values (arXiv "
        "2603.29677, Tables 7 to 16) and the difference, ours minus theirs, in units of the published standard deviation, but "
        "only for runs with the paper's settings. Whether a dataset has the paper's size is not in the records."
    )
    return section("aulc", "AULC beside the published values", lead, *(_table(variant) for variant in material.variants))


def _table(variant: Variant) -> str:
    subsets = figures.subsets(variant.rows)
    compared = {key for key, wrong in variant.differs.items() if not wrong and key in variant.printed}
    columns = ["method", "seeds"]
    for subset in subsets:
        name = figures.title(subset, variant.dataset)
        columns += [name, f"{subset} published", f"{subset} difference"] if compared else [name]
    groups = {
        regime: [_row(row, subsets, variant, bool(compared)) for row in variant.rows if row.regime == regime]
        for regime in variant.regimes
    }
    return table(f"AULC of {variant.title}", columns, groups, [_foot(variant, compared)])


def _row(row: AulcRow, subsets: Sequence[str], variant: Variant, compared: bool) -> Row:
    cells: list[Cell | str] = [row.qm, number(len(row.seeds), "d")]
    printed = variant.printed.get((row.regime, row.qm)) if not variant.differs[row.regime, row.qm] else None
    for subset in subsets:
        factor = variant.dataset.factor(subset)
        ours = row.subsets[subset].aulc if subset in row.subsets else None
        cells.append(spread(ours, factor, ours is not None and _best(ours, row.regime, subset, variant)))
        if compared:
            theirs = printed.subsets[subset].aulc if printed and subset in printed.subsets else None
            cells += [spread(theirs), difference(ours, theirs, factor)]
    return cells


def _best(ours: Spread, regime: str, subset: str, variant: Variant) -> bool:
    means = [row.subsets[subset].aulc.mean for row in variant.rows if row.regime == regime and subset in row.subsets]
    return len(means) > 1 and round(ours.mean, DECIMALS) == round(max(means), DECIMALS)


def difference(ours: Spread | None, theirs: Spread | None, factor: float) -> Cell:
    """`+0.8 sd`: ours minus the published mean, in units of the published sd."""
    if ours is None or theirs is None or not theirs.sd:
        return EMPTY
    value = (ours.mean * factor - theirs.mean) / theirs.sd
    return Cell(f"{value:+.1f} sd".replace("-", "−"), value)


def _foot(variant: Variant, compared: set[tuple[str, str]]) -> str:
    """Why runs are not compared, if there are such; for what the paper has not there is nothing to say."""
    apart = {key: wrong for key, wrong in variant.differs.items() if wrong and key in variant.printed}
    if not variant.printed:
        return "The paper has no such table."
    if not apart:
        return "All of these runs have the paper's settings." if compared else "The paper has none of these methods."
    keys = list(dict.fromkeys(key for wrong in apart.values() for key in wrong))
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    which = "these runs" if not compared else ", ".join(f"{regime} {qm}" for regime, qm in sorted(apart))
    return f"Not the paper's settings, so no difference is shown: {which} (other {', '.join(keys[:NAMED])}{more})."
