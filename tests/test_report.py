"""The page and its figures from fake records: what it says, what it compares, and that it works with little."""

import csv
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import report_runs
import yaml

from mmal_cli.analysis import figures
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality
from mmal_cli.core.settings import resolve
from mmal_cli.report import areas, behaviour, gather, overlap, page, published, ranked
from mmal_cli.runs import find

INFO = {"mmal": "0.1.0", "command": "mmal report RUNS", "versions": {"matplotlib": "3.9"}}
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


def gathered(root: Path) -> gather.Material:
    return gather.gather(find(root), root)


def text_of(root: Path) -> str:
    return page.page(gathered(root), INFO)


def table(text: str, caption: str) -> list[list[str]]:
    """The rows of the table with this caption, headings and groups too."""
    whole = re.search(rf"<table><caption>{re.escape(caption)}</caption>(.*?)</table>", text, re.DOTALL)[1]
    return [re.findall(r"<t[hd][^>]*>(?:<b>)?([^<]*)", row) for row in re.findall(r"<tr.*?</tr>", whole)]


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
    assert len(drawn) == 6  # curves, bars and diagnostics of two datasets
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
    assert "runs that the grid lacks: 1; ranked is what all blocks have in common" in whole[1]


def test_differences_are_in_units_of_the_published_sd(whole):
    root, text = whole
    rows = table(text, "AULC of unique, moddrop on")
    assert rows[0][2:8] == ["a", "a published", "a difference", "a+b", "a+b published", "a+b difference"]
    assert rows[0][8] == "b (weak) ×10"
    (badge,) = [row for row in rows[: rows.index(["mid"])] if row[0] == "badge"]
    assert badge[3] == "4.75 ± 0.48"
    ours = find(root).finished
    values = [
        [cycle.metrics["a"]["balanced_accuracy"] for cycle in run.cycles]
        for run in ours.values()
        if (run.config["dataset"], run.config["regime"], run.config["qm"]) == ("unique", "low", "badge")
    ]
    mean = sum(sum(v) - (v[0] + v[-1]) / 2 for v in values) / len(values)
    assert badge[4] == f"{(mean - 4.75) / 0.48:+.1f} sd".replace("-", "−")
    assert "All of these runs have the paper&#x27;s settings." in text


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"settings": {"train": {"lr": 0.3}}}, "train.lr"),
        ({"settings": {"model": {"width": 64}}}, "model.width"),
        ({"cycles": 4}, "labels"),
    ],
)
def test_runs_with_other_settings_are_not_compared(tmp_path, more, why):
    text = areas.areas(gathered(report_runs.make(tmp_path, regimes=("low",), **more)))
    assert f"Not the paper&#x27;s settings, so no difference is shown: these runs (other {why})." in text
    assert table(text, "AULC of unique, moddrop on")[0] == ["method", "seeds", "a", "a+b", "b (weak) ×10"]


KINDS = {
    "missing": {"a": "image", "b": "image"},
    "share": {"cifar10": "image", "mnist": "image"},
    "unique": {"a": "image", "b": "image"},
    "synergy": {"a": "image", "b": "image"},
    "food101": {"image": "image", "text": "tokens"},
    "mimic": {"labs": "vector", "ecg": "series"},
}


def resolved(name: str, regime: str, overlays: tuple[str, ...] = (), assignments: tuple[str, ...] = ()) -> dict:
    modalities = [Modality(name=m, kind=kind, shape=(3, 300), dtype="uint8") for m, kind in KINDS[name].items()]
    splits = {split: {"samples": 60_000, "shards": []} for split in ("train", "test")}
    dataset = Dataset.model_construct(name=name, classes=10, modalities=modalities, splits=splits)
    return resolve(dataset, regime, "badge", overlays, assignments)[0].model_dump(mode="json")


