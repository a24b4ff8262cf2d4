"""Ranks: the sums of the paper's Table 3 from its printed values, ties, and what `mmal rank` shows."""

import json
from pathlib import Path

import fake_runs
import pytest
from fake_runs import words
from hypothesis import given
from hypothesis import strategies as st

from mmal_cli.analysis import ranks
from mmal_cli.core import files, tables

PUBLISHED = Path(__file__).resolve().parents[2] / "shared/papers/published_aulc.yaml"
METHODS = ["badge", "bald", "bmmal", "entropy", "grace", "kcg", "random"]
WEAK = {"missing": "Rare", "share": "CIFAR-10", "unique": "B", "synergy": "B"}
MAIN = {"missing": True, "share": True, "unique": True, "synergy": False}
# Tables 7, 9, 11 and 14, the weak modality's means in the order of METHODS; BADGE/synergy/mid is Table 14's 5.87.
PRINTED = {
    "low": {
        "missing": [1.05, 1.07, 1.13, 1.19, 1.1, 1.19, 0.97],
        "share": [3.66, 3.52, 3.66, 3.24, 3.45, 3.53, 3.66],
        "unique": [2.33, 2.2, 2.96, 3.66, 3.75, 2.74, 1.94],
        "synergy": [4.59, 4.01, 4.34, 3.64, 4.47, 4.95, 4.61],
    },
    "mid": {
        "missing": [1.5, 2.33, 2.46, 3.49, 2.91, 4.99, 1.01],
        "share": [4.62, 4.59, 4.72, 4.41, 4.47, 4.65, 4.76],
        "unique": [2.53, 2.86, 2.55, 2.73, 3.61, 3.99, 2.87],
        "synergy": [5.87, 5.3, 6.29, 6.06, 5.84, 6.42, 5.9],
    },
    "high": {
        "missing": [1.13, 3.79, 2.19, 5.45, 2.2, 1.03, 1.01],
        "share": [4.91, 4.94, 5.08, 4.78, 4.8, 5.0, 5.1],
        "unique": [6.26, 6.26, 5.98, 5.85, 6.22, 5.86, 6.4],
        "synergy": [7.9, 7.79, 7.55, 7.09, 7.89, 7.4, 6.6],
    },
}
SUMS = {
    "low": [16, 22, 13, 17.5, 15, 10.5, 18],
    "mid": [22, 21, 14, 17, 17, 6, 15],
    "high": [13.5, 11.5, 15, 21, 15, 20, 16],
}


def published(regimes=PRINTED) -> dict:
    """A file of published values that holds just what the sums need."""
    return {
        "tables": [
            {
                "table": number,
                "dataset": dataset,
                "moddrop": MAIN[dataset],
                "columns": [WEAK[dataset]],
                "aulc": {
                    regime: {qm: [[value, 0.1]] for qm, value in zip(METHODS, of[dataset], strict=True)}
                    for regime, of in regimes.items()
                },
            }
            for number, dataset in enumerate(MAIN, start=1)
        ],
        "rank_sums": {"weak_modality": WEAK, "moddrop": MAIN},
    }


def sums(path) -> dict[str, list[float]]:
    found = tables.RankTable.read(path)
    return {regime: [of[qm] for qm in METHODS] for regime, of in found.sums.items()}


def test_table_3_from_printed_values(tmp_path, invoke) -> None:
    (tmp_path / "printed.yaml").write_text(files.dump_yaml(published()))
    done = invoke("rank", "printed.yaml")
    assert done.exit_code == 0
    assert sums(tmp_path / "results/rank.yaml") == SUMS
    assert "mid sum 22 21 14 17 17 6 15" in words(done.stdout)
    assert "12 blocks of printed means; sums can go from 4 to 28." in words(done.stdout)


def test_table_3_from_the_papers_file(tmp_path, invoke) -> None:
    if not PUBLISHED.exists():
        pytest.skip("published_aulc.yaml lies in ../shared/papers, which this checkout has not")
    assert invoke("rank", PUBLISHED).exit_code == 0
    assert sums(tmp_path / "results/rank.yaml") == SUMS
    assert sums(tmp_path / "results/rank.yaml")["mid"] == list(tables.check(
        tables.Published, files.read_yaml(PUBLISHED), "").rank_sums.mid.values())  # fmt: skip
    assert invoke("rank", PUBLISHED, "--dataset", "synergy", "--moddrop", "on").exit_code == 0
    assert [block.scores["kcg"] for block in tables.RankTable.read(tmp_path / "results/rank.yaml").blocks] == [3.58, 4.4, 4.86]
    done = invoke("rank", PUBLISHED, "--weak", "food101=Text", "--dataset", "food101", "--json")
    assert json.loads(done.stdout)["blocks"][0]["ranks"]["bald"] == 3


