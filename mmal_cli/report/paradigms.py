"""Training paradigms side by side: learning curves and AUBC, as "Navigating the Pitfalls" shows them."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mmal_cli.analysis import figures
from mmal_cli.analysis.figures import Cells
from mmal_cli.core.place import regime_order
from mmal_cli.core.tables import AulcRow, Spread
from mmal_cli.report import drawing
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import heading, paragraph, section, spread, table
from mmal_cli.report.sections import METRIC, words

DECIMALS = 10  # float noise makes no method the best
Key = tuple[str, str, str]  # regime, method, paradigm


def paradigms(material: Material) -> str:
    """A figure and a table for each dataset that has one modality or was trained in several ways; nothing without one."""
    ways: dict[tuple[str, bool], list[Variant]] = {}
    for variant in material.variants:
        ways.setdefault((variant.at.dataset, variant.at.moddrop), []).append(variant)
    shown = [some for some in ways.values() if len(some) > 1 or len(some[0].modalities) == 1]
    if not shown:
        return ""
    lead = paragraph(
        f"Test {METRIC} with all modalities. st: trained from labels alone; self-sl: from encoders that learnt without labels; "
        "semi-sl: from labels and the pool. AUBC: AULC / (N − 1), the mean height of a learning curve, 0 to 1; of two "
        "paradigms it can be compared where they ask at the same numbers of labels."
    )
    return section("paradigms", "Training paradigms", lead, *(_dataset(some, material) for some in shown))


def _dataset(variants: Sequence[Variant], material: Material) -> str:
    title = variants[0].at.model_copy(update={"paradigm": "st"}).title
    drawn = _figure(variants, title, material) if len(variants) > 1 else ""
    return heading(title) + drawn + _table(variants, title)


def _whole(row: AulcRow) -> str:
    """The subset of all modalities."""
    return max(row.subsets, key=lambda subset: subset.count("+"))


def _figure(variants: Sequence[Variant], title: str, material: Material) -> str:
    cells: dict[tuple[str, str], dict[str, figures.Line]] = {}
    for variant in variants:
        for row in variant.rows:
            line = figures.over_seeds(row.labels, row.subsets[_whole(row)].curves)
            cells.setdefault((row.regime, variant.at.paradigm), {})[row.qm] = line
    columns = {variant.at.paradigm: variant.at.paradigm for variant in variants}
    rows = sorted({regime for regime, _ in cells}, key=regime_order)
    name, key = f"Learning curves of {title}, by paradigm", f"paradigms-{variants[0].key}"
    figure, said = _panels(cells, rows, columns, variants, material), words(cells, columns, "at the last cycle")
    return drawing.inline(figure, key, name, said, f"{name}.")


def _panels(
    cells: Cells, rows: Sequence[str], columns: Mapping[str, str], variants: Sequence[Variant], material: Material
) -> Figure:
    """One scale for all, so that paradigms can be compared by eye."""
    every = [row for variant in variants for row in variant.rows]
    figure = Figure(figsize=(max(7.2, 0.6 + 2.5 * len(columns)), figures.size(every)[1]), layout="constrained")
    chance = {column: variants[0].chance for column in columns if variants[0].chance is not None}
    look = drawing.look(material.methods, list(columns))
    figures.panels(figure, cells, rows, columns, look, METRIC, chance, figures.limits(cells, chance))
    return figure


def _table(variants: Sequence[Variant], title: str) -> str:
    rows = {(row.regime, row.qm, variant.at.paradigm): row for variant in variants for row in variant.rows}
    areas = {key: row.subsets[_whole(row)].aubc for key, row in rows.items()}
    columns, groups = [variant.at.paradigm for variant in variants], {}
    for regime, qm in sorted({key[:2] for key in rows}, key=lambda key: (regime_order(key[0]), key[1])):
        cells = [spread(areas.get(key), 1.0, _best(key, areas), "z.3f") for key in ((regime, qm, way) for way in columns)]
        groups.setdefault(regime, []).append([qm, *cells])
    foot = "Mean ± standard deviation over seeds; the best mean of a regime and paradigm is bold."
    return table(f"AUBC of {title}", ["method", *columns], groups, [foot])


def _best(key: Key, areas: Mapping[Key, Spread | None]) -> bool:
    regime, _, way = key
    means = {other: of.mean for other, of in areas.items() if (other[0], other[2]) == (regime, way) and of}
    return len(means) > 1 and key in means and round(means[key], DECIMALS) == round(max(means.values()), DECIMALS)
