"""The first half of the page: what was run, learning curves, AULC as bars."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mmal_cli.analysis import figures, style
from mmal_cli.analysis.figures import Cells
from mmal_cli.analysis.style import Look
from mmal_cli.core import own_files
from mmal_cli.report import drawing
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import Cell, Row, heading, paragraph, section, table

METRIC = "balanced accuracy"


def ran(material: Material) -> str:
    """What was run, and how much of the grid is not there."""
    groups: dict[str, list[Row]] = {}
    regimes = sorted({r for v in material.variants for r in v.regimes}, key=figures.regime_order)
    whole = len(material.variants) * len(regimes) * len(material.methods) * len(material.seeds)
    for variant in material.variants:
        of = {(row.regime, row.qm): row for row in variant.rows}
        groups[f"{variant.title} (id {variant.dataset.id})"] = [
            [
                Cell(regime, figures.regime_order(regime)[0]),
                *_seeds([of.get((regime, qm)) for qm in material.methods]),
                _budget(variant, regime),
            ]
            for regime in regimes
        ]
    done = sum(len(variant.runs) for variant in material.variants)
    foot = [
        f"Runs: {done} of {whole} cells (every dataset and variant, regime, method and seed that occurs). Cells not run stay "
        f"empty: {whole - done}. Runs that are not finished: {material.unfinished}.",
        *own_files.foot(own_files.of(row for variant in material.variants for row in variant.rows)).splitlines(),
        *(f"Warning: {text}" for text in material.unlike),
    ]
    columns = ["regime", *material.methods, "labels"]
    return section("runs", "What was run", table("Seeds of each cell", columns, groups, foot))


def _seeds(rows: Sequence) -> list[str]:
    return ["" if row is None else " ".join(map(str, row.seeds)) for row in rows]


def _budget(variant: Variant, regime: str) -> str:
    """`500 to 5000, 10 cycles`."""
    row = next((row for row in variant.rows if row.regime == regime), None)
    return "" if row is None else f"{row.labels[0]} to {row.labels[-1]}, {row.cycles} cycles"


def curves(material: Material) -> str:
    """A figure for each dataset and variant: rows are regimes, columns subsets."""
    lead = paragraph(
        f"Test {METRIC} (regime campaign: of validation) against labels: mean over seeds, the band is one standard deviation "
        "on each side. Rows are regimes, "
        "columns the modalities given at test time; many columns go on below. Partly predictive subsets are shown times 1 / "
        "ceiling (the title says so)."
    )
    return section("curves", "Learning curves", lead, *(_curves(variant, material) for variant in material.variants))


def _curves(variant: Variant, material: Material) -> str:
    cells = figures.curves(variant.rows, variant.dataset)
    titles = figures.titles(variant.rows, variant.dataset)
    look = drawing.look(material.methods, list(titles))
    figure = Figure(figsize=figures.size(variant.rows), layout="constrained")
    limits = figures.limits(cells, variant.levels)
    figures.panels(figure, cells, variant.regimes, titles, look, METRIC, variant.levels, limits)
    name = f"Learning curves of {variant.title}"
    said = words(cells, titles, "at the last cycle")
    return heading(variant.title) + drawing.inline(figure, f"curves-{variant.key}", name, said, f"{name}.")


def words(cells: Cells, titles: Mapping[str, str], when: str) -> str:
    """The figure's numbers as sentences, panel by panel: `Low, b (weak): badge 0.41, bald 0.40.`"""
    said = []
    for (row, column), of in cells.items():
        values = ", ".join(f"{qm} {line.mean[-1]:.2f}" for qm, line in sorted(of.items()))
        said.append(f"{row.capitalize()}, {titles[column]}, {when}: {values}.")
    return " ".join(said)


def bars(material: Material) -> str:
    """AULC as bars, a figure for each dataset and variant."""
    lead = paragraph(
        "AULC: trapezoid over the measured cycles, range 0 to N − 1 for N cycles. For each method and subset there is one bar "
        "for each regime, from left to right low, mid, high, in ever fuller colour; lines are one standard deviation."
    )
    drawn = [_bars(variant, material) for variant in material.variants]
    return section("bars", "Areas under the learning curves", lead, *drawn)


def _bars(variant: Variant, material: Material) -> str:
    kinds = figures.subsets(variant.rows)
    width = figures.size(variant.rows)[0] + 0.8
    figure = Figure(figsize=(width, figures.bars_height(variant.rows, width) + 0.2), layout="constrained")
    figures.bars(figure, variant.rows, variant.dataset, drawing.look(material.methods, kinds))
    name = f"AULC of {variant.title}"
    said = _bar_words(variant, kinds)
    return heading(variant.title) + drawing.inline(figure, f"bars-{variant.key}", name, said, f"{name}.")


def _bar_words(variant: Variant, kinds: Sequence[str]) -> str:
    said = []
    for row in sorted(variant.rows, key=lambda row: row.qm):
        areas = {subset: row.subsets[subset].aulc.mean for subset in kinds if subset in row.subsets}
        values = ", ".join(f"{subset} {mean * variant.dataset.factor(subset):.2f}" for subset, mean in areas.items())
        said.append(f"{row.qm}, {row.regime}: {values}.")
    return " ".join(said)


def lines(
    cells: Cells, rows: Sequence[str], titles: Mapping[str, str], look: Look, y_label: str, key: str, name: str, caption: str
) -> str:
    """A figure of panels with axes of their own; nothing where there is nothing to draw."""
    if not cells:
        return ""
    below, methods = figures.bands(list(titles)), sorted({qm for of in cells.values() for qm in of})
    width = max(7.2, 0.6 + 2.4 * max(map(len, below)))
    height = 0.8 + 1.5 * len(rows) * len(below) + 0.2 * style.rows(methods, style.columns(methods, width))
    figure = Figure(figsize=(width, height), layout="constrained")
    figures.panels(figure, cells, rows, titles, look, y_label, {})
    return heading(name) + drawing.inline(figure, key, name, words(cells, titles, "at the last cycle"), caption)
