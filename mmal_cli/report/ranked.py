"""Ranks of methods and what can be said about their differences."""

from collections.abc import Mapping, Sequence

from mmal_cli.core import place
from mmal_cli.core.rank_stats import Penalty, Stats
from mmal_cli.core.tables import RankBlock, Spread
from mmal_cli.report import drawing, smallest
from mmal_cli.report.diagram import diagram
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import EMPTY, Cell, Row, details, number, paragraph, section, spread, table


def ranked(material: Material) -> str:
    """Ranks per block, their sums, and the paper's sums where all of it was run with the paper's settings."""
    found = material.ranking
    notes = "".join(paragraph(f"Note: {text}") for text in found.notes)
    if not found.blocks:
        return section("ranks", "Ranks", notes)
    methods = list(found.blocks[0].ranks)
    groups: dict[str, list[Row]] = {}
    for block in found.blocks:
        shown = smallest.shown(block.smallest, _cycles(block, material) - 1)
        cells = [number(len(block.seeds), "d"), *_numbers(block.ranks, methods), shown]
        groups.setdefault(block.regime, []).append([_name(block, material), *cells])
    for regime, sums in found.sums.items():
        groups[regime].append([Cell("sum", mark="total"), EMPTY, *_numbers(sums, methods), EMPTY])
        if printed := _printed(material).get(regime):
            groups[regime].append([Cell("sum, published", mark="total"), EMPTY, *_numbers(printed, methods), EMPTY])
    foot = ["1 is the highest mean AULC of the weak modality; ties share ranks; lower sums are better.", smallest.FOOT]
    columns = ["dataset, weak modality", "seeds", *methods, smallest.NAME]
    return section("ranks", "Ranks", notes, table("Ranks by the AULC of the weak modality", columns, groups, foot))


def _name(block: RankBlock, material: Material) -> str:
    """`unique, b ×10`: differences and scores are shown times that."""
    factor = _variant(block, material).dataset.factor(block.weak)
    scaled = f" ×{factor:.3g}" if factor != 1 else ""
    return f"{block.name}, {block.weak}{scaled}{'' if block.moddrop else ', no moddrop'}"


def _cycles(block: RankBlock, material: Material) -> int:
    return next(row.cycles for row in _variant(block, material).rows if row.regime == block.regime)


def _variant(block: RankBlock, material: Material) -> Variant:
    return next(of for of in material.variants if of.at.variant == block.variant)


def _numbers(values: Mapping[str, float], methods: Sequence[str]) -> list[Cell]:
    return [number(values.get(qm), "g", qm in values and values[qm] == min(values.values())) for qm in methods]


def _printed(material: Material) -> dict[str, dict[str, float]]:
    """Regime -> the paper's sums, if the same blocks are ranked and every run has the paper's settings."""
    theirs, variants = material.published.rank_sums, {of.at.variant: of for of in material.variants}
    found = {}
    for regime in material.ranking.sums:
        blocks = [block for block in material.ranking.blocks if block.regime == regime]
        sums = getattr(theirs, regime, {})
        same = {(*block.variant, block.weak) for block in blocks} == {
            (*place.Variant(dataset=name, moddrop=theirs.moddrop[name]).variant, weak)
            for name, weak in theirs.weak_modality.items()
        }
        if same and all(
            block.ranks.keys() == sums.keys() and all(variants[block.variant].beside[regime, qm].same for qm in block.ranks)
            for block in blocks
        ):
            found[regime] = sums
    return found


def statistics(material: Material) -> str:
    """Average ranks with intervals, tests and their diagram, differences to a reference, labels saved, penalty matrix."""
    found, blocks = material.ranking.stats, material.ranking.blocks
    if found is None:
        return section("statistics", "Statistics", paragraph("There is no ranking to test."))
    line, drawn = smallest.foot(blocks), ""
    if found.critical_difference:
        ranks = {qm: of.rank for qm, of in found.average.items()}
        drawn = diagram(ranks, found.groups, found.critical_difference, drawing.look(material.methods, []))
    return section(
        "statistics",
        "Statistics",
        paragraph(_tests(len(blocks), found)),
        drawn,
        _average(found, line),
        _paired(found, [_name(block, material) for block in blocks], line),
        _saved(found, line),
        _penalties(found, line),
    )


