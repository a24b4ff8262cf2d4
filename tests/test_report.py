"""The page and its figures from fake records: what it says, what it compares, and that it works with little."""

import csv
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import fake_runs
import pytest
import report_runs
from report_runs import gathered, table, text_of

from mmal_cli.core.errors import UserError
from mmal_cli.report import behaviour, overlap, page
from mmal_cli.runs import find

VOID = {"meta", "link", "br"}


class Parsed(HTMLParser):
    """Elements in order, with their attributes and the text inside; refuses tags that are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[dict] = []
        self.all: list[dict] = []
        self.feed(text)
        assert not self.open, f"not closed: {[one['tag'] for one in self.open]}"

    def handle_starttag(self, tag, attrs):
        one = {"tag": tag, **dict(attrs), "text": ""}
        self.all.append(one)
        if tag not in VOID:
            self.open.append(one)

    def handle_startendtag(self, tag, attrs):
        self.all.append({"tag": tag, **dict(attrs), "text": ""})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for one in self.open:
            one["text"] += data

    def named(self, *tags: str) -> list[dict]:
        return [one for one in self.all if one["tag"] in tags]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, str]:
    root = report_runs.make(tmp_path_factory.mktemp("runs"), ("unique", "synergy"), leave_out=[("unique", "mid", "grace", 1)])
    return root, text_of(root)


def test_the_page_stands_alone(whole):
    root, text = whole
    assert not re.search(r"https?:|\bsrc=|@import|url\((?!#)", text)
    assert str(root) not in text
    assert "default-src 'none'" in text


def test_the_same_records_give_the_same_bytes(tmp_path):
    root = report_runs.make(tmp_path, ("unique",), ("low",))
    assert text_of(root) == text_of(root)
    one, two = (dict(page.pictures(gathered(root), ["png", "pdf"])) for _ in range(2))
    assert one == two
    assert one["unique.png"].startswith(b"\x89PNG")
    assert one["unique.pdf"].startswith(b"%PDF")


def test_the_page_is_well_formed_and_says_what_its_figures_show(whole):
    parsed = Parsed(whole[1])
    ids = [one["id"] for one in parsed.all if "id" in one]
    assert len(ids) == len(set(ids)), "ids must be unique in the page"
    wanted = [one[key][1:] for one in parsed.all for key in ("href", "xlink:href") if one.get(key, "").startswith("#")]
    wanted += re.findall(r"url\(#([^)]+)\)", whole[1])
    assert set(wanted) <= set(ids)
    drawn = parsed.named("svg")
    assert len(drawn) == 7  # curves, bars and diagnostics of two datasets, and ranks
    for one in drawn:
        assert one["role"] == "img"
        assert re.search(r"random,? .*\d\.\d\d", one["aria-label"]), "an alternative text has numbers"
    assert len(parsed.named("title")) == 1 + len(drawn)
    levels = [int(one["tag"][1]) for one in parsed.named("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels)), "no level of headings is skipped"


def test_tables_have_captions_and_scopes(whole):
    parsed = Parsed(whole[1])
    assert len(parsed.named("table")) == len(parsed.named("caption")) > 8
    assert {one.get("scope") for one in parsed.named("th")} == {"col", "row", "rowgroup"}
    regions = [one for one in parsed.named("div") if one.get("class") == "scroll"]
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in regions)
    assert not [one for one in parsed.all if one["tag"] == "style" and one is not parsed.named("style")[0]], "svg styles leak"


def test_what_was_run_counts_what_was_not(whole):
    rows = table(whole[1], "Seeds of each cell")
    assert rows[0] == ["regime", "badge", "grace", "random", "labels"]
    assert ["mid", "0 1", "0", "0 1", "1000 to 10000, 10 cycles"] in rows
    assert "Runs: 23 of 24 cells" in whole[1]
    assert "Cells not run stay empty: 1." in whole[1]
    assert "Note: Missing: 1 run; what is common to the rest is ranked." in whole[1]


@pytest.mark.parametrize(
    "little",
    [
        {"seeds": 1, "methods": ("random", "badge")},
        {"methods": ("random",)},
        {"methods": ("mine",), "seeds": 1, "modalities": ("x",)},
        {"modalities": ("x", "y", "z"), "methods": ("random", "mine", "other")},
        {"cycles": 1},
    ],
    ids=["one seed", "one method", "one of all", "three modalities", "one cycle"],
)
def test_a_page_of_little(tmp_path, little):
    root = report_runs.make(tmp_path, ("other",), ("low",), **little)
    parsed = Parsed(text_of(root))
    assert len(parsed.named("h2")) == 9 + (len(little.get("modalities", "ab")) == 1)


def test_records_without_whole_subsets_have_no_diagnostics(tmp_path):
    fake_runs.write(tmp_path, *fake_runs.grid({("share", "low", True): {"random": [3.0, 3.1], "badge": [3.2, 3.3]}}))
    text = text_of(tmp_path)
    assert "What the queries asked for is not in these records." in text
    Parsed(text)


def test_names_are_text_not_markup(tmp_path):
    text = text_of(report_runs.make(tmp_path, ("d",), methods=("random", "a&b", "<i>x")))
    assert "<i>" not in text
    assert "&lt;i&gt;x" in text
    Parsed(text)


def test_the_csv_has_every_cycle_and_run(whole):
    root, _ = whole
    rows = list(csv.DictReader(page.readings(gathered(root)).splitlines()))
    of = [row for row in rows if (row["dataset"], row["qm"], row["regime"]) == ("unique", "badge", "low")]
    assert len([row for row in of if row["measure"] == "synergy"]) == 2 * 10
    assert len([row for row in of if row["measure"] == "entropy"]) == 2 * 9
    run = next(iter(find(root).finished.values()))
    values = {subset: of["balanced_accuracy"] for subset, of in run.cycles[3].metrics.items()}
    (row,) = [
        r
        for r in rows
        if (r["dataset"], r["qm"], r["regime"], r["seed"], r["cycle"], r["measure"])
        == (*(str(run.config[key]) for key in ("dataset", "qm", "regime", "seed")), "3", "synergy")
    ]
    assert float(row["value"]) == values["a+b"] - max(values["a"], values["b"])


def test_overlaps_come_from_the_cycles(tmp_path):
    root = report_runs.make(tmp_path, ("d",), ("low",), ("random", "badge"), 1, cycles=3)
    report_runs.write_cycles(root / "d/low/random/seed-0", [[4, 5], [6, 7]], [0, 1])
    assert gathered(root).variants[0].overlaps == {"low": []}  # badge has no cycles there
    report_runs.write_cycles(root / "d/low/badge/seed-0", [[5, 8], [7, 6]], [0, 1])
    material = gathered(root)
    assert material.variants[0].overlaps["low"] == [overlap.Overlap("badge", "random", {0: [0.5, 1.0]}, 5 / 7)]
    rows = table(behaviour.behaviour(material), "Overlap of queries, d, moddrop on")
    assert rows[-1] == ["badge, random", "1", "0.50", "1.00", "0.71"]
    found = [row for row in csv.DictReader(page.readings(material).splitlines()) if row["measure"] == "overlap"]
    assert [tuple(row[key] for key in ("qm", "of", "seed", "cycle", "labels", "value")) for row in found] == [
        ("badge", "random", "0", "0", "500", "0.5"),
        ("badge", "random", "0", "1", "1000", "1.0"),
        ("random", "badge", "0", "0", "500", "0.5"),
        ("random", "badge", "0", "1", "1000", "1.0"),
    ]
    (root / "d/low/badge/seed-0/cycle-01.h5").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"cycle-01\.h5 is damaged"):
        gathered(root)


def test_the_command_writes_the_page_and_the_figures(mmal, tmp_path):
    runs = report_runs.make(tmp_path / "runs", regimes=("low",), methods=("random", "badge"))
    done = mmal("report", "runs", "--out", "r", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "r/index.html\n"), done.stderr
    assert sorted(str(path.relative_to(tmp_path / "r")) for path in (tmp_path / "r").rglob("*.*")) == [
        "diagnostics.csv",
        "figures/mmal.sha256",
        "figures/unique.pdf",
        "figures/unique.png",
        "index.html",
    ]
    text = (tmp_path / "r/index.html").read_text()
    assert str(tmp_path) not in text
    assert "This page: mmal report RUNS, mmal 0." in text
    again = mmal("report", runs, "--out", "r", "--format", "html", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "r/index.html").read_text() == text


def test_a_second_report_leaves_no_figure_of_the_first_and_every_file_of_the_user(mmal, tmp_path):
    for dataset in ("solo", "duo", "other"):
        report_runs.make(tmp_path / "one", (dataset,), ("low",), ("random",), 1, cycles=2)
    assert mmal("report", "one", "--out", "r", "--format", "png,pdf", cwd=tmp_path).returncode == 0
    figures = tmp_path / "r" / "figures"
    (figures / "duo.png").write_bytes(b"drawn upon")
    (figures / "mine.png").write_bytes((figures / "solo.png").read_bytes())
    done = mmal("report", "one/other", "--out", "r", "--format", "png", cwd=tmp_path)
    assert sorted(path.name for path in figures.iterdir()) == ["duo.png", "mine.png", "mmal.sha256", "other.png"]
    assert [line for line in done.stderr.splitlines() if "removed" in line] == [
        f"r/figures/{name} of an older report removed" for name in ("duo.pdf", "other.pdf", "solo.png", "solo.pdf")
    ]
    assert mmal("report", "one/other", "--out", "r", "--format", "html", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in figures.iterdir()) == ["duo.png", "mine.png"]


def test_what_cannot_be_reported_is_one_message(mmal, tmp_path):
    def refused(code: int, message: str, *words: object) -> None:
        done = mmal("report", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1

    refused(3, "runs not found; make runs by: mmal al-run", "runs")
    (tmp_path / "runs").mkdir()
    refused(3, "runs holds no finished run (with run.yaml), 0 unfinished", "runs")
    runs = report_runs.make(tmp_path / "runs", regimes=("low",), methods=("random",), seeds=1)
    refused(2, "unknown format 'hmtl'; did you mean 'html'?", "runs", "--format", "hmtl")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>my own page")
    refused(2, "mine/index.html is not an older report; choose another --out", "runs", "--out", "mine")
    refused(2, "mine/index.html is a file; choose another --out", "runs", "--out", "mine/index.html")
    record = runs / "unique/low/random/seed-0/run.yaml"
    record.write_text(record.read_text()[:-300])
    refused(3, "runs/unique/low/random/seed-0/run.yaml", "runs")


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    import importlib.util

    from mmal_cli.commands import report

    runs = report_runs.make(tmp_path / "runs", regimes=("low",), methods=("random",), seeds=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install it in mmal's folder: .* -e '\.\[report\]'"):
        report.report(runs, tmp_path / "r")
