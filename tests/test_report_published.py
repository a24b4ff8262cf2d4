"""Values beside the paper's: which runs may be compared, in which units, and what is said of the others."""

from pathlib import Path

import fake_runs
import pytest
import report_runs
import yaml
from report_runs import gathered, table

from mmal_cli.report import areas, published, ranked
from mmal_cli.runs import find

UNIQUE = report_runs.resolved("unique", "low")
WITHOUT_MOMENTUM = UNIQUE | {"train": {key: value for key, value in UNIQUE["train"].items() if key != "momentum"}}


def test_differences_are_in_units_of_the_published_sd(tmp_path):
    root = report_runs.make(tmp_path)
    text = areas.areas(gathered(root))
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
    assert "All of these runs have the paper&#x27;s settings and size of the train split." in text
    assert "Partly predictive, so shown times 1 / ceiling, as the paper does: b (weak) ×10." in text


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"assignments": ("train.lr=0.3",)}, "other train.lr"),
        ({"assignments": ("model.width=64",)}, "other model.width"),
        ({"cycles": 4}, "other labels"),
        ({"train": 5_600}, "other train samples"),
        ({"settings": WITHOUT_MOMENTUM}, "not recorded: train.momentum"),
        (
            {"settings": {"train": {"lr": 0.3}}, "cycles": 4},
            "other labels, train.lr; not recorded: budget.cycles, budget.query",
        ),
    ],
    ids=["rate", "width", "cycles", "size", "one unknown", "nearly all unknown"],
)
def test_runs_that_are_not_known_to_be_as_the_papers_are_not_compared(tmp_path, more, why):
    text = areas.areas(gathered(report_runs.make(tmp_path, regimes=("low",), **more)))
    assert f"Not known to have the paper&#x27;s settings, so no difference is shown: these runs ({why}" in text
    assert table(text, "AULC of unique, moddrop on")[0] == ["method", "seeds", "a", "a+b", "b (weak) ×10"]


@pytest.mark.parametrize("regime", ["low", "mid", "high"])
@pytest.mark.parametrize("name", report_runs.KINDS)
def test_the_protocols_own_settings_are_the_papers(name, regime):
    printed, settings, kinds = published.read().as_aulc(), report_runs.resolved(name, regime), list(report_runs.KINDS[name])
    budget, train = settings["budget"], 50_000 if name == "share" else 60_000
    some = report_runs.record(name, regime, "badge", 0, kinds, budget["cycles"], settings, True)
    cycles = []
    for cycle in some.cycles:
        labels = budget["start"] + cycle.number * budget["query"]
        pool = {"+".join(kinds): train - budget["validation"] - labels}
        asked = cycle.asked and cycle.asked.model_copy(update={"pool_present": pool})
        cycles.append(cycle.model_copy(update={"labels": labels, "asked": asked}))
    run = some.model_copy(update={"cycles": cycles})
    found = published.beside(run, printed)
    assert (found.other, found.unknown, found.same) == ([], [], True)
    assert found.size == (name not in ("food101", "mimic"))  # nobody knows theirs
    assert published.beside(some.model_copy(update={"cycles": cycles[:3]}), printed).other == ["labels"]
    (row,) = [r for r in printed.rows if (r.dataset, r.regime, r.qm, r.moddrop) == (name, regime, "badge", True)]
    assert set(row.subsets) == set(report_runs.subsets(kinds)), "the columns have our names"
    for sets, wrong in [(("train.epochs=2",), "train.epochs"), (("start_set=random", "model.width=8"), "model.width")]:
        other = run.model_copy(update={"config": run.config | {"settings": report_runs.resolved(name, regime, (), sets)}})
        assert wrong in published.beside(other, printed).other


def test_quick_runs_of_the_papers_datasets_are_not_the_papers():
    run = report_runs.record("share", "low", "badge", 0, ["cifar10", "mnist"], 4, {}, True)
    raw = yaml.safe_load((Path(published.__file__).parents[1] / "protocols" / "quick.yaml").read_text())
    run = run.model_copy(update={"config": run.config | {"settings": {"model": raw["model"], "train": raw["train"]}}})
    found = published.beside(run, published.read().as_aulc())
    assert {"model.width", "train.epochs", "train.lr", "labels"} <= set(found.other)
    assert {"start_set", "budget.start"} <= set(found.unknown)


def test_runs_of_which_the_size_is_not_known_are_compared_and_the_page_says_so(tmp_path):
    said = "All of these runs have the paper&#x27;s settings, as far as records tell: the size of the dataset is not compared."
    assert said in areas.areas(gathered(report_runs.make(tmp_path / "a", ("mimic",), ("low",), modalities=("labs", "ecg"))))
    run = report_runs.record("unique", "low", "badge", 0, ["a", "b"], 10, UNIQUE, True)
    fake_runs.write(
        tmp_path / "b", run.model_copy(update={"cycles": [c.model_copy(update={"asked": None}) for c in run.cycles]})
    )
    assert said in areas.areas(gathered(tmp_path / "b"))


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
        variant.beside.update(dict.fromkeys(variant.beside, published.Beside([], [], True)))
    rows = table(ranked.ranked(material), "Ranks by the AULC of the weak modality")
    assert rows[-1] == ["sum, published", "", "22", "21", "14", "17", "17", "6", "15", ""]
