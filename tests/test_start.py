"""Where runs start: validation and start set by the seed alone, balanced, and budgets that a dataset does not have."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmal_cli.cell import Cell
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.settings import resolve
from mmal_cli.data import Split, load_split
from mmal_cli.start import by_group, pick, start


def begin(folder, seed=0, qm="random", regime="low", *assignments):
    dataset = Dataset.read(folder / "dataset.yaml")
    mid = [text.replace("low", "mid") for text in tiny.BUDGET]
    settings, _ = resolve(dataset, regime, qm, ["quick"], [*tiny.BUDGET, *mid, *assignments])
    split = load_split(folder, dataset, "train")
    return split, *start(split, Cell(dataset, qm, regime, seed, settings))


def test_start_and_validation_are_balanced_apart_and_the_same_for_all_methods(tiny_data):
    split, pool, validation = begin(tiny_data)
    assert torch.bincount(split.labels[pool.labelled_index]).tolist() == [5, 5, 5]
    assert torch.bincount(split.labels[validation]).tolist() == [5, 5, 5]
    assert not torch.isin(pool.labelled_index, validation).any()
    assert len(pool.unlabelled_index) == 120 - 30
    _, other, again = begin(tiny_data, qm="badge")
    assert other.labelled.equal(pool.labelled)
    assert again.equal(validation)
    assert not begin(tiny_data, seed=1)[1].labelled.equal(pool.labelled)


def test_regimes_of_one_validation_size_share_their_validation(tiny_data):
    assert begin(tiny_data, regime="mid")[2].equal(begin(tiny_data)[2])


def test_a_size_that_classes_do_not_divide_is_filled_from_the_same_order():
    labels = torch.tensor([0, 1, 2] * 10)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    chosen = pick(order, labels, 8, "balanced", classes=3)
    assert sorted(torch.bincount(labels[chosen]).tolist()) in ([2, 2, 4], [2, 3, 3])
    assert len(chosen.unique()) == 8
    assert pick(order, labels, 8, "random", classes=3).equal(order[:8])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("regimes.low.validation=120", r"validation size 120 is not smaller than train with its 120 samples"),
        ("regimes.low.query=31", r"needs 123 train samples \(validation 15, start 15, 3 queries of 31\), tiny has 120"),
    ],
)
def test_budgets_that_the_dataset_does_not_have(tiny_data, assignment, message):
    with pytest.raises(UserError, match=message):
        begin(tiny_data, 0, "random", "low", assignment)


def test_a_class_absent_from_train_is_named(tmp_path):
    tiny.make(tmp_path / "d", train=3, test=8, classes=4)
    with pytest.raises(UserError, match=r"1 of 4 classes have no sample in train, the first: class 3"):
        begin(tmp_path / "d")


def in_groups(samples, groups, classes=2, seed=0, **budget):
    """A split of `samples` without inputs, in that many groups, and where a run on it starts."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % classes
    split = Split(
        (), classes, {}, torch.ones(samples, 0, dtype=torch.bool), labels, torch.randint(groups, (samples,), generator=rng)
    )
    sizes = {"start": 10, "validation": 20, "query": 5, "cycles": 3} | budget
    given = [f"regimes.low.{name}={size}" for name, size in sizes.items()]
    dataset = tiny.described(classes)
    settings, _ = resolve(dataset, "low", "random", ["quick"], [*given, "validation_set=random", "start_set=random"])
    return split, *start(split, Cell(dataset, "random", "low", seed, settings))


@given(seed=st.integers(0, 1000), groups=st.integers(12, 200))
def test_validation_and_pool_never_share_a_group(seed, groups):
    split, pool, validation = in_groups(200, groups, seed=seed)
    inside, outside = split.groups[validation], split.groups[~pool.barred]
    assert len(validation) == 20
    assert not set(inside.tolist()) & set(outside.tolist())
    assert pool.barred.sum() == torch.isin(split.groups, inside).sum()
    sizes = [int((split.groups == group).sum()) for group in inside.unique()]
    assert sum(sizes) - 20 < max(sizes)  # group by group: only the last one is cut
    assert int(pool.labelled.sum()) == 10


def test_one_group_for_each_sample_changes_nothing():
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    assert by_group(order, torch.arange(50).flip(0)).equal(order)
    assert by_group(torch.tensor([3, 0, 2, 1, 4]), torch.tensor([7, 5, 7, 5, 5])).tolist() == [3, 1, 4, 0, 2]


def test_groups_that_leave_too_few_samples():
    message = (
        r"needs 30 train samples \(start 20, 2 queries of 5\), \d+ are left beside the 20 of validation and \d+ of its groups"
    )
    with pytest.raises(UserError, match=message):
        in_groups(60, 3, start=20)
