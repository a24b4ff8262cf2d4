"""How figures look: fonts, colours and markers of methods and subsets, quiet axes, legends that fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

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
CHANCE = "chance"
FONT, SMALL = 9, 8  # points: of all text, and of the numbers and names on axes
STYLE = {"font.size": FONT, "axes.titlesize": FONT, "axes.labelsize": FONT, "legend.fontsize": FONT, "xtick.labelsize": SMALL}
STYLE |= {"ytick.labelsize": SMALL, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
STYLE |= {"svg.fonttype": "none", "svg.hashsalt": "mmal", "text.parse_math": False}


@dataclass(frozen=True)
class Look:
    """Colours: of text and axes, of lines behind the data, of methods, of subsets."""

    ink: str
    faint: str
    methods: Mapping[str, str]
    subsets: Mapping[str, str]


def colours(methods: Sequence[str], subsets: Sequence[str]) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Method -> (light, dark) and subset -> (light, dark): fixed for mmal's own methods, by name for others."""
    others = [qm for qm in sorted(methods) if qm not in METHODS]
    of = {qm: METHODS.get(qm) or OWN[others.index(qm) % len(OWN)] for qm in methods}
    return of, {subset: SUBSETS[number % len(SUBSETS)] for number, subset in enumerate(subsets)}


def on_paper(methods: Sequence[str], subsets: Sequence[str]) -> Look:
    """Dark on white, for PNG and PDF."""
    of, kinds = colours(methods, subsets)
    return Look("#1a1a1a", "#b0b0b0", {qm: pair[0] for qm, pair in of.items()}, {s: pair[0] for s, pair in kinds.items()})


def marker(qm: str, look: Look) -> str:
    """The method's own, whatever other methods a figure has."""
    known = [*METHODS, *(name for name in sorted(look.methods) if name not in METHODS)]
    return MARKERS[known.index(qm) % len(MARKERS)]


def handle(qm: str, look: Look) -> Line2D:
    """A method's entry in a legend."""
    dashes = "--" if qm == "random" else "-"
    return Line2D([], [], color=look.methods[qm], linestyle=dashes, marker=marker(qm, look), markersize=4, label=qm)


def legend(on: FigureBase, handles: Sequence[Any], look: Look) -> None:
    """Above all panels, in as many columns as the figure is wide for."""
    if handles:
        ncols = columns([one.get_label() for one in handles], inches(on))
        on.legend(handles=handles, loc="outside upper center", ncols=ncols, frameon=False, labelcolor=look.ink)


def columns(labels: Sequence[str], width: float) -> int:
    """Into how many columns a legend of `width` inches is put: as few rows as fit, evenly filled.

    matplotlib fills the columns one after another; each is as wide as its widest entry.
    """
    widths = [points(label) + 5 * FONT for label in labels]  # the handle 2, its gap .8, the next column 2, and a little
    every = range(1, len(labels) + 1)
    fit = [n for n in every if sum(max(of) for of in np.array_split(widths, n)) <= 72 * width]
    return min(fit, key=lambda n: (rows(labels, n), n), default=1)


def rows(labels: Sequence[str], ncols: int) -> int:
    """Of a legend."""
    return math.ceil(len(labels) / ncols)


def name(ax: Any, names: Sequence[str], width: float) -> None:
    """Names below an axis of `width` inches, a place for each; turned where they would run into one another."""
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if depth(names, width) else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_xlim(-0.5, len(names) - 0.5)


def depth(names: Sequence[str], width: float) -> float:
    """How many inches turned names reach down; 0 where they need not be turned."""
    widest = max(points(text, SMALL) for text in names)
    return widest * math.sqrt(0.5) / 72 if widest + 5 > 72 * width / len(names) else 0.0


def points(text: str, size: float = FONT) -> float:
    """How wide a text is."""
    return TextPath((0, 0), text, size=size).get_extents().width


def inches(on: FigureBase) -> float:
    """How wide a figure is, or a part of one."""
    return on.bbox.width / on.dpi


def quiet(ax: Any, look: Look) -> None:
    """Axes and numbers in the ink, a faint grid behind."""
    ax.set_facecolor("none")
    ax.tick_params(color=look.ink, labelcolor=look.ink, length=2.5)
    ax.grid(axis="y", color=look.faint, linewidth=0.5, alpha=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=5)
    for spine in ax.spines.values():
        spine.set_color(look.ink)
        spine.set_linewidth(0.7)
