"""Does a method keep its promise on the views that break careless ones?"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mmal_cli.checking._asking import Row, Subject, Wrong, ask, examined
from mmal_cli.checking._views import make_view
from mmal_cli.checking._views import rows as taken
from mmal_cli.core.errors import UserError
from mmal_cli.method import Method
from mmal_cli.pool import PoolView, Predictions, each_tensor

PLACE = 6
SAMPLES, CLASSES = 20, 3
FIRST, ALL = slice(1), slice(None)  # numbers of a sample


def rows(subject: Subject) -> Iterator[Row]:
    """A row for each kind of view, and one for NaN."""
    for kind, views in edges().items():
        yield examined(kind, lambda views=views: _answers(subject.method, views))
    yield examined("NaN in a prediction", lambda: _refuses(subject.method))


def edges() -> dict[str, list[PoolView]]:
    """Small views by what is special about them."""
    plain = make_view(SAMPLES, CLASSES)
    return {
        "one modality": [make_view(SAMPLES, CLASSES, ("a",)), make_view(SAMPLES, CLASSES, ("a",), absent=0.3)],
        "three modalities, some absent": [make_view(SAMPLES, CLASSES, ("a", "b", "c"), absent=0.5, seed=3)],
        "no modality present": [make_view(SAMPLES, CLASSES, absent=1.0)],
        "two classes": [make_view(SAMPLES, 2), make_view(SAMPLES, 2, ("a",))],
        "duplicates": [_duplicates(plain), _changed(plain, torch.zeros_like)],
        "saturated softmax": [_changed(plain, _one_hot), _changed(plain, _signs)],
        "one labelled sample": [make_view(SAMPLES, CLASSES, labelled=1)],
        "one sample in the pool": [make_view(1, CLASSES)],
        "first and last query": [make_view(SAMPLES, CLASSES, cycle=cycle) for cycle in (0, 8)],
        "a run of one query": [make_view(SAMPLES, CLASSES, cycle=0, cycles=2)],
    }


def _answers(method: Method, views: list[PoolView]) -> str:
    said = []
    for view in views:
        n = len(view.unlabelled.index)
        sizes = sorted({1, min(7, n), n})
        for size in sizes:
            ask(method, view, size)
        said.append(f"{', '.join(map(str, sizes))} of {n}")
    return "; ".join(dict.fromkeys(said))


def _duplicates(view: PoolView) -> PoolView:
    """Five samples, each four times."""
    copies = taken(view, torch.arange(SAMPLES) // 4)
    return replace(copies, unlabelled=replace(copies.unlabelled, index=view.unlabelled.index))


def _changed(view: PoolView, change) -> PoolView:
    """The view with change(tensor) in place of all predictions of the pool."""
    return replace(view, unlabelled=each_tensor(view.unlabelled, lambda x, dim: change(x) if x.is_floating_point() else x))


def _one_hot(x: Tensor) -> Tensor:
    """Logits of p exactly 0 and 1; other tensors as they are."""
    if x.shape[-1] != CLASSES:
        return x
    return torch.full_like(x, -1e4).scatter_(-1, x.argmax(dim=-1, keepdim=True), 1e4)


def _signs(x: Tensor) -> Tensor:
    """Logits of 1e4 and -1e4 as they come; other tensors as they are."""
    return 1e4 * x.sign() if x.shape[-1] == CLASSES else x


def _refuses(method: Method) -> str:
    """A sample that is NaN in anything that the method NEEDS of the pool is to end the run with a message."""
    view, needs = make_view(SAMPLES, CLASSES), sorted(method.needs - {"labelled"})
    for need in needs:
        try:
            ask(method, replace(view, unlabelled=poisoned(view.unlabelled, need, float("nan"), ALL)), 5)
        except Wrong:
            raise
        except UserError:
            continue
        raise Wrong(f"NaN in {need} of one sample, and an answer was given; expected a UserError (pool.top raises it)")
    return f"refused in {', '.join(needs)}" if needs else "the method reads no predictions"


def poisoned(predictions: Predictions, field: str, value: float, numbers: slice = FIRST) -> Predictions:
    """The predictions with a value in some numbers of sample 3, in all that the field holds."""

    def poison(x: Tensor, dim: int) -> Tensor:
        x = x.clone()
        if x.is_floating_point():
            x.transpose(0, dim)[3, ..., numbers] = value
        return x

    return replace(predictions, **{field: getattr(each_tensor(predictions, poison), field)})