def test_the_misprint_of_table_2_gives_other_sums() -> None:
    wrong = [5.42, *PRINTED["mid"]["synergy"][1:]]
    right, other = (ranks.ranks(dict(zip(METHODS, values, strict=True))) for values in (PRINTED["mid"]["synergy"], wrong))
    found = [total - right[qm] + other[qm] for qm, total in zip(METHODS, SUMS["mid"], strict=True)]
    assert found == [23, 21, 14, 17, 16, 6, 15]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.7]), min_size=2, max_size=9))
def test_ranks_add_up_whatever_the_ties(values) -> None:
    found = list(ranks.ranks({f"m{n}": value for n, value in enumerate(values)}).values())
    m = len(values)
    assert sum(found) == m * (m + 1) / 2
    for a, rank_a in zip(values, found, strict=True):
        assert rank_a == sum(b > a for b in values) + (values.count(a) + 1) / 2


@given(st.permutations([0.1, 0.2, 0.3, 0.4]), st.permutations([0.1, 0.2, 0.3, 0.4]))
def test_the_order_of_seeds_breaks_no_tie(one, other) -> None:
    block = ranks.Block("share", "low", True, "b", {"kcg": dict(enumerate(one)), "bald": dict(enumerate(other))})
    assert ranks.ranked(block).ranks == {"bald": 1.5, "kcg": 1.5}


def test_float_noise_breaks_no_tie() -> None:
    block = ranks.Block("share", "low", True, "b", {"kcg": {0: 0.1, 1: 0.2}, "bald": {0: 0.05, 1: 0.25}})
    found = ranks.ranked(block)
    assert found.scores["kcg"] != found.scores["bald"]  # 0.15 twice, but for the last bit
    assert found.ranks == {"bald": 1.5, "kcg": 1.5}


def test_ranks_come_from_unrounded_means(after_aulc) -> None:
    shown = words(after_aulc({("share", "low", True): {"kcg": [0.5001, 0.5003], "bald": [0.5002, 0.5001]}}).stdout)
    assert "low share 2 1" in shown
    assert "1 block of 2 seeds" in shown


def test_a_partially_predictive_modality_is_said_to_be_scaled(tmp_path, after_aulc, invoke) -> None:
    done = after_aulc({("synergy", "low", False): {"badge": [0.1, 0.3], "random": [0.2, 0.2]}}, ceiling=fake_runs.CEILING)
    assert "AULC times 1 / ceiling, as `mmal aulc` shows it: synergy b x10." in words(done.stdout)
    found = tables.RankTable.read(tmp_path / "results/rank.yaml").blocks[0]
    assert found.scores == pytest.approx({"badge": 2, "random": 2})
    assert found.smallest > 1  # more than the range of two cycles
    assert "low synergy more than the whole range" in done.stdout
    assert "low b more than the whole range" in invoke("aulc", "runs").stdout


BOTH = {
    (dataset, "low", moddrop): {"badge": [0.2], "random": [0.1 if moddrop else 0.3]}
    for dataset in ("share", "synergy")
    for moddrop in (True, False)
}


@pytest.mark.parametrize(("option", "share", "synergy"), [("protocol", True, False), ("on", True, True), ("off", False, False)])
def test_which_variant_is_ranked(tmp_path, after_aulc, option, share, synergy) -> None:
    done = after_aulc(BOTH, "--moddrop", option)
    found = tables.RankTable.read(tmp_path / "results/rank.yaml").blocks
    assert [(block.dataset, block.moddrop) for block in found] == [("share", share), ("synergy", synergy)]
    assert [block.ranks["badge"] for block in found] == [1 if share else 2, 1 if synergy else 2]
    assert f"share b{'' if share else ' (no moddrop)'}, synergy b{'' if synergy else ' (no moddrop)'}." in words(done.stdout)


def test_the_only_variant_is_ranked(tmp_path, after_aulc) -> None:
    assert after_aulc({("synergy", "low", True): BOTH["synergy", "low", True]}).exit_code == 0
    assert tables.RankTable.read(tmp_path / "results/rank.yaml").blocks[0].moddrop
    done = after_aulc({}, "--moddrop", "off")
    assert done.exit_code == 2
    assert "synergy has no runs without moddrop" in done.stderr


def test_an_unknown_weak_modality(tmp_path, after_aulc, invoke) -> None:
    done = after_aulc({("food101", "low", True): {"badge": [0.2], "random": [0.1]}}, weak=None)
    assert done.exit_code == 2
    assert "food101 names no weak modality; say which subset to rank (a, b): --weak food101=a" in done.stderr
    assert invoke("rank", "--weak", "food101=b").exit_code == 0
    assert tables.RankTable.read(tmp_path / "results/rank.yaml").blocks[0].weak == "b"
    assert "'c' (known: a, b)" in invoke("rank", "--weak", "food101=c").stderr
    assert "unknown dataset 'food'; did you mean 'food101'?" in invoke("rank", "--weak", "food=b").stderr
    assert "not of the form DATASET=SUBSET" in invoke("rank", "--weak", "food101").stderr


