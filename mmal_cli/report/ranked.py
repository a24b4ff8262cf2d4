"""Ranks of methods and what can be said about their differences."""

from collections.abc import Mapping, Sequence

from mmal_cli.core.rank_stats import Stats
from mmal_cli.report.gather import Material
from mmal_cli.report.markup import EMPTY, Cell, Row, details, number, paragraph, section, table
from mmal_cli.report.ranking import Ranking


def ranked(material: Material) -> str:
    """Ranks per block, their sums, and the paper's sums where all of it was run with the paper's settings."""
    found = material.ranking
    notes = "".join(paragraph(f"Note: {text}.") for text in found.notes)
    if not found.blocks:
        return section("ranks", "Ranks", notes)
    methods = list(found.blocks[0].ranks)
    groups: dict[str, list[Row]] = {}
    for block in found.blocks:
        name = f"{block.dataset}, {block.weak}{'' if block.moddrop else ', no moddrop'}"
        groups.setdefault(block.regime, []).append([name, number(len(block.seeds), "d"), *_numbers(block.ranks, methods)])
    for regime, sums in found.sums.items():
        groups[regime].append([Cell("sum", mark="total"), EMPTY, *_numbers(sums, methods)])
        if printed := _printed(material).get(regime):
            groups[regime].append([Cell("sum, published", mark="total"), EMPTY, *_numbers(printed, methods)])
    foot = ["1 is the highest mean AULC of the weak modality; ties share ranks; lower sums are better."]
    whole = table("Ranks by the AULC of the weak modality", ["dataset, weak modality", "seeds", *methods], groups, foot)
    return section("ranks", "Ranks", notes, whole)


def _numbers(values: Mapping[str, float], methods: Sequence[str]) -> list[Cell]:
    return [number(values.get(qm), "g", qm in values and values[qm] == min(values.values())) for qm in methods]


def _printed(material: Material) -> dict[str, dict[str, float]]:
    """Regime -> the paper's sums, if the same blocks are ranked and every run has the paper's settings."""
    theirs, variants = material.published.rank_sums, {(v.name, v.moddrop): v for v in material.variants}
    found = {}
    for regime in material.ranking.sums:
        blocks = [block for block in material.ranking.blocks if block.regime == regime]
        sums = getattr(theirs, regime, {})
        same = {(block.dataset, block.weak, block.moddrop) for block in blocks} == {
            (name, weak, theirs.moddrop[name]) for name, weak in theirs.weak_modality.items()
        }
        if same and all(
            block.ranks.keys() == sums.keys()
            and not any(variants[block.dataset, block.moddrop].differs[regime, qm] for qm in block.ranks)
            for block in blocks
        ):
            found[regime] = sums
    return found


def statistics(material: Material) -> str:
    """Average ranks with intervals, tests, differences to a reference, labels saved, penalty matrix."""
    found = material.ranking.stats
    if found is None:
        return section("statistics", "Statistics", paragraph("There is no ranking to test."))
    return section(
        "statistics",
        "Statistics",
        paragraph(_tests(material.ranking, found)),
        _average(found),
        _saved(found),
        details("Pairwise penalty matrix", _penalty(found)) if found.penalty else "",
    )


def _tests(ranking: Ranking, found: Stats) -> str:
    blocks = f"{len(ranking.blocks)} {'block' if len(ranking.blocks) == 1 else 'blocks'}"
    said = "Friedman's test takes three methods. "
    if found.friedman:
        said = f"Friedman over {blocks}: chi-squared {found.friedman.chi_squared:.2f}, p = {found.friedman.p:.2g}. "
    groups = "; ".join(", ".join(group) for group in found.groups)
    return (
        f"{said}Nemenyi: average ranks that differ by less than {found.critical_difference:.2f} cannot be told apart (.05)"
        f"{f': {groups}' if groups else ''}."
    )


def _average(found: Stats) -> str:
    rows: list[Row] = []
    for qm, of in sorted(found.average.items(), key=lambda item: (item[1].rank, item[0])):
        interval = EMPTY if of.low is None else Cell(f"{of.low:.2f} to {of.high:.2f}", of.low)
        to = found.differences.get(qm)
        tested = [number(to.mean, "+.3f"), number(to.p, ".2g"), number(to.holm, ".2g", to.holm < 0.05)] if to else [EMPTY] * 3
        rows.append([qm, number(of.rank), interval, number(of.best), *tested])
    columns = ["method", "average rank", "95 % interval", "P(best)", f"AULC minus {found.against}", "p", "p (Holm)"]
    resampled = f"Intervals: 10,000 bootstrap samples of {' and '.join(found.resampled)}. " if found.resampled else ""
    foot = f"{resampled}p: sign-flip test of {found.pairs} pairs, at least {found.smallest_p:.2g}; bold: below .05 after Holm."
    return table("Average ranks and differences", columns, {"": rows}, [foot])


def _saved(found: Stats) -> str:
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
                cells.append(Cell(f"{saved:+.0f} ({of.ratio:.2f})".replace("-", "−"), saved))
        groups.setdefault(block.regime, []).append([block.dataset, number(block.labels, ".0f"), *cells])
    if not groups:
        return ""
    foot = f"At the highest accuracy of {found.against}: its labels minus those needed (and their share); >: never reached."
    return table(f"Labels saved against {found.against}", ["dataset", found.against, *methods], groups, [foot])


def _penalty(found: Stats) -> str:
    methods = list(found.penalty.beats)
    rows = [[qm, *(EMPTY if qm == o else number(found.penalty.beats[qm][o]) for o in methods)] for qm in methods]
    rows.append([Cell("loses", mark="total"), *(number(found.penalty.loses[qm]) for qm in methods)])
    foot = "The row beats the column: share of cycles with p < .05 (paired t-test over seeds), added up over blocks "
    foot += f"({found.penalty.blocks} with two seeds or more)."
    return table("How often one method beats another", ["method", *methods], {"": rows}, [foot])