@pytest.mark.parametrize("regime", ["low", "mid", "high"])
@pytest.mark.parametrize("name", KINDS)
def test_the_protocols_own_settings_are_the_papers(name, regime):
    printed, settings = published.read().as_aulc(), resolved(name, regime)
    budget = settings["budget"]
    some = report_runs.record(name, regime, "badge", 0, list(KINDS[name]), budget["cycles"], settings, True)
    cycles = [cycle.model_copy(update={"labels": budget["start"] + cycle.number * budget["query"]}) for cycle in some.cycles]
    run = some.model_copy(update={"cycles": cycles})
    assert published.differs(run, printed) == []
    assert published.differs(some.model_copy(update={"cycles": cycles[:3]}), printed) == ["labels"]
    (row,) = [r for r in printed.rows if (r.dataset, r.regime, r.qm, r.moddrop) == (name, regime, "badge", True)]
    assert set(row.subsets) == set(report_runs.subsets(list(KINDS[name]))), "the columns have our names"
    for sets, wrong in [(("train.epochs=2",), "train.epochs"), (("start_set=random", "model.width=8"), "model.width")]:
        other = run.model_copy(update={"config": run.config | {"settings": resolved(name, regime, (), sets)}})
        assert wrong in published.differs(other, printed)


def test_quick_runs_of_the_papers_datasets_are_not_the_papers():
    run = report_runs.record("share", "low", "badge", 0, ["cifar10", "mnist"], 4, {}, True)
    raw = yaml.safe_load((Path(published.__file__).parents[1] / "protocols" / "quick.yaml").read_text())
    run = run.model_copy(update={"config": run.config | {"settings": {"model": raw["model"], "train": raw["train"]}}})
    assert {"model.width", "train.epochs", "train.lr", "labels"} <= set(published.differs(run, published.read().as_aulc()))


def test_rank_reads_the_published_values(mmal, tmp_path):
    values = Path(published.__file__).parents[1] / "published" / "aulc.yaml"
    done = mmal("rank", values, "--out", tmp_path / "rank.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sums = yaml.safe_load((tmp_path / "rank.yaml").read_text())["sums"]
    assert sums["mid"] == yaml.safe_load(values.read_text())["rank_sums"]["mid"]  # no ties in this regime


def test_sums_of_ranks_stand_beside_the_published_ones_if_all_was_run(tmp_path):
    for dataset in ("missing", "share", "unique", "synergy"):
        modalities = ("mnist", "cifar10") if dataset == "share" else ("b", "a") if dataset == "missing" else ("a", "b")
        report_runs.make(tmp_path, (dataset,), ("mid",), report_runs.METHODS, 1, modalities)
    material = gathered(tmp_path)
    assert "sum, published" not in ranked.ranked(material)  # labels of missing and share are not the paper's
    for variant in material.variants:
        variant.differs.update({key: [] for key in variant.differs})
    rows = table(ranked.ranked(material), "Ranks by the AULC of the weak modality")
    assert rows[-1] == ["sum, published", "", "22", "21", "14", "17", "17", "6", "15"]


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
    assert len(parsed.named("h2")) == 9
    assert [name for name, _ in page.pictures(gathered(root), ["png"])] == ["other.png"]


def test_records_without_whole_subsets_have_no_diagnostics(tmp_path):
    import fake_runs

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
    assert material.variants[0].overlaps["low"] == [overlap.Overlap("badge", "random", 1, 0.5, 1.0, 5 / 7)]
    rows = table(behaviour.behaviour(material), "Overlap of queries, d, moddrop on")
    assert rows[-1] == ["badge, random", "1", "0.50", "1.00", "0.71"]
    (root / "d/low/badge/seed-0/cycle-01.h5").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"cycle-01\.h5 is damaged"):
        gathered(root)


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_are_fixed_distinct_and_seen_on_both_papers():
    of, kinds = figures.colours(["mine", "badge"], ["a", "b"])
    assert of["badge"] == figures.METHODS["badge"]
    every = [*figures.METHODS.values(), *figures.OWN, *figures.SUBSETS]
    assert len(set(figures.METHODS.values()) | set(figures.OWN)) == len(figures.METHODS) + len(figures.OWN)
    assert all(contrast(light, "#ffffff") >= 3 and contrast(dark, "#16181c") >= 3 for light, dark in every)
    assert len(set(kinds.values())) == 2


def test_the_command_writes_the_page_and_the_figures(mmal, tmp_path):
    runs = report_runs.make(tmp_path / "runs", regimes=("low",), methods=("random", "badge"))
    done = mmal("report", "runs", "--out", "r", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "r/index.html\n"), done.stderr
    assert sorted(str(path.relative_to(tmp_path / "r")) for path in (tmp_path / "r").rglob("*.*")) == [
        "diagnostics.csv",
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
    with pytest.raises(UserError, match=r"install it: pip install 'mmal\[report\]'"):
        report.report(runs, tmp_path / "r")
