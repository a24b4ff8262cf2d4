"""Are the tensors that a method sees bit for bit the same afterwards?"""

from collections.abc import Iterator

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
        for place, after in tensors(lent).items():
            if not before[place].equal(after):
                first = (before[place] != after).nonzero()[0].tolist()
                was, found = (one[tuple(first)].item() for one in (before[place], after))
                raise Wrong(f"{place}, first at {tuple(first)}: found {found:.6g}, expected {was:.6g} as before the query")
    return f"{len(before)} tensors"
