"""Critical-difference diagram (Demsar 2006): methods on an axis of average ranks, a bar over those that are not told apart."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mmal_cli.analysis import style
from mmal_cli.analysis.style import Look
from mmal_cli.report import drawing

STEP = 0.45  # between bars, in the height of a name


def diagram(average: Mapping[str, float], groups: Sequence[Sequence[str]], difference: float, look: Look) -> str:
    """The diagram for the page.

    Args:
        average: method -> average rank.
        groups: methods that Nemenyi's test cannot tell apart, from the best on.
        difference: the critical difference.
    """
    said = ", ".join(f"{qm} {average[qm]:.2f}" for qm in _order(average))
    apart = "; ".join(", ".join(group) for group in groups)
    words = f"Average ranks: {said}. Critical difference {difference:.2f}. Not told apart: {apart or 'none'}."
    caption = "Critical-difference diagram. Lower average ranks are better; a thick bar joins methods that are not told apart."
    return drawing.inline(draw(average, groups, difference, look), "ranks", "Critical-difference diagram", words, caption)


def _order(average: Mapping[str, float]) -> list[str]:
    return sorted(average, key=lambda qm: (average[qm], qm))


def draw(average: Mapping[str, float], groups: Sequence[Sequence[str]], difference: float, look: Look) -> Figure:
    """Names of the better half stand left, those of the others right; y counts names, downwards from the axis."""
    order, k = _order(average), len(average)
    half, below = math.ceil(k / 2), STEP * len(groups) + 0.9
    figure = Figure(figsize=(8.9, 0.2 * (below + half + 2.4)), layout="constrained")
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set(xlim=(0.9, k + 0.1), ylim=(-below - half + 0.4, 2.4))
    ink = {"color": look.ink, "clip_on": False}
    ax.plot([1, k], [0, 0], linewidth=0.9, **ink)
    for rank in range(1, k + 1):
        ax.plot([rank, rank], [0, 0.25], linewidth=0.9, **ink)
        ax.text(rank, 0.4, str(rank), ha="center", va="bottom", fontsize=style.SMALL, **ink)
    end = min(1 + difference, k)
    ax.plot([1, end], [1.8, 1.8], linewidth=2, solid_capstyle="butt", gid="difference", **ink)
    longer = ", longer than the axis" if 1 + difference > k else ""
    ax.text(1, 2, f"critical difference {difference:.2f}{longer}", va="bottom", fontsize=style.SMALL, **ink)
    for number, group in enumerate(groups):
        y, ends = -0.5 - STEP * number, [average[group[0]] - 0.04, average[group[-1]] + 0.04]
        ax.plot(ends, [y, y], linewidth=3, solid_capstyle="butt", gid="group", **ink)
    for place, qm in enumerate(order):
        left = place < half
        y, x = -below - (place if left else k - 1 - place), 0.9 if left else k + 0.1
        ax.plot([average[qm], average[qm], x], [0, y, y], linewidth=0.7, **ink)
        ax.plot(average[qm], y, style.marker(qm, look), color=look.methods[qm], markersize=5, clip_on=False)
        ax.text(x, y, f" {qm}  {average[qm]:.2f} ", ha="right" if left else "left", va="center", **ink)
    return figure
