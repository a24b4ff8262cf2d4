"""Figures of runs: learning curves, AULC bars, and both as in Figures 2 to 11 of the paper; matplotlib, no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmal_cli.core.tables import AulcRow, TableDataset, regime_order

# Light and dark. Okabe and Ito's palette (2008), which colour-blind readers tell apart, darkened where it is pale on white;
# random is grey. Every method has a marker of its own too.
METHODS = {
    "badge": ("#0072b2", "#56b4e9"),
    "bald": ("#d55e00", "#ff8f4d"),
    "bmmal": ("#008f68", "#3ad1a5"),
    "entropy": ("#9a6b00", "#f0c648"),
    "grace": ("#b13a7d", "#f08cc4"),
    "kcg": ("#332288", "#a99bff"),
    "random": ("#595959", "#c4c4c4"),
}
OWN = (("#7f3b08", "#d9a77c"), ("#4d7c0f", "#a6d854"), ("#00707a", "#5fd3dc"), ("#a11d33", "#ff8b9c"))  # for other methods
# of subsets of modalities, after Tol's high-contrast set (2021)
SUBSETS = (("#bb5566", "#ee99aa"), ("#004488", "#6699dd"), ("#b8860b", "#eecc66"), *OWN)
MARKERS = "osD^vPX*<>"
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 9, "xtick.labelsize": 8}
STYLE |= {"ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
STYLE |= {"svg.fonttype": "none", "svg.hashsalt": "mmal", "text.parse_math": False}


@dataclass(frozen=True)
class Look:
    """Colours: of text and axes, of lines behind the data, of methods, of subsets."""

    ink: str
    faint: str
    methods: Mapping[str, str]
    subsets: Mapping[str, str]


class Line(NamedTuple):
    """One method in one panel: x (T,), mean (T,) and sd (T,) over seeds, sd None for one seed."""

    x: Sequence[float]
    mean: np.ndarray
    sd: np.ndarray | None


Cells = Mapping[tuple[str, str], Mapping[str, Line]]  # (row, column) -> method -> line


def colours(methods: Sequence[str], subsets: Sequence[str]) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Method -> (light, dark) and subset -> (light, dark): fixed for mmal's own methods, by name for others."""
    others = [qm for qm in sorted(methods) if qm not in METHODS]
    of = {qm: METHODS.get(qm) or OWN[others.index(qm) % len(OWN)] for qm in methods}
    return of, {subset: SUBSETS[number % len(SUBSETS)] for number, subset in enumerate(subsets)}


def on_paper(methods: Sequence[str], subsets: Sequence[str]) -> Look:
    """Dark on white, for PNG and PDF."""
    of, kinds = colours(methods, subsets)
    return Look("#1a1a1a", "#b0b0b0", {qm: pair[0] for qm, pair in of.items()}, {s: pair[0] for s, pair in kinds.items()})


def over_seeds(x: Sequence[float], values: Sequence[Sequence[float]]) -> Line:
    """Mean and sd (ddof 1) of one curve for each seed."""
    stacked = np.array(values, dtype=float)  # (n, T)
    return Line(x, stacked.mean(axis=0), stacked.std(axis=0, ddof=1) if len(stacked) > 1 else None)


def curves(rows: Sequence[AulcRow], dataset: TableDataset) -> Cells:
    """(regime, subset) -> method -> learning curve; partly predictive subsets times 1 / ceiling, as in tables."""
    found: dict[tuple[str, str], dict[str, Line]] = {}
    for row in rows:
        for subset, areas in row.subsets.items():
            line = over_seeds(row.labels, np.array(areas.curves) * dataset.factor(subset))
            found.setdefault((row.regime, subset), {})[row.qm] = line
    return found


def regimes(rows: Sequence[AulcRow]) -> list[str]:
    """Low, mid, high, then others."""
    return sorted({row.regime for row in rows}, key=regime_order)


def subsets(rows: Sequence[AulcRow]) -> list[str]:
    """In the order of the records; of two modalities and both, both stands in the middle, as in the paper."""
    found = list(dict.fromkeys(subset for row in rows for subset in row.subsets))
    return [found[0], found[2], found[1]] if len(found) == 3 and found[2] == "+".join(found[:2]) else found


def title(subset: str, dataset: TableDataset) -> str:
    """`b (weak) ×10`."""
    factor = dataset.factor(subset)
    return subset + (" (weak)" if subset == dataset.weak else "") + (f" ×{factor:.3g}" if factor != 1 else "")


