"""Figures of runs: learning curves, AULC bars, and both as in Figures 2 to 11 of the paper; matplotlib, no files."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmal_cli.analysis import style
from mmal_cli.analysis.style import Look
from mmal_cli.core.place import regime_order
from mmal_cli.core.tables import AulcRow, TableDataset

ABREAST = 4  # panels side by side: all subsets of two modalities; of three and more they stand in several bands
MARGIN = 0.8  # inches beside bars, for numbers and margins


class Line(NamedTuple):
    """One method in one panel: x (T,), mean (T,) and sd (T,) over seeds, sd None for one seed."""

    x: Sequence[float]
    mean: np.ndarray
    sd: np.ndarray | None

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """One sd below and above the mean; the mean itself for one seed."""
        sd = 0 if self.sd is None else self.sd
        return self.mean - sd, self.mean + sd


Cells = Mapping[tuple[str, str], Mapping[str, Line]]  # (row, column) -> method -> line


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


def limits(cells: Cells, level: Mapping[str, float]) -> tuple[float, float]:
    """Of a y axis that has room for all lines with their bands, the level, and zero."""
    edges = [float(edge) for of in cells.values() for line in of.values() for band in line.band for edge in band]
    return min(0.0, 1.05 * min(edges)), 1.05 * max(0.1, *edges, *level.values())


def regimes(rows: Sequence[AulcRow]) -> list[str]:
    """Low, mid, high, then others."""
    return sorted({row.regime for row in rows}, key=regime_order)


def subsets(rows: Sequence[AulcRow]) -> list[str]:
    """In the order of the records; of two modalities and both, both stands in the middle, as in the paper."""
    found = list(dict.fromkeys(subset for row in rows for subset in row.subsets))
    return [found[0], found[2], found[1]] if len(found) == 3 and found[2] == "+".join(found[:2]) else found


def bands(names: Sequence[str], most: int = ABREAST) -> list[list[str]]:
    """The names in their order, at most so many in a band; subsets of as many modalities share one where they fit."""
    found: list[list[str]] = [[]]
    for _, several in groupby(names, key=lambda name: name.count("+")):
        alike = list(several)
        if len(found[-1]) + len(alike) <= most:
            found[-1] += alike
        else:
            found += [part.tolist() for part in np.array_split(alike, math.ceil(len(alike) / most))]
    return [band for band in found if band]


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
    """A panel for each row and column: mean lines with bands of one sd, and a dashed level. Many columns go on below.

    Args:
        columns: column -> its title.
        level: column -> height of the dashed line (chance), where there is one.
        limits: of all y axes; None: each column has its own.
    """
    below = bands(list(columns))
    axes = on.subplots(len(below) * len(rows), max(map(len, below)), squeeze=False, sharey=limits is not None)
    for top, band in zip(axes[:: len(rows)], below, strict=True):
        for ax, column in zip(top, band, strict=False):
            ax.set_title(columns[column], color=look.ink)
    for i, (band, row) in enumerate(product(below, rows)):
        for ax in axes[i, len(band) :]:
            ax.remove()
        axes[i, 0].set_ylabel(row, color=look.ink)
        for j, column in enumerate(band):
            ax = axes[i, j]
            style.quiet(ax, look)
            if column in level:
                ax.axhline(level[column], color=look.ink, linewidth=0.8, linestyle=(0, (2, 2)))
            for qm, line in sorted(cells.get((row, column), {}).items()):
                _draw(ax, qm, line, look)
            if limits:
                ax.set_ylim(*limits)
            elif i % len(rows):
                ax.sharey(axes[i - i % len(rows), j])
    on.supxlabel("labels", fontsize=style.FONT, color=look.ink)
    on.supylabel(y_label, fontsize=style.FONT, color=look.ink)
    handles = [style.handle(qm, look) for qm in sorted({qm for of in cells.values() for qm in of})]
    handles += [Line2D([], [], color=look.ink, linewidth=0.8, linestyle=(0, (2, 2)), label=style.CHANCE)] * bool(level)
    style.legend(on, handles, look)


def _draw(ax: Any, qm: str, line: Line, look: Look) -> None:
    colour = look.methods[qm]
    if line.sd is not None:
        ax.fill_between(line.x, *line.band, color=colour, alpha=0.16, linewidth=0)
    dashes = "--" if qm == "random" else "-"
    ax.plot(line.x, line.mean, dashes, color=colour, linewidth=1.4, marker=style.marker(qm, look), markersize=3.2)


def bars(on: FigureBase, rows: Sequence[AulcRow], dataset: TableDataset, look: Look) -> None:
    """AULC ± sd: for each method and subset one bar for each regime, from left to right low, mid, high, ever fuller."""
    below = bands(subsets(rows))
    parts = on.subfigures(len(below), squeeze=False)[:, 0] if len(below) > 1 else [on]
    axes = [part.subplots() for part in parts]
    for ax, part, kinds in zip(axes, parts, below, strict=True):
        if ax is not axes[0]:
            ax.sharey(axes[0])
        _bars(ax, part, kinds, rows, dataset, look)


def _bars(ax: Any, on: FigureBase, kinds: Sequence[str], rows: Sequence[AulcRow], dataset: TableDataset, look: Look) -> None:
    """Those of some subsets, with a legend above."""
    methods, budgets = sorted({row.qm for row in rows}), regimes(rows)
    of = {(row.qm, row.regime): row for row in rows}
    style.quiet(ax, look)
    slots = len(kinds) * len(budgets) + (len(kinds) - 1) / 2  # half a bar between subsets
    width = min(0.84 / slots, 0.15)
    for k, subset in enumerate(kinds):
        for r, regime in enumerate(budgets):
            here = [(x, of[qm, regime].subsets.get(subset)) for x, qm in enumerate(methods) if (qm, regime) in of]
            spreads = [(x, areas.aulc) for x, areas in here if areas]
            left = width * (k * (len(budgets) + 0.5) + r + 0.5 - slots / 2)
            factor = dataset.factor(subset)
            ax.bar(
                [x + left for x, _ in spreads],
                [spread.mean * factor for _, spread in spreads],
                width * 0.92,
                yerr=[(spread.sd or 0) * factor for _, spread in spreads],
                color=look.subsets[subset],
                alpha=_shade(r, budgets),
                error_kw={"ecolor": look.ink, "elinewidth": 0.8},
            )
    style.name(ax, methods, style.inches(on) - MARGIN)
    ax.set_ylabel("AULC", color=look.ink)
    shades = [Patch(color=look.ink, alpha=_shade(r, budgets), label=regime) for r, regime in enumerate(budgets)]
    style.legend(on, [*(Patch(color=look.subsets[s], label=title(s, dataset)) for s in kinds), *shades], look)


def _shade(number: int, budgets: Sequence[str]) -> float:
    return 0.4 + 0.6 * (number + 1) / len(budgets)


def size(rows: Sequence[AulcRow]) -> tuple[float, float]:
    """Width and height in inches of the panels of learning curves."""
    below, labels = bands(subsets(rows)), [*sorted({row.qm for row in rows}), style.CHANCE]
    width = max(7.2, 0.6 + 2.5 * max(map(len, below)))
    return width, 0.8 + 1.6 * len(regimes(rows)) * len(below) + 0.2 * style.rows(labels, style.columns(labels, width))


def bars_height(rows: Sequence[AulcRow], width: float) -> float:
    """In inches, of bars of this width."""
    return len(bands(subsets(rows))) * (2.7 + style.depth(sorted({row.qm for row in rows}), width - MARGIN))


def paper(rows: Sequence[AulcRow], dataset: TableDataset, level: Mapping[str, float], y_label: str, name: str) -> Figure:
    """Curves above (rows are regimes, columns subsets), bars below, one dataset and variant: the paper's Figures 2 to 11."""
    look = style.on_paper(sorted({row.qm for row in rows}), subsets(rows))
    width, *heights = *size(rows), bars_height(rows, size(rows)[0])
    whole = Figure(figsize=(width, sum(heights) + 0.3), layout="constrained")
    whole.suptitle(name, fontsize=10)
    above, below = whole.subfigures(2, 1, height_ratios=heights)
    cells = curves(rows, dataset)
    panels(above, cells, regimes(rows), titles(rows, dataset), look, y_label, level, limits(cells, level))
    bars(below, rows, dataset, look)
    return whole


def titles(rows: Sequence[AulcRow], dataset: TableDataset) -> dict[str, str]:
    """Subset -> its title, in the figures' order."""
    return {subset: title(subset, dataset) for subset in subsets(rows)}
