"""Diagnostics: Shapley values that are known or follow from its axioms, what queries asked for, and what the loop records."""

import math
from itertools import chain, combinations

import fake_runs
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmal_cli.analysis import diagnostics as d
from mmal_cli.cell import Cell
from mmal_cli.core import shards
from mmal_cli.core.manifest import Asked, Cycle, Dataset, Run
from mmal_cli.core.settings import resolve
from mmal_cli.loop import run_active_learning

THREE = ["a", "b", "c"]
SUBSETS = ["+".join(s) for s in chain.from_iterable(combinations(THREE, size) for size in (1, 2, 3))]
accuracy = st.floats(0, 1)
game = st.fixed_dictionaries({subset: accuracy for subset in SUBSETS})


def test_two_modalities_by_hand():
    phi = d.shapley({"a": 0.5, "b": 0.3, "a+b": 0.9}, ["a", "b"], empty=0.1)
    assert phi == pytest.approx({"a": 0.5, "b": 0.3})  # 1/2 (.4 + .6), 1/2 (.2 + .4)


def test_the_glove_game():
    """c has the one left glove, a and b a right one each (Shapley 1953): 1/6, 1/6, 2/3."""
    worth = {subset: float("c" in subset and len(subset) > 1) for subset in SUBSETS}
    assert d.shapley(worth, THREE, 0.0) == pytest.approx({"a": 1 / 6, "b": 1 / 6, "c": 2 / 3})


@given(game, accuracy)
def test_the_values_add_up_to_what_all_modalities_add(values, empty):
    assert math.fsum(d.shapley(values, THREE, empty).values()) == pytest.approx(values["a+b+c"] - empty, abs=1e-12)


@given(game, accuracy)
def test_the_mean_over_all_orders(values, empty):
    """The definition by orders, which the sum over subsets abbreviates."""
    from itertools import permutations

    added = dict.fromkeys(THREE, 0.0)
    for order in permutations(THREE):
        before, have = empty, set()
        for modality in order:
            have.add(modality)
            now = values["+".join(sorted(have))]
            added[modality] += (now - before) / 6
            before = now
    assert d.shapley(values, THREE, empty) == pytest.approx(added, abs=1e-12)


def test_one_modality_adds_all_and_a_missing_subset_gives_none():
    assert d.shapley({"x": 0.7}, ["x"], 0.5) == pytest.approx({"x": 0.2})
    assert d.shapley({"a": 0.5, "b": 0.3}, ["a", "b"], 0.1) is None
    assert (d.gap({"x": 0.7}, ["x"]), d.synergy({"x": 0.7}, ["x"])) == (None, None)
    assert d.gap({"a": 0.5}, ["a", "b"]) is None
    assert d.synergy({"a": 0.5, "b": 0.3}, ["a", "b"]) is None


def test_gap_and_synergy():
    two = {"a": 0.5, "b": 0.3, "a+b": 0.9}
    assert d.gap(two, ["a", "b"]) == pytest.approx(0.2)
    assert d.synergy(two, ["a", "b"]) == pytest.approx(0.4)
    three = {"a": 0.1, "b": 0.2, "c": 0.3, "a+b": 0.8, "a+c": 0.4, "b+c": 0.5, "a+b+c": 0.7}
    assert d.gap(three, THREE) == pytest.approx(0.2)
    assert d.synergy(three, THREE) == pytest.approx(-0.1)  # a+b alone does better


def test_shares_entropy_and_overlap():
    asked = Asked(present={"a+b": 6, "a": 2}, pool_present={"a": 10, "b": 10, "a+b": 80}, classes=[4, 4, 0])
    assert d.shares(asked) == {"a": (0.25, 0.1), "a+b": (0.75, 0.8), "b": (0.0, 0.1)}
    assert d.entropy([4, 4, 0]) == pytest.approx(math.log(2))
    assert math.copysign(1, d.entropy([5, 0])) == 1.0  # not minus zero
    assert d.entropy([5, 0]) == 0
    assert d.common({1, 2, 3, 4}, {4, 5, 6, 7}) == 0.25
    assert d.jaccard({1, 2, 3}, {2, 3, 4}) == 0.5


def test_a_record_is_read_cycle_by_cycle():
    run = fake_runs.record({"a": [0.2, 0.4], "b": [0.1, 0.2], "a+b": [0.3, 0.5]})
    asked = Asked(present={"a+b": 5}, pool_present={"a": 50, "a+b": 50}, classes=[5] + [0] * 9)
    run = run.model_copy(update={"cycles": [run.cycles[0].model_copy(update={"asked": asked}), run.cycles[1]]})
    found = {(r.cycle, r.measure, r.of): r.value for r in d.read(run)}
    assert found[0, "shapley", "a"] == pytest.approx(0.15)  # chance is .1: 1/2 (.1 + .2)
    assert found[1, "synergy", ""] == pytest.approx(0.1)
    assert found[0, "share_ratio", "a+b"] == 2
    assert found[0, "share_ratio", "a"] == 0
    assert found[0, "entropy", ""] == 0
    assert not [key for key in found if key[0] == 1 and key[1] in ("entropy", "share_ratio")]


def test_records_of_an_older_mmal_have_no_asked_and_are_read():
    old = fake_runs.record({"a": [0.2, 0.4]}).cycles[0].model_dump(mode="json", exclude_none=True)
    assert "asked" not in old
    assert Cycle.model_validate(old).asked is None


def test_the_loop_records_what_its_queries_asked_for(tmp_path):
    data = tmp_path / "tiny"
    tiny.make(data, absent={"a": 0.5})
    dataset = Dataset.read(data / "dataset.yaml")
    assignments = ["train.epochs=1", "train.min_epoch_samples=32", "regimes.low.cycles=3", *tiny.BUDGET]
    settings, _ = resolve(dataset, "low", "random", ["quick"], assignments)
    cell = Cell(dataset, "random", "low", 0, settings)
    run_active_learning(cell, data, tmp_path / "runs", torch.device("cpu"), "mmal al-run")
    folder = cell.folder(tmp_path / "runs")
    run, train = Run.read(folder / "run.yaml"), shards.read_split(data, dataset, "train")
    assert run.cycles[-1].asked is None  # the last cycle asks nothing

    def patterns(index: np.ndarray) -> dict[str, int]:
        names = np.where(train.present[index, 0], np.where(train.present[index, 1], "a+b", "a"), "b").tolist()
        return {name: names.count(name) for name in set(names)}

    for cycle in run.cycles[:-1]:
        arrays, attributes = shards.read_arrays(folder / f"cycle-{cycle.number:02d}.h5")
        taken = np.concatenate([arrays["labelled"], arrays["validation"]])
        pool = np.setdiff1d(np.arange(len(train.label)), taken)
        assert cycle.asked.present == patterns(arrays["selected"])
        assert cycle.asked.pool_present == patterns(pool)
        assert cycle.asked.classes == np.bincount(train.label[arrays["selected"]], minlength=3).tolist()
        assert attributes["cycle"]["asked"] == cycle.asked.model_dump()