def panels(
    on: FigureBase,
    cells: Cells,
    rows: Sequence[str],
    columns: Mapping[str, str],
    look: Look,
    y_label: str,
    level: Mapping[str, float],
    limits: tuple[float, float] | None = None,
) -> None:
    """A panel for each row and column: mean lines with bands of one sd, and a dashed level.

    Args:
        columns: column -> its title.
        level: column -> height of the dashed line (chance), where there is one.
        limits: of all y axes; None: each column has its own.
    """
    axes = on.subplots(len(rows), len(columns), squeeze=False, sharey="col" if limits is None else True)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            ax = axes[i, j]
            _quiet(ax, look)
            if column in level:
                ax.axhline(level[column], color=look.ink, linewidth=0.8, linestyle=(0, (2, 2)))
            for qm, line in sorted(cells.get((row, column), {}).items()):
                _draw(ax, qm, line, look)
            if i == 0:
                ax.set_title(columns[column], color=look.ink)
            if j == 0:
                ax.set_ylabel(row, color=look.ink)
            if limits:
                ax.set_ylim(*limits)
    on.supxlabel("labels", fontsize=9, color=look.ink)
    on.supylabel(y_label, fontsize=9, color=look.ink)
    handles = [_handle(qm, look) for qm in sorted({qm for of in cells.values() for qm in of})]
    handles += [Line2D([], [], color=look.ink, linewidth=0.8, linestyle=(0, (2, 2)), label="chance")] * bool(level)
    _legend(on, handles, look)


def _marker(qm: str, look: Look) -> str:
    known = [*METHODS, *(name for name in sorted(look.methods) if name not in METHODS)]
    return MARKERS[known.index(qm) % len(MARKERS)]


def _draw(ax: Any, qm: str, line: Line, look: Look) -> None:
    colour = look.methods[qm]
    if line.sd is not None:
        ax.fill_between(line.x, line.mean - line.sd, line.mean + line.sd, color=colour, alpha=0.16, linewidth=0)
    dashes = "--" if qm == "random" else "-"
    ax.plot(line.x, line.mean, dashes, color=colour, linewidth=1.4, marker=_marker(qm, look), markersize=3.2)


def _handle(qm: str, look: Look) -> Line2D:
    dashes = "--" if qm == "random" else "-"
    return Line2D([], [], color=look.methods[qm], linestyle=dashes, marker=_marker(qm, look), markersize=4, label=qm)


def _legend(on: FigureBase, handles: Sequence[Any], look: Look) -> None:
    if handles:
        on.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8), frameon=False, labelcolor=look.ink)


def _quiet(ax: Any, look: Look) -> None:
    """Axes and numbers in the ink, a faint grid behind."""
    ax.set_facecolor("none")
    ax.tick_params(color=look.ink, labelcolor=look.ink, length=2.5)
    ax.grid(axis="y", color=look.faint, linewidth=0.5, alpha=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=5)
    for spine in ax.spines.values():
        spine.set_color(look.ink)
        spine.set_linewidth(0.7)


def bars(on: FigureBase, rows: Sequence[AulcRow], dataset: TableDataset, look: Look) -> None:
    """AULC ± sd: for each method and subset one bar for each regime, from left to right low, mid, high, ever darker."""
    methods, kinds, budgets = sorted({row.qm for row in rows}), subsets(rows), regimes(rows)
    of = {(row.qm, row.regime): row for row in rows}
    ax = on.subplots()
    _quiet(ax, look)
    slots = len(kinds) * len(budgets) + (len(kinds) - 1) / 2  # half a bar between subsets
    width = min(0.84 / slots, 0.15)
    for k, subset in enumerate(kinds):
        for r, regime in enumerate(budgets):
            here = [(x, of[qm, regime].subsets.get(subset)) for x, qm in enumerate(methods) if (qm, regime) in of]
            spreads = [(x, areas.aulc) for x, areas in here if areas]
            left = width * (k * (len(budgets) + 0.5) + r + 0.5 - slots / 2)
            factor, alpha = dataset.factor(subset), 0.45 + 0.55 * (r + 1) / len(budgets)
            ax.bar(
                [x + left for x, _ in spreads],
                [spread.mean * factor for _, spread in spreads],
                width * 0.92,
                yerr=[(spread.sd or 0) * factor for _, spread in spreads],
                color=look.subsets[subset],
                alpha=alpha,
                error_kw={"ecolor": look.ink, "elinewidth": 0.8},
            )
    ax.set_xticks(range(len(methods)), methods)
    ax.set_xlim(-0.5, len(methods) - 0.5)
    ax.set_ylabel("AULC", color=look.ink)
    _legend(on, [Patch(color=look.subsets[s], label=title(s, dataset)) for s in kinds], look)


def size(rows: Sequence[AulcRow]) -> tuple[float, float]:
    """Width and height in inches of the panels of learning curves."""
    return max(7.2, 0.6 + 2.5 * len(subsets(rows))), 1.0 + 1.6 * len(regimes(rows))


def paper(rows: Sequence[AulcRow], dataset: TableDataset, level: Mapping[str, float], y_label: str, name: str) -> Figure:
    """Curves above (rows are regimes, columns subsets), bars below, one dataset and variant: the paper's Figures 2 to 11."""
    look = on_paper(sorted({row.qm for row in rows}), subsets(rows))
    width, height = size(rows)
    whole = Figure(figsize=(width, height + 3.0), layout="constrained")
    whole.suptitle(name, fontsize=10)
    above, below = whole.subfigures(2, 1, height_ratios=(height, 2.7))
    panels(above, curves(rows, dataset), regimes(rows), titles(rows, dataset), look, y_label, level, (0, 1.02))
    bars(below, rows, dataset, look)
    return whole


def titles(rows: Sequence[AulcRow], dataset: TableDataset) -> dict[str, str]:
    """Subset -> its title, in the figures' order."""
    return {subset: title(subset, dataset) for subset in subsets(rows)}
