"""Ranks of incomplete grids: what is missing is named with the command that runs it, what is common is ranked if asked."""

import json
import shlex

import fake_runs
import pytest
from fake_runs import words

from mmal_cli.analysis import complete, ranks
from mmal_cli.core import tables
from mmal_cli.core.errors import UserError

FULL = {
    ("share", "low", True): {"badge": [0.1, 0.2, 0.3], "kcg": [0.2, 0.2, 0.3], "random": [0.3, 0.3, 0.3]},
    ("synergy", "low", True): {"badge": [0.1, 0.2, 0.3], "kcg": [0.2, 0.2, 0.3], "random": [0.3, 0.3, 0.3]},
}


def without(block, qm, seeds=3) -> dict:
    """FULL with the last seeds of one method taken away."""
    methods = {name: values[: len(values) - seeds] if name == qm else values for name, values in FULL[block].items()}
    return FULL | {block: {name: values for name, values in methods.items() if values}}


def test_a_missing_seed_is_named(after_aulc) -> None:
    done = after_aulc(without(("share", "low", True), "badge", 1))
    assert done.exit_code == 3
    assert done.stderr.splitlines() == [
        "error: runs/share/low/badge lacks seed 2 (random has 0 1 2); "
        "run it: mmal al-run --data data/share --qm badge --regime low --seed 2",
        "or rank what is common to all: --allow-incomplete",
    ]


def test_allow_incomplete_takes_the_common_seeds(tmp_path, after_aulc) -> None:
    done = after_aulc(without(("share", "low", True), "badge", 1), "--allow-incomplete")
    assert done.exit_code == 0
    assert "Missing: 1 run; what is common to the rest is ranked." in done.stdout
    found = tables.RankTable.read(tmp_path / "results/rank.yaml")
    assert [block.seeds for block in found.blocks] == [[0, 1], [0, 1, 2]]
    assert found.blocks[0].scores["badge"] == pytest.approx(0.15)
    assert "2 blocks of 2 to 3 seeds" in words(done.stdout)


def test_a_missing_method_is_named_with_all_its_seeds(after_aulc) -> None:
    done = after_aulc(without(("share", "low", True), "kcg"))
    assert [line.partition(" (")[0] for line in done.stderr.splitlines()] == [
        *(f"{start}runs/share/low/kcg lacks seed {seed}" for seed, start in enumerate(("error: ", "", ""))),
        "or rank what is common to all: --allow-incomplete",
    ]


def test_allow_incomplete_takes_the_common_methods(tmp_path, after_aulc) -> None:
    done = after_aulc(without(("share", "low", True), "kcg"), "--allow-incomplete")
    assert done.exit_code == 0
    found = tables.RankTable.read(tmp_path / "results/rank.yaml")
    assert found.methods == ["badge", "random"]
    assert found.sums["low"] == {"badge": 4, "random": 2}


def test_a_missing_regime_is_named(after_aulc) -> None:
    scores = {key: {qm: values[:1] for qm, values in of.items()} for key, of in FULL.items()}
    more = {("share", "mid", True): scores["share", "low", True]}
    command = "mmal al-run --data d/one --qm badge --regime low --seed 0 --with quick"
    done = after_aulc(scores | more, command=command)
    assert (
        "runs/synergy/mid/kcg lacks seed 0 (synergy has low, others have mid); "
        "run it: mmal al-run --data d/one --qm kcg --regime mid --seed 0 --with quick\n"
    ) in done.stderr
    done = after_aulc(scores | more, "--allow-incomplete")
    assert "sums can go from 2 to 6 (low), 1 to 3 (mid)" in words(done.stdout)


def test_many_missing_runs_are_counted(after_aulc) -> None:
    many = {f"m{n:02}": [0.1] for n in range(20)}
    done = after_aulc({("share", "low", True): many, ("synergy", "low", True): {"m00": [0.1]}})
    assert "and 7 more missing runs" in done.stderr


def test_nothing_in_common(tmp_path) -> None:
    block = ranks.Block("share", "low", True, "b", {"kcg": {0: 0.1}, "bald": {1: 0.2}})
    with pytest.raises(UserError, match=r"share low: the query methods have no seed in common \(bald 1, kcg 0\)"):
        complete.common([block])
    with pytest.raises(UserError, match="no query method in common"):
        complete.common([block, ranks.Block("share", "mid", True, "b", {"grace": {0: 0.1}})])


def block(regime, **scores) -> ranks.Block:
    return ranks.Block("synergy", regime, False, "b", scores)


