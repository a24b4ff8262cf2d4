"""The figures from fake records: nothing is cut off or overprinted, columns as in the paper, colours seen on both papers."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest
import report_runs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmal_cli.analysis import figures, style
from mmal_cli.report import areas, gather

ELEVEN = (*report_runs.METHODS, "bmmal-projection", "grace-constant-lambda", "typiclust", "probcover")


def variant_of(root: Path, **what) -> gather.Variant:
    (variant,) = report_runs.gathered(report_runs.make(root, **what)).variants
    return variant


def drawn(variant: gather.Variant) -> Figure:
    """The figure of the files, laid out."""
    with matplotlib.rc_context(style.STYLE):
        whole = figures.paper(variant.rows, variant.dataset, variant.levels, "balanced accuracy", "Results")
        FigureCanvasAgg(whole).draw()
    return whole


@pytest.mark.parametrize(
    ("methods", "modalities"),
    [
        (report_runs.METHODS, ("x",)),
        ((*report_runs.METHODS, "bmmal-projection"), ("a", "b")),
        (ELEVEN, ("a", "b")),
        (ELEVEN, ("x",)),
        (("random", "badge"), ("a", "b")),
    ],
    ids=["one modality", "a long name", "eleven", "eleven, one modality", "two"],
)
def test_legends_and_names_are_whole(tmp_path, methods, modalities):
    whole = drawn(variant_of(tmp_path, methods=methods, modalities=modalities, cycles=3))
    above, below = whole.subfigs
    legends = [part.legends[0] for part in (above, below)]
    assert [text.get_text() for text in legends[0].get_texts()] == [*sorted(methods), "chance"]
    names = below.axes[0].get_xticklabels()
    assert [text.get_text() for text in names] == sorted(methods)
    page = whole.bbox
    for part in (*(legend.get_window_extent() for legend in legends), *(text.get_window_extent() for text in names)):
        assert page.x0 <= part.x0
        assert part.x1 <= page.x1
        assert page.y0 <= part.y0
    places = [text.get_window_extent() for text in names]
    if names[0].get_rotation():  # turned names are apart if their last letters are
        assert all(b.x1 - a.x1 > 1.4 * style.SMALL * whole.dpi / 72 for a, b in pairwise(places))
    else:
        assert all(a.x1 < b.x0 for a, b in pairwise(places))
    for part, legend in zip((above, below), legends, strict=True):
        assert legend.get_window_extent().y0 > max(ax.bbox.y1 for ax in part.axes), "a legend stands above the panels"


def test_a_legend_says_which_bar_is_which_regime(tmp_path):
    variant = variant_of(tmp_path, regimes=("high", "low"), methods=("random", "badge"), cycles=3)
    (legend,) = drawn(variant).subfigs[1].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "a+b", "b (weak) ×10", "low", "high"]
    assert legend.legend_handles[-2].get_alpha() < legend.legend_handles[-1].get_alpha()


def test_axes_hold_the_bands(tmp_path):
    x = [1, 2]
    wide = {("low", "a"): {"random": figures.over_seeds(x, [[0.1, 0.5], [0.1, 0.9]])}}  # .7 ± .28
    low, high = figures.limits(wide, {"a": 0.1})
    assert low == 0
    assert high > 0.7 + 0.08**0.5
    low, high = figures.limits({("low", "a"): {"random": figures.over_seeds(x, [[0, 0], [0, 0.1]])}}, {"a": 0.5})
    assert low < 0.05 - 0.005**0.5
    assert high > 0.5
    for ax in drawn(variant_of(tmp_path, seeds=3)).subfigs[0].axes:
        for band in ax.collections:
            bottom, top = band.get_paths()[0].get_extents().intervaly
            assert ax.get_ylim()[0] <= bottom
            assert top <= ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("dataset", "modalities", "columns"),
    [
        ("mimic", ("labs", "ecg"), ["ecg", "labs+ecg", "labs"]),
        ("unique", ("a", "b"), ["a", "a+b", "b"]),
        ("other", ("labs", "ecg"), ["labs", "labs+ecg", "ecg"]),
        ("mimic", ("b", "c"), ["b", "b+c", "c"]),
    ],
)
def test_columns_stand_as_in_the_published_table(tmp_path, dataset, modalities, columns):
    variant = variant_of(tmp_path, datasets=(dataset,), regimes=("low",), modalities=modalities)
    assert figures.subsets(variant.rows) == columns


def test_bands_keep_subsets_of_one_size_together_where_they_fit():
    two, three, four = (report_runs.subsets("abcd"[:m]) for m in (2, 3, 4))
    assert figures.bands(["a", "a+b", "b"]) == [["a", "a+b", "b"]]
    assert figures.bands(two) == [["a", "b", "a+b"]]
    assert figures.bands(three) == [["a", "b", "c"], ["a+b", "a+c", "b+c", "a+b+c"]]
    assert [len(band) for band in figures.bands(four)] == [4, 3, 3, 4, 1]
    assert [len(band) for band in figures.bands(four, 7)] == [4, 6, 5]
    assert [len(band) for band in figures.bands(report_runs.subsets("abcdefgh"))][:3] == [4, 4, 4]
    assert [name for band in figures.bands(four) for name in band] == four
    assert figures.bands([]) == []


def test_many_subsets_go_on_below_on_axes_of_one_scale(tmp_path):
    variant = variant_of(tmp_path, methods=("random", "badge"), modalities="abc", cycles=3)
    whole = drawn(variant)
    above, below = whole.subfigs
    bands, kinds = figures.bands(report_runs.subsets("abc")), figures.subsets(variant.rows)
    assert whole.get_size_inches()[0] <= 0.6 + 2.5 * 4
    assert len(above.axes) == 2 * len(kinds)
    titled = [(ax.get_title().split()[0], round(ax.bbox.y0), round(ax.bbox.x0)) for ax in above.axes if ax.get_title()]
    assert sorted(titled, key=lambda place: (-place[1], place[2])) == [(kind, *rest) for kind, *rest in titled]
    assert [kind for kind, *_ in titled] == kinds
    assert len({place[1] for place in titled}) == len(bands)
    for one, other in pairwise(above.axes):
        assert one.get_ylim() == other.get_ylim()
        assert not one.bbox.overlaps(other.bbox)
    assert len(below.subfigs) == len(bands)
    for part, band in zip(below.subfigs, bands, strict=True):
        assert [text.get_text().split()[0] for text in part.legends[0].get_texts()] == [*band, "low", "mid"]
        assert part.axes[0].get_ylim() == below.subfigs[0].axes[0].get_ylim()
        shades = {tuple(bar.get_facecolor()[:3]) for bar in part.axes[0].patches}
        assert len(shades) == len(band), "colours are told apart within a legend"


def test_tables_of_four_modalities_are_three(tmp_path):
    text = areas.areas(report_runs.gathered(report_runs.make(tmp_path, ("synergy",), ("low",), modalities="abcd", cycles=3)))
    assert text.count("<table>") == 3
    for caption in ("a to d", "a+b to c+d", "a+b+c to a+b+c+d"):
        assert f"<caption>AULC of synergy, moddrop off: {caption}</caption>" in text
    assert text.count("Partly predictive") == 1
    three = report_runs.gathered(report_runs.make(tmp_path / "3", ("synergy",), ("low",), modalities="abc", cycles=3))
    assert areas.areas(three).count("<caption>AULC of synergy, moddrop off</caption>") == 1


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_are_fixed_distinct_and_seen_on_both_papers():
    of, kinds = style.colours(["mine", "badge"], ["a", "b"])
    assert of["badge"] == style.METHODS["badge"]
    every = [*style.METHODS.values(), *style.OWN, *style.SUBSETS]
    assert len(set(style.METHODS.values()) | set(style.OWN)) == len(style.METHODS) + len(style.OWN)
    assert all(contrast(light, "#ffffff") >= 3 and contrast(dark, "#16181c") >= 3 for light, dark in every)
    assert len(set(kinds.values())) == 2
