"""AULC tables beside the published ones."""

from collections.abc import Iterable, Sequence

from mmal_cli.analysis import figures
from mmal_cli.core.tables import AulcRow, Spread
from mmal_cli.report import smallest
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import EMPTY, Cell, Row, number, paragraph, section, spread, table

DECIMALS = 10  # float noise makes no method the best
ABREAST = 7  # subsets in a table: all of three modalities
NAMED = 6  # settings that a foot names one by one


def areas(material: Material) -> str:
    """A table for each dataset and variant."""
    lead = paragraph(
        "Mean ± standard deviation over seeds; the best mean of a regime is bold. Beside it stand the paper's values (arXiv "
        "2603.29677, Tables 7 to 16) and the difference, ours minus theirs, in units of the published standard deviation (sd), "
        "but only for runs whose records tell the paper's settings; what the paper leaves open is as mmal's protocols have it."
    )
    return section("aulc", "AULC beside the published values", lead, *(_table(variant) for variant in material.variants))


def _table(variant: Variant) -> str:
    """One table below the other where subsets are many, with the foot of all below the last."""
    compared = {key for key, found in variant.beside.items() if found.same and key in variant.printed}
    feet = [_scaled(variant), _foot(variant, compared), smallest.FOOT]
    *above, last = figures.bands(figures.subsets(variant.rows), ABREAST)
    if not above:
        return _part(last, variant, compared, "", feet)
    parts = [_part(subsets, variant, compared, f": {subsets[0]} to {subsets[-1]}") for subsets in above]
    return "".join(parts) + _part(last, variant, compared, f": {last[0]} to {last[-1]}", feet)


def _part(
    subsets: Sequence[str], variant: Variant, compared: set[tuple[str, str]], which: str, feet: Sequence[str] = ()
) -> str:
    columns = ["method", "seeds"]
    for subset in subsets:
        name = figures.title(subset, variant.dataset)
        columns += [name, f"{subset} published", f"{subset} difference"] if compared else [name]
    groups = {}
    for regime in variant.regimes:
        rows = [row for row in variant.rows if row.regime == regime]
        least = smallest.row(rows, subsets, [variant.dataset.factor(subset) for subset in subsets])
        apart = [EMPTY, EMPTY] if compared else []
        last = [Cell(smallest.NAME, mark="total"), least[0], *(cell for one in least[1:] for cell in (one, *apart))]
        groups[regime] = [*(_row(row, subsets, variant, bool(compared)) for row in rows), last]
    return table(f"AULC of {variant.title}{which}", columns, groups, feet)


def _row(row: AulcRow, subsets: Sequence[str], variant: Variant, compared: bool) -> Row:
    cells: list[Cell | str] = [row.qm, number(len(row.seeds), "d")]
    printed = variant.printed.get((row.regime, row.qm)) if variant.beside[row.regime, row.qm].same else None
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
    return Cell(f"{value:+z.1f} sd".replace("-", "−"), value)


def _foot(variant: Variant, compared: set[tuple[str, str]]) -> str:
    """What is known of the settings, and why runs are not compared; for what the paper has not there is nothing to say."""
    apart = {key: found for key, found in variant.beside.items() if not found.same and key in variant.printed}
    if not variant.printed:
        return "The paper has no such table."
    if not apart and not compared:
        return "The paper has none of these methods."
    sized = all(variant.beside[key].size for key in compared)
    size = " and size of the train split" if sized else ", as far as records tell: the size of the dataset is not compared"
    if not apart:
        return f"All of these runs have the paper's settings{size}."
    which = ", ".join(f"{regime} {qm}" for regime, qm in sorted(apart)) if compared else "these runs"
    other = _named(key for found in apart.values() for key in found.other)
    unknown = _named(key for found in apart.values() for key in found.unknown)
    why = "; ".join(filter(None, [other and f"other {other}", unknown and f"not recorded: {unknown}"]))
    return f"Not known to have the paper's settings, so no difference is shown: {which} ({why})."


def _named(keys: Iterable[str]) -> str:
    names = list(dict.fromkeys(keys))
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _scaled(variant: Variant) -> str:
    """Which values are shown times something, and why."""
    subsets = figures.subsets(variant.rows)
    scaled = [figures.title(subset, variant.dataset) for subset in subsets if variant.dataset.factor(subset) != 1]
    return f"Partly predictive, so shown times 1 / ceiling, as the paper does: {', '.join(scaled)}." if scaled else ""
