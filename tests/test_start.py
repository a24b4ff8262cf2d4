"""Where runs start: validation and start set by the seed alone, balanced, and budgets that a dataset does not have."""

import pytest
import tiny
import torch

from mmal_cli.cell import Cell
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.start import pick, start


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
    chosen = pick(order, labels, 8, balanced=True, classes=3)
    assert sorted(torch.bincount(labels[chosen]).tolist()) in ([2, 2, 4], [2, 3, 3])
    assert len(chosen.unique()) == 8
    assert pick(order, labels, 8, balanced=False, classes=3).equal(order[:8])


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
