"""Are the tensors that a method sees bit for bit the same afterwards?"""

from collections.abc import Iterator

from torch import Tensor

from mmal_cli.checking._asking import Row, Subject, Wrong, ask_with, examined
from mmal_cli.checking._views import copied, lend, make_view, tensors
from mmal_cli.method import Method

PLACE = 4


def rows(subject: Subject) -> Iterator[Row]:
    """With all modalities and with some absent, in one row."""
    yield examined("inputs untouched", lambda: _untouched(subject.method))


def _untouched(method: Method) -> str:
    for absent in (0.0, 0.5):
        lent = copied(lend(make_view(absent=absent), method.needs))
        before = tensors(copied(lent))
        ask_with(method, lent, 10)
        after = tensors(lent)
        for place in sorted(before.keys() | after.keys()):
            _same(place, before.get(place), after.get(place))
    return f"{len(before)} tensors"


def _same(place: str, before: Tensor | None, after: Tensor | None) -> None:
    """Raises Wrong at what differs: a tensor that was put in or taken out, its shape or type, its first other number."""
    if before is None or after is None or (before.shape, before.dtype) != (after.shape, after.dtype):
        found, was = (f"{one.dtype} of shape {tuple(one.shape)}" if one is not None else "nothing" for one in (after, before))
        raise Wrong(f"{place}: found {found}, expected {was} as before the query")
    if not before.equal(after):
        first = (before != after).nonzero()[0].tolist()
        was, found = (one[tuple(first)].item() for one in (before, after))
        raise Wrong(f"{place}, first at {tuple(first)}: found {found:.6g}, expected {was:.6g} as before the query")
