"""Ranks, statistics and costs of the page: what an interrupted sweep shows, the diagram, differences in the tables' units."""

import re

import fake_runs
import matplotlib
import numpy as np
import pytest
import report_runs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_runs import gathered, table

from mmal_cli.analysis import power, style
from mmal_cli.report import areas, costs, diagram, ranked


def test_an_interrupted_sweep_is_ranked_by_what_is_complete(tmp_path):
    report_runs.make(tmp_path, ("synergy",), ("low", "mid"))
    report_runs.make(tmp_path, ("synergy",), ("high",), ("badge",), 1)
    material = gathered(tmp_path)
    assert {block.regime for block in material.ranking.blocks} == {"low", "mid"}
    assert material.ranking.stats is not None
    text = ranked.ranked(material)
    assert "Note: synergy high is left out: it has badge alone" in text
    assert re.search(r"Note: Missing: \d+ runs and 1 block; what is common to the rest is ranked\.", text)


def test_where_nothing_is_in_common_nothing_is_said_to_be_ranked(tmp_path):
    report_runs.make(tmp_path, ("unique",), ("low",), ("badge", "bald"))
    report_runs.make(tmp_path, ("unique",), ("mid",), ("kcg", "random"))
    material = gathered(tmp_path)
    text = ranked.ranked(material)
    assert "Note: the blocks have no query method in common; a ranking needs two." in text
    assert "is ranked" not in text
    assert "There is no ranking to test." in ranked.statistics(material)


def test_one_method_is_no_ranking(tmp_path):
    text = ranked.ranked(gathered(report_runs.make(tmp_path, regimes=("low",), methods=("random",))))
    assert "unique low is left out: it has random alone" in text


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    root = report_runs.make(tmp_path_factory.mktemp("runs"), ("unique",), ("low", "mid"), seeds=3)
    return gathered(root)


def weak_aulc(grid, regime: str) -> dict[str, list[float]]:
    """Of the weak modality, times ten: qm -> values of the seeds."""
    rows = [row for row in grid.variants[0].rows if row.regime == regime]
    return {row.qm: [10 * value for value in row.subsets["b"].aulc.values] for row in rows}


def test_the_smallest_difference_stands_with_every_table_in_its_units(grid):
    of = weak_aulc(grid, "low")
    known = power.smallest_difference(np.array([of[qm] for qm in sorted(of)]).T)
    shown = f"{known:.2f}" if known <= 9 else "> range"
    rows = table(areas.areas(grid), "AULC of unique, moddrop on")
    first = next(row for row in rows if row[0] == "smallest difference")
    assert first[1] == "3"
    assert shown in first
    assert first[3:5] == ["", ""]  # of the published value and the difference
    (low, *_) = [
        row for row in table(ranked.ranked(grid), "Ranks by the AULC of the weak modality") if row[0] == "unique, b ×10"
    ]
    assert low[-1] == shown
    text = ranked.statistics(grid)
    assert text.count("Smallest difference of mean AULC that the seeds of a block can show") == text.count("<table>") == 4


def test_differences_are_paired_block_by_block_in_the_units_of_the_tables(grid):
    rows = table(ranked.statistics(grid), "Differences of AULC to random on the same seeds")
    assert rows[0] == ["dataset, weak modality", "pairs", "badge", "grace"]
    of = weak_aulc(grid, "mid")
    apart = np.subtract(of["badge"], of["random"])
    name, pairs, badge, _ = rows[rows.index(["mid"]) + 1]
    assert (name, pairs) == ("unique, b ×10", "3")
    assert badge == f"{apart.mean():+.3f} ± {apart.std(ddof=1):.3f}".replace("-", "−")


def test_one_block_of_few_seeds_has_no_test_and_no_diagram(tmp_path):
    text = ranked.statistics(gathered(report_runs.make(tmp_path, regimes=("low",))))
    assert "tests take two blocks" in text
    assert "<svg" not in text
    assert "No interval and no P(best): there are too few pairs" in text
    assert table(text, "Average ranks and differences")[1][2:4] == ["", ""]


def test_labels_saved_are_never_minus_zero(tmp_path):
    for qm, curve in {"random": [0.1, 0.7, 0.6], "badge": [0.1, 0.69999, 0.71]}.items():
        fake_runs.write(tmp_path, fake_runs.record({"a": curve, "b": curve}, qm=qm))  # badge needs a hair more than 100 labels
    text = ranked.statistics(gathered(tmp_path))
    assert "+0 (1.00)" in text
    assert not re.search(r"[-−]0(\.0+)?[ <]", text)


RANKS = {"badge": 1.5, "grace": 2.0, "kcg": 4.0, "random": 4.25, "a-method-with-quite-a-long-name": 3.25}


@pytest.mark.parametrize("difference", [1.25, 9.5])
def test_the_diagram_has_a_bar_for_each_group_and_one_of_the_critical_difference(difference):
    groups = [["badge", "grace"], ["a-method-with-quite-a-long-name", "kcg", "random"]]
    with matplotlib.rc_context(style.STYLE):
        figure = diagram.draw(RANKS, groups, difference, style.on_paper(sorted(RANKS), []))
        FigureCanvasAgg(figure).draw()
    (ax,) = figure.axes
    lines = {gid: [line for line in ax.lines if line.get_gid() == gid] for gid in ("difference", "group")}
    assert [list(line.get_xdata()) for line in lines["difference"]] == [[1, min(1 + difference, 5)]]
    assert [line.get_xdata() for line in lines["group"]] == [pytest.approx([1.46, 2.04]), pytest.approx([3.21, 4.29])]
    texts = [text for text in ax.texts if any(name in text.get_text() for name in [*RANKS, "critical"])]
    assert len(texts) == 6
    boxes = [text.get_window_extent() for text in texts]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])
    assert any("longer than the axis" in text.get_text() for text in texts) == (difference > 4)


def test_the_diagram_says_what_it_shows(grid):
    text = ranked.statistics(grid)
    ranks = {qm: of.rank for qm, of in grid.ranking.stats.average.items()}
    (said,) = re.findall(r'aria-label="Critical-difference diagram\. ([^"]*)"', text)
    assert all(f"{qm} {rank:.2f}" in said for qm, rank in ranks.items())
    assert f"Critical difference {grid.ranking.stats.critical_difference:.2f}." in said


def test_costs_are_of_one_run_without_the_shared_first_training(tmp_path):
    text = costs.costs(gathered(report_runs.make(tmp_path, regimes=("low",), seeds=3)))  # each cycle 30 s, 2 s, 1.5 s
    rows = table(text, "Costs of unique, moddrop on")
    assert rows[0] == ["method", "trainings", "train, s", "test, s", "query, s", "all, s", "peak memory, MB", "device"]
    assert rows[2] == ["badge", "9", "270.0", "20.0", "15.0", "305.0", "1", "NVIDIA H100"]
    assert "First cycle&#x27;s training, all runs together: low 270.0 s." in text  # three methods, three seeds
