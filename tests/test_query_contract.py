"""Every file in queries/ keeps the contract, on plain views and on those that break careless methods."""

from dataclasses import replace

import pytest
import torch
from views import ask as ask_with
from views import chance, each_tensor, make_view, rows

from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError
from mmal_cli.pool import Predictions

OPTIONS = {"batchbald": {"samples": 200}}  # what makes a method faster than its default
METHODS = plugins.names("queries")
WITHOUT_CHANCE = {"entropy", "bald", "kcg", "varratio"}
FIELDS = {"logits", "embeddings", "passes", "subset_logits", "subset_embeddings", "labelled"}


def ask(name, view, size, seed=0):
    return ask_with(name, view, size, seed, **OPTIONS.get(name, {}))


def edge_views():
    """The views that break careless methods, by what is special about them."""
    plain = make_view()
    loud = each_tensor(plain.unlabelled, lambda tensor, dim: 1e4 * tensor.sign() if tensor.shape[-1] == 5 else tensor)
    flat = each_tensor(plain.unlabelled, lambda tensor, dim: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor)
    doubles = each_tensor(plain.unlabelled, lambda tensor, dim: tensor if tensor.dtype != torch.float32 else tensor.double())
    copies = replace(rows(plain, torch.arange(40) // 8), present=plain.present)
    copies = replace(copies, unlabelled=replace(copies.unlabelled, index=plain.unlabelled.index))
    return {
        "two modalities": plain,
        "one modality": make_view(modalities=("a",)),
        "three modalities": make_view(modalities=("a", "b", "c")),
        "two classes": make_view(classes=2),
        "two classes, one modality": make_view(classes=2, modalities=("a",)),
        "absent modalities": make_view(modalities=("a", "b", "c"), absent=0.5, seed=3),
        "one modality, sometimes absent": make_view(modalities=("a",), absent=0.3),
        "nothing present": make_view(absent=1.0),
        "eight copies of five samples": copies,
        "saturated softmax": replace(plain, unlabelled=loud),
        "all equal": replace(plain, unlabelled=flat),
        "float64": replace(plain, unlabelled=doubles),
        "one labelled sample": make_view(labelled=1),
        "one sample": make_view(samples=1),
        "a run of one query": make_view(cycle=0, cycles=2),
        "first query": make_view(cycle=0),
        "last query": make_view(cycle=8),
    }


VIEWS = edge_views()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_needs_and_where_it_comes_from(name):
    method = plugins.load("queries", name, "query method", "query")
    assert isinstance(method.NEEDS, set)
    assert method.NEEDS <= FIELDS
    assert "Cost:" in method.__doc__


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("name", METHODS)
def test_exactly_size_distinct_samples_of_the_pool(name, kind):
    view = VIEWS[kind]
    n = len(view.unlabelled.index)
    for size in {1, min(7, n), n}:
        assert len(ask(name, view, size)) == size  # `checked` holds the rest
    assert sorted(ask(name, view, n)) == view.unlabelled.index.tolist()


@pytest.mark.parametrize("name", METHODS)
def test_chance_comes_from_the_generator_only(name):
    view = make_view(samples=60)
    torch.manual_seed(0)
    first = ask(name, view, 20, seed=1)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert ask(name, view, 20, seed=1) == first
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)
    if name in WITHOUT_CHANCE:
        assert ask(name, view, 20, seed=2) == first
    else:
        assert ask(name, view, 20, seed=2) != first


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_the_pool_means_nothing(name):
    view = make_view(samples=60, absent=0.2)
    moved = rows(view, torch.randperm(60, generator=chance(4)))
    if name in WITHOUT_CHANCE:
        assert ask(name, moved, 20) == ask(name, view, 20)
    else:
        assert len(ask(name, moved, 20)) == 20


@pytest.mark.parametrize("name", METHODS)
def test_inputs_stay_as_they_are(name):
    for kind in ("two modalities", "float64", "absent modalities"):
        view = VIEWS[kind]
        kept = [each_tensor(one, lambda tensor, dim: tensor.clone()) for one in (view.unlabelled, view.labelled)]
        present = view.present.clone()
        ask(name, view, 10)
        for before, after in zip(kept, (view.unlabelled, view.labelled), strict=True):
            assert_same(before, after)
        assert torch.equal(view.present, present)


def assert_same(before: Predictions, after: Predictions):
    for field in ("index", "logits", "embeddings", "passes"):
        assert torch.equal(getattr(before, field), getattr(after, field))
    for field in ("subset_logits", "subset_embeddings"):
        for subset, tensor in getattr(before, field).items():
            assert torch.equal(tensor, getattr(after, field)[subset])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", METHODS)
def test_numbers_that_are_not_finite_are_an_error(name, value):
    method = plugins.load("queries", name, "query method", "query")
    view = make_view()

    def poison(tensor, dim):
        tensor = tensor.clone()
        if tensor.is_floating_point():
            tensor.transpose(0, dim)[3, ..., 0] = value
        return tensor

    bad = each_tensor(view.unlabelled, poison)
    for field in method.NEEDS - {"labelled"}:
        poisoned = replace(view, unlabelled=replace(view.unlabelled, **{field: getattr(bad, field)}))
        with pytest.raises(UserError, match="not finite, the first at"):
            ask(name, poisoned, 5)
    if "labelled" in method.NEEDS:
        with pytest.raises(UserError, match=r"of the labelled samples: 1 of 42 values are not finite, the first at \(3, 0\)"):
            ask(name, replace(view, labelled=each_tensor(view.labelled, poison)), 5)
