"""The page: one HTML file that needs nothing else, and the files beside it."""

import csv
import io
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from mmal_cli.analysis import figures
from mmal_cli.report import drawing
from mmal_cli.report.areas import areas
from mmal_cli.report.behaviour import behaviour
from mmal_cli.report.costs import costs, made
from mmal_cli.report.gather import Material
from mmal_cli.report.paradigms import paradigms
from mmal_cli.report.ranked import ranked, statistics
from mmal_cli.report.sections import bars, curves, ran

MARK = '<meta name="generator" content="mmal report">'  # known by it: nothing else is written over
NAV = {"runs": "Runs", "curves": "Curves", "bars": "Bars", "paradigms": "Paradigms", "aulc": "AULC", "ranks": "Ranks"}
NAV |= {"statistics": "Statistics", "diagnostics": "Diagnostics", "costs": "Costs", "made": "How it was made"}
HERE = Path(__file__).parent


def page(material: Material, info: Mapping[str, Any]) -> str:
    """The whole page; `info` is how it was made, without times. The same records give the same text."""
    with drawing.styled():
        parts = [
            ran(material),
            curves(material),
            bars(material),
            paradigms(material),
            areas(material),
            ranked(material),
            statistics(material),
            behaviour(material),
            costs(material),
            made(material, info),
        ]
    kinds = max((figures.subsets(variant.rows) for variant in material.variants), key=len)
    style = drawing.variables(material.methods, kinds) + (HERE / "style.css").read_text(encoding="utf-8")
    named = {anchor: name for anchor, name in NAV.items() if any(part.startswith(f'<section id="{anchor}"') for part in parts)}
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in named.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">\n"
        f'{MARK}\n<link rel="icon" href="data:,">\n<title>mmal report</title>\n<style>\n{style}</style>\n</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the content</a>\n<header><h1>Multimodal active learning: report</h1>\n'
        f"<p>{_lead(material)}</p>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n<main id="main" tabindex="-1">\n{"".join(parts)}</main>\n'
        f"<script>\n{(HERE / 'sort.js').read_text(encoding='utf-8')}</script>\n</body>\n</html>\n"
    )


def _lead(material: Material) -> str:
    runs = sum(len(variant.runs) for variant in material.variants)
    names = dict.fromkeys(variant.at.dataset for variant in material.variants)
    seeds = " ".join(map(str, material.seeds))
    return escape(
        f"Finished runs: {runs}. Datasets: {', '.join(names)}. Methods: {', '.join(material.methods)}. Seeds: {seeds}."
    )


def pictures(material: Material, forms: list[str]) -> Iterator[tuple[str, bytes]]:
    """File name -> bytes: a figure for each dataset and variant, curves above bars, as in the paper's Figures 2 to 11."""
    with drawing.styled():
        for variant in material.variants:
            name = f"Results for {variant.title}"
            whole = figures.paper(variant.rows, variant.dataset, variant.levels, "balanced accuracy", name)
            for form in forms:
                yield f"{variant.key}.{form}", drawing.data(whole, form)


def readings(material: Material) -> str:
    """The diagnostics of every cycle and run as CSV, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["dataset", "paradigm", "moddrop", "regime", "qm", "seed", "cycle", "labels", "measure", "of", "value"]
    writer.writerow([*columns, "qm_sha256"])
    for variant in material.variants:
        own = {(row.regime, row.qm): row.qm_sha256 or "" for row in variant.rows}
        for key, found in sorted(variant.readings.items()):
            place = [variant.at.dataset, variant.at.paradigm, "on" if variant.at.moddrop else "off", *key]
            writer.writerows([*place, *reading[:-1], repr(reading.value), own[key[:2]]] for reading in found)
    return text.getvalue()