def test_blocks_that_cannot_be_ranked_are_left_out_and_named() -> None:
    whole = block("low", kcg={0: 0.1, 1: 0.2}, bald={0: 0.2})
    lonely, apart = block("mid", badge={0: 0.1}), block("high", kcg={0: 0.1}, bald={1: 0.2})
    found, left_out = complete.usable([whole, lonely, apart])
    assert found == [whole]
    assert left_out == [
        "synergy mid is left out: it has badge alone, a ranking takes two query methods.",
        "synergy high is left out: its query methods have no seed in common (bald 1, kcg 0).",
    ]
    assert complete.usable([whole]) == ([whole], [])
    assert complete.usable([lonely]) == ([], left_out[:1])
    with pytest.raises(UserError, match="no block is left to rank"):
        complete.common([])


REGIMES = {(dataset, regime, dataset == "share"): of for (dataset, *_), of in FULL.items() for regime in ("low", "mid")}


def test_an_interrupted_sweep_is_ranked(tmp_path, after_aulc) -> None:
    done = after_aulc(REGIMES | {("synergy", "high", False): {"badge": [0.1]}}, "--allow-incomplete", "--stats")
    assert done.exit_code == 0, done.stderr
    shown = words(done.stdout)
    # share high 3 x 1 (as many seeds as its first regime has), synergy high 2 methods x 1 seed
    assert "Missing: 11 runs and 2 blocks; what is common to the rest is ranked. Without any run: share high." in shown
    assert "synergy high is left out: it has badge alone, a ranking takes two query methods." in shown
    found = tables.RankTable.read(tmp_path / "results/rank.yaml")
    assert [(b.regime, b.dataset, b.seeds) for b in found.blocks] == [
        (regime, dataset, [0, 1, 2]) for regime in ("low", "mid") for dataset in ("share", "synergy")
    ]
    assert found.methods == ["badge", "kcg", "random"]
    assert len(found.made["notes"]) == 3


def test_methods_that_are_not_in_all_blocks_are_named(after_aulc) -> None:
    done = after_aulc(without(("share", "low", True), "random"), "--allow-incomplete", "--stats")
    shown = words(done.stdout)
    assert "Missing: 3 runs; what is common to the rest is ranked. Not in all blocks, so not ranked: random." in shown
    assert "random is not ranked, so methods are compared with badge." in shown
    assert "Differences of AULC to badge" in shown


def test_nothing_that_can_be_ranked(after_aulc) -> None:
    done = after_aulc({("share", "low", True): {"kcg": [0.1]}, ("synergy", "low", True): {"bald": [0.1]}}, "--allow-incomplete")
    assert done.exit_code == 3
    assert done.stderr.splitlines() == [
        "error: no block can be ranked",
        "share low is left out: it has kcg alone, a ranking takes two query methods.",
        "synergy low is left out: it has bald alone, a ranking takes two query methods.",
    ]


GRID = "{datasets: {share: null, synergy: null}, regimes: [low, mid], qms: [badge, random], moddrop: [true], seeds: [0, 1, 2]}"


def test_cells_of_the_grid_that_have_not_run_are_counted(tmp_path, invoke) -> None:
    (tmp_path / "mine.yaml").write_text(GRID)
    scores = {("share", "low", moddrop): {"badge": [0.1, 0.2], "random": [0.2, 0.4]} for moddrop in (True, False)}
    fake_runs.write(tmp_path / "runs", *fake_runs.grid(scores))
    assert invoke("aulc", "runs", "--grid", "mine.yaml").exit_code == 0
    shown = words(invoke("rank", "--allow-incomplete").stdout)
    assert "Missing: 20 runs and 3 blocks; what is common to the rest is ranked." in shown  # a seed of share low too
    assert "Without any run: share mid; synergy low mid." in shown
    only = words(invoke("rank", "--dataset", "share").stdout)
    assert "Missing: 8 runs and 1 block; " in only
    assert "synergy" not in only
    assert json.loads(invoke("rank", "--json").stdout)["made"]["notes"][1] == "Without any run: share mid; synergy low mid."
    assert "Without any run: share mid" in invoke("rank", "--format", "csv").stderr
    assert invoke("aulc", "runs").exit_code == 0  # without a grid nothing is known to be missing
    assert "Missing" not in invoke("rank").stdout


@pytest.mark.parametrize(
    "options", [[], ["--stats"], ["--weak", "share=a", "--dataset", "share", "--stats", "--against", "kcg"]]
)
def test_the_command_in_the_file_makes_the_file(tmp_path, after_aulc, invoke, options) -> None:
    after_aulc(without(("share", "low", True), "badge", 1), "--allow-incomplete", *options)
    made = tables.RankTable.read(tmp_path / "results/rank.yaml")
    mmal, *again = shlex.split(made.made["command"])
    assert mmal == "mmal"
    assert invoke(*again, "--out", "again.yaml").exit_code == 0
    found = tables.RankTable.read(tmp_path / "again.yaml")
    assert found.model_dump(exclude={"made"}) == made.model_dump(exclude={"made"})
