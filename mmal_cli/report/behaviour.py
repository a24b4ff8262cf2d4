"""Diagnostics: worth of the modalities, gap, synergy, what queries asked for, how alike they are."""

from collections.abc import Sequence
from statistics import fmean

from mmal_cli.analysis import figures
from mmal_cli.analysis.aulc import spread as over_seeds
from mmal_cli.report import drawing
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import EMPTY, Cell, Row, details, heading, number, paragraph, section, spread, table
from mmal_cli.report.sections import lines

NAMES = {"shapley": "φ of {}", "gap": "gap", "synergy": "synergy", "entropy": "class entropy, nats"}
NAMES |= {"entropy_share": "of log C", "share_ratio": "asked / pool, {}"}
DRAWN = ("shapley", "gap", "synergy")
Measure = tuple[str, str]  # measure and what it is of, as in `diagnostics.Reading`


def behaviour(material: Material) -> str:
    """A figure and tables for each dataset and variant."""
    lead = paragraph(
        "From balanced accuracy of all subsets of modalities, on test (regime campaign: on validation). φ: exact Shapley value "
        "of a modality; no modality at all counts as chance, 1 / C. Gap: the strongest single modality minus the weakest. "
        "Synergy: all modalities minus the best of fewer. Values are not scaled by ceilings."
    )
    parts = [_one(variant, material) for variant in material.variants]
    return section("diagnostics", "Diagnostics", lead, *parts)


def _one(variant: Variant, material: Material) -> str:
    every = dict.fromkeys((r.measure, r.of) for readings in variant.readings.values() for r in readings)
    measures = [measure for measure in every if measure[0] in NAMES]  # overlaps have a table of their own
    measures.sort(key=lambda m: list(NAMES).index(m[0]))  # stable: modalities and patterns keep their order
    parts = _figure(variant, [m for m in measures if m[0] in DRAWN], material) + _table(variant, measures)
    return (parts or heading(variant.title) + paragraph("The records have too few subsets.")) + _overlaps(variant)


def _name(measure: Measure) -> str:
    return NAMES[measure[0]].format(measure[1])


def _figure(variant: Variant, measures: Sequence[Measure], material: Material) -> str:
    cells: dict[tuple[str, str], dict[str, figures.Line]] = {}
    for row in variant.rows:
        for measure in measures:
            values = [_values(variant, row.regime, row.qm, seed, measure) for seed in row.seeds]
            if all(len(of) == len(row.labels) for of in values):
                cells.setdefault((row.regime, _name(measure)), {})[row.qm] = figures.over_seeds(row.labels, values)
    titles = {name: name for name in map(_name, measures)}
    look = drawing.look(material.methods, [])
    name = f"Diagnostics of {variant.title}"
    caption = f"{name}: mean over seeds, bands of one standard deviation."
    return lines(cells, variant.regimes, titles, look, "balanced accuracy", f"diagnostics-{variant.key}", name, caption)


def _values(variant: Variant, regime: str, qm: str, seed: int, measure: Measure) -> list[float]:
    return [reading.value for reading in variant.readings[regime, qm, seed] if (reading.measure, reading.of) == measure]


def _table(variant: Variant, measures: Sequence[Measure]) -> str:
    """Means over cycles, then mean ± sd over seeds."""
    groups: dict[str, list[Row]] = {regime: [] for regime in variant.regimes}
    for row in variant.rows:
        groups[row.regime].append([row.qm, *(_mean(variant, row.regime, row.qm, row.seeds, measure) for measure in measures)])
    if not measures:
        return ""
    foot = ["Means over cycles, then mean ± standard deviation over seeds. The file diagnostics.csv has every cycle and run."]
    if any(measure == "share_ratio" for measure, _ in measures):
        foot.append(
            "Asked / pool: the share of samples with just these modalities in what was asked, divided by their share of the "
            "pool; above 1 they were preferred. Class entropy: of the labels that were asked; log C is all classes alike."
        )
    elif not any(measure == "entropy" for measure, _ in measures):
        foot.append("What the queries asked for is not in these records.")
    return table(f"Diagnostics of {variant.title}", ["method", *map(_name, measures)], groups, foot)


def _mean(variant: Variant, regime: str, qm: str, seeds: Sequence[int], measure: Measure) -> Cell:
    means = [fmean(values) for seed in seeds if (values := _values(variant, regime, qm, seed, measure))]
    return spread(over_seeds(means), form="z.3f") if means else EMPTY


def _overlaps(variant: Variant) -> str:
    groups: dict[str, list[Row]] = {}
    for regime, pairs in variant.overlaps.items():
        rows = [
            [f"{pair.one}, {pair.other}", number(len(pair.queries), "d"), *map(number, (pair.first, pair.later, pair.end))]
            for pair in pairs
        ]
        if rows:
            groups[regime] = rows
    if not groups:
        return ""
    foot = (
        "First query, later queries: the share of samples that both methods asked for in the same cycle of the same seed. Only "
        "the first query is made with the same model (methods with the same dropout) from the same pool. At the end: labelled "
        "by both divided by labelled by one of them (Jaccard), start set included. The file diagnostics.csv has every query."
    )
    columns = ["methods", "seeds", "first query", "later queries", "at the end"]
    name = f"Overlap of queries, {variant.title}"
    return details(name, table(name, columns, groups, [foot]))
