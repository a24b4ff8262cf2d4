"""The labelled mask, the ranking of scores and the check of a selection: errors by their text, order by brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmal_cli.checking._views import make_view
from mmal_cli.core.errors import UserError
from mmal_cli.pool import Pool, checked, top


@pytest.fixture
def pool():
    pool = Pool(10, barred=torch.tensor([8, 9]))
    pool.label(torch.tensor([4, 1]))
    return pool


def test_labelling_moves_samples_and_validation_is_in_neither_part(pool):
    assert pool.labelled_index.tolist() == [1, 4]
    assert pool.unlabelled_index.tolist() == [0, 2, 3, 5, 6, 7]
    pool.label(torch.tensor([], dtype=torch.int64))
    assert pool.labelled_index.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([2, 2, 3]), "1 of 3 indices are repeated"),
        (torch.tensor([2, 4]), "1 of 2 indices are not in the pool, the first is 4"),
        (torch.tensor([2, 9, 8]), "2 of 3 indices are not in the pool, the first is 9"),
        (torch.tensor([0, 10]), "indices reach from 0 to 10, expected 0 to 9"),
        (torch.tensor([-1, 0]), "indices reach from -1 to 0, expected 0 to 9"),
        (torch.tensor([[2]]), "indices are torch.int64 of shape (1, 1), expected int64 of shape (size,)"),
        (torch.tensor([2.0]), "indices are torch.float32 of shape (1,), expected int64 of shape (size,)"),
    ],
)
def test_labelling_refuses_and_changes_nothing(pool, indices, message):
    with pytest.raises(ValueError, match="indices") as error:
        pool.label(indices)
    assert str(error.value) == message
    assert pool.labelled_index.tolist() == [1, 4]


def test_top_takes_the_lowest_position_first_among_equals():
    assert top(torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0]), 4).tolist() == [1, 3, 2, 4]
    assert top(torch.zeros(100), 5).tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.data())
def test_top_is_a_stable_sort(scores, data):
    size = data.draw(st.integers(1, len(scores)))
    expected = sorted(range(len(scores)), key=lambda position: (-scores[position], position))[:size]
    assert top(torch.tensor(scores, dtype=torch.float64), size).tolist() == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_top_refuses_scores_that_are_not_finite(value):
    with pytest.raises(UserError) as error:
        top(torch.tensor([0.0, value, 1.0, value]), 1)
    assert str(error.value) == "2 of 4 scores are not finite, the first at position 1"


def test_checked_returns_the_selection_in_its_order():
    view = make_view()
    selected = view.unlabelled.index[[5, 2, 9]]
    assert checked(selected, view, 3, "mine").tolist() == selected.tolist()


def wrong_selections():
    """What a method could hand back by mistake, and the message after the place."""
    index = make_view().unlabelled.index
    outside = make_view().labelled.index[:1]
    kinds = "expected an int64 tensor of shape (3,)"
    sets = "expected 3 distinct indices of the pool"
    return [
        ([1, 2, 3], f"returned list, {kinds}"),
        (torch.zeros(3), f"returned torch.float32 of shape (3,), {kinds}"),
        (index[:3, None], f"returned torch.int64 of shape (3, 1), {kinds}"),
        (index[:2], f"returned 2 indices, 2 distinct, 0 of them outside the pool; {sets}"),
        (index[:4], f"returned 4 indices, 4 distinct, 0 of them outside the pool; {sets}"),
        (index[[0, 1, 1]], f"returned 3 indices, 2 distinct, 0 of them outside the pool; {sets}"),
        (torch.cat([index[:2], outside]), f"returned 3 indices, 3 distinct, 1 of them outside the pool; {sets}"),
    ]


@pytest.mark.parametrize(("selected", "message"), wrong_selections())
def test_checked_says_what_was_found_and_what_was_expected(selected, message):
    with pytest.raises(UserError) as error:
        checked(selected, make_view(), 3, "mine")
    assert str(error.value) == f"query method mine, cycle 1: {message}"