def test_other_numbers_of_cycles_are_not_compared(tmp_path, invoke) -> None:
    made = [fake_runs.record({"b": [0.1] * cycles}, qm=qm) for qm, cycles in (("kcg", 3), ("bald", 4))]
    fake_runs.write(tmp_path / "runs", *made)
    invoke("aulc", "runs")
    done = invoke("rank")
    assert done.exit_code == 3
    assert "share low: kcg has 3 cycles and bald has 4" in done.stderr


def test_one_cycle_and_one_method_have_no_ranks(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", fake_runs.record({"b": [0.1]}))
    invoke("aulc", "runs")
    assert "one cycle" in invoke("rank").stderr
    fake_runs.write(tmp_path / "runs", fake_runs.record({"b": [0.1, 0.2]}))
    invoke("aulc", "runs")
    assert "at least two query methods" in invoke("rank").stderr


def test_a_file_of_ones_own_is_known_by_its_sha256_and_two_versions_are_not_summed(tmp_path, invoke) -> None:
    curves = {"a": [0.5, 0.5], "b": [0.1, 0.3]}

    def write(low: str, mid: str) -> None:
        own = [fake_runs.record(curves, qm="mine", regime=r, sha256=sha) for r, sha in (("low", low), ("mid", mid))]
        fake_runs.write(tmp_path / "runs", *own, *(fake_runs.record(curves, regime=regime) for regime in ("low", "mid")))
        assert invoke("aulc", "runs").exit_code == 0

    write("5a" * 32, "5a" * 32)
    assert f"mine.py: sha256 {'5a' * 32}\n" in invoke("rank").stdout
    assert tables.RankTable.read(tmp_path / "results/rank.yaml").own_files == {"mine": "5a" * 32}
    write("5a" * 32, "6b" * 32)
    done = invoke("rank")
    assert done.exit_code == 3
    assert (
        f"error: mine is not one method: its file has sha256 {'5a' * 32} on share low and {'6b' * 32} on share mid, so its "
        "ranks cannot be summed; run one of them again with the file of the other" in done.stderr
    )


def test_json_is_the_file_and_the_id_is_content(tmp_path, after_aulc, invoke) -> None:
    scores = {("share", "low", True): {"badge": [0.1, 0.2], "random": [0.2, 0.4]}}
    first = json.loads(after_aulc(scores, "--json").stdout)
    assert tables.RankTable.model_validate(first) == tables.RankTable.read(tmp_path / "results/rank.yaml")
    assert json.loads(invoke("rank", "--json", "--out", "other.yaml").stdout)["id"] == first["id"]


def test_what_is_no_table(tmp_path, invoke) -> None:
    assert "results/aulc.yaml not found; make it by: mmal aulc RUNS" in invoke("rank").stderr
    (tmp_path / "x.yaml").write_text("a: 1\n")
    assert "x.yaml holds None, expected kind 'aulc'" in invoke("rank", "x.yaml").stderr
    broken = published()
    broken["tables"][0]["columns"].append("More")
    (tmp_path / "x.yaml").write_text(files.dump_yaml(broken))
    assert "table 1 low badge has 1 values for 2 columns" in invoke("rank", "x.yaml").stderr
    del broken["tables"][0]["aulc"]["low"]["kcg"]
    broken["tables"][0]["columns"].pop()
    (tmp_path / "x.yaml").write_text(files.dump_yaml(broken))
    assert "error: missing low lacks kcg (random has it)" in invoke("rank", "x.yaml").stderr


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda raw: raw["datasets"].update(x={}), "x has no rows, or no entry under datasets; expected both"),
        (lambda raw: raw["datasets"].clear(), "share has no rows, or no entry under datasets"),
        (lambda raw: raw["rows"][0]["subsets"].clear(), "rows.0.subsets: Dictionary should have at least 1 item"),
        (
            lambda raw: raw["rows"][0]["subsets"]["b"]["aulc"].pop("values"),
            "rows.0: share low badge, aulc of b has 0 values for 2 seeds",
        ),
    ],
)
def test_an_edited_table_is_refused(tmp_path, after_aulc, invoke, edit, message) -> None:
    after_aulc({("share", "low", True): {"badge": [0.1, 0.2], "kcg": [0.3, 0.4]}})
    path = tmp_path / "results/aulc.yaml"
    raw = files.read_yaml(path)
    edit(raw)
    path.write_text(files.dump_yaml(raw))
    done = invoke("rank")
    assert done.exit_code == 3
    assert f"results/aulc.yaml: {message}" in done.stderr


def test_a_printed_table_without_values_is_left_out(tmp_path, invoke) -> None:
    raw = published()
    raw["tables"].append({"table": 9, "dataset": "x", "moddrop": True, "columns": ["b"], "aulc": {}})
    raw["rank_sums"]["weak_modality"] = WEAK | {"x": "b"}
    (tmp_path / "printed.yaml").write_text(files.dump_yaml(raw))
    assert invoke("rank", "printed.yaml").exit_code == 0