def _tests(blocks: int, found: Stats) -> str:
    if found.critical_difference is None:
        return "Friedman's and Nemenyi's tests take two blocks (a dataset in a regime) or more; there is one."
    said = "Friedman's test takes three methods. "
    if found.friedman:
        said = f"Friedman over {blocks} blocks: chi-squared {found.friedman.chi_squared:.2f}, p = {found.friedman.p:.2g}. "
    groups = "; ".join(", ".join(group) for group in found.groups)
    return (
        f"{said}Nemenyi: average ranks that differ by less than {found.critical_difference:.2f} cannot be told apart (.05)"
        f"{f': {groups}' if groups else ''}."
    )


def _paired(found: Stats, names: Sequence[str], line: str) -> str:
    """A row for each block: each method minus the reference on the same seeds."""
    groups: dict[str, list[Row]] = {}
    for at, name in enumerate(names):
        pairs = [of.blocks[at] for of in found.differences.values()]
        cells = [spread(Spread(mean=pair.mean, sd=pair.sd), form="+z.3f") for pair in pairs]
        groups.setdefault(pairs[0].regime, []).append([name, number(pairs[0].pairs, "d"), *cells])
    foot = "Mean ± standard deviation over seeds, in the units of the AULC tables."
    columns = ["dataset, weak modality", "pairs", *found.differences]
    return table(f"Differences of AULC to {found.against} on the same seeds", columns, groups, [foot, line])


def _average(found: Stats, line: str) -> str:
    rows: list[Row] = []
    for qm, of in sorted(found.average.items(), key=lambda item: (item[1].rank, item[0])):
        interval = EMPTY if of.low is None else Cell(f"{of.low:.2f} to {of.high:.2f}", of.low)
        to = found.differences.get(qm)
        tested = [number(to.mean, "+z.3f"), number(to.p, ".2g"), number(to.holm, ".2g", to.holm < 0.05)] if to else [EMPTY] * 3
        rows.append([qm, number(of.rank), interval, number(of.best), *tested])
    columns = ["method", "average rank", "95 % interval", "P(best)", f"AULC minus {found.against}", "p", "p (Holm)"]
    resampled = "No interval and no P(best): there are too few pairs of a seed and a block to resample."
    if found.resampled:
        resampled = f"Intervals: 10,000 bootstrap samples of {' and '.join(found.resampled)}."
    foot = f"{resampled} p: sign-flip test of {found.pairs} pairs, at least {found.smallest_p:.2g}; bold: below .05 after Holm."
    return table("Average ranks and differences", columns, {"": rows}, [foot, line])


def _saved(found: Stats, line: str) -> str:
    methods = list(found.differences)
    groups: dict[str, list[Row]] = {}
    for block in found.saved:
        cells = []
        for qm in methods:
            of = block.methods[qm]
            if of.needed is None:
                cells.append(Cell(f"> {block.last}", -block.last))  # fewer than any that were saved
            else:
                saved = block.labels - of.needed
                cells.append(Cell(f"{round(saved):+d} ({of.ratio:.2f})".replace("-", "−"), saved))
        groups.setdefault(block.regime, []).append([block.name, number(block.labels, ".0f"), *cells])
    if not groups:
        return ""
    foot = f"At the highest accuracy of {found.against}: its labels minus those needed (and their share); >: never reached."
    return table(f"Labels saved against {found.against}", ["dataset", found.against, *methods], groups, [foot, line])


def _penalties(found: Stats, line: str) -> str:
    """Of all blocks and, where there are several paradigms, of each."""
    if not found.penalty:
        return ""
    of = {"all paradigms": found.penalty, **found.penalties} if found.penalties else {"": found.penalty}
    return details("Pairwise penalty matrix", "".join(_penalty(matrix, name, line) for name, matrix in of.items()))


def _penalty(found: Penalty, name: str, line: str) -> str:
    methods, lowest = list(found.beats), min(found.loses.values())
    rows = [[qm, *(EMPTY if qm == other else number(found.beats[qm][other]) for other in methods)] for qm in methods]
    rows.append([Cell("loses", mark="total"), *(number(of, best=of == lowest) for of in found.loses.values())])
    foot = "The row beats the column: share of cycles with p < .05 (paired t-test over seeds), added up over blocks "
    foot += f"({found.blocks} with two seeds or more); loses: the column's mean, lower is better."
    title = f"How often one method beats another{name and f', {name}'}"
    return table(title, ["method", *methods], {"": rows}, [foot, line])
