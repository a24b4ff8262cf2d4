"""Every file in queries/ keeps what `mmal check-query` does not ask of it: documents, float64, words of an error."""

from dataclasses import replace

import pytest
import torch
from views import ask

from mmal_cli.checking._views import copied, make_view, tensors
from mmal_cli.checking.edges import poisoned
from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError
from mmal_cli.pool import KNOWN_NEEDS, each_tensor

METHODS = plugins.names("queries")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_needs_and_where_it_comes_from(name):
    method = plugins.load("queries", name, "query method", "query")
    assert isinstance(method.NEEDS, set)
    assert method.NEEDS <= KNOWN_NEEDS
    assert "Cost:" in method.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_predictions_in_float64_are_read_as_well_and_stay_as_they_are(name):
    view = make_view(classes=3)
    view = replace(view, unlabelled=each_tensor(view.unlabelled, lambda x, dim: x.double() if x.is_floating_point() else x))
    before = tensors(copied(view))
    for size in (1, 7, 40):
        ask(name, view, size, **({"samples": 200} if name == "batchbald" else {}))
    assert all(torch.equal(before[place], tensor) for place, tensor in tensors(view).items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", METHODS)
def test_an_error_says_how_many_numbers_are_not_finite_and_where(name, value):
    needs, view = plugins.load("queries", name, "query method", "query").NEEDS, make_view()
    for field in needs - {"labelled"}:
        with pytest.raises(UserError, match="not finite, the first at"):
            ask(name, replace(view, unlabelled=poisoned(view.unlabelled, field, value)), 5)
    if "labelled" in needs:
        with pytest.raises(UserError, match=r"of the labelled samples: 1 of 42 values are not finite, the first at \(3, 0\)"):
            ask(name, replace(view, labelled=poisoned(view.labelled, "embeddings", value)), 5)
