"""Does a method give exactly as many distinct samples of the pool as it is asked for?"""

from collections.abc import Iterator

from mmal_cli.checking._asking import Row, Subject, Wrong, ask, examined
from mmal_cli.checking._views import make_view
from mmal_cli.core.errors import UserError
from mmal_cli.method import Method

PLACE = 1


def rows(subject: Subject) -> Iterator[Row]:
    """Some of the pool, all of it, and more than there is; the first alone where it fails."""
    plain = examined("exact size, distinct, unlabelled", lambda: _some(subject.method))
    yield plain
    if plain.result == "FAIL":
        return
    yield examined("size = pool", lambda: _all(subject.method))
    yield examined("size > pool", lambda: _more(subject.method))


def _some(method: Method) -> str:
    view = make_view(classes=3)
    sizes = (1, 7, 20)
    for size in sizes:
        ask(method, view, size)
    return f"{', '.join(map(str, sizes))} of {len(view.unlabelled.index)}"


def _all(method: Method) -> str:
    view = make_view(samples=20, classes=3)
    ask(method, view, 20)
    return "20 of 20"


def _more(method: Method) -> str:
    view = make_view(samples=20, classes=3)
    try:
        ask(method, view, 21)
    except Wrong as error:
        raise Wrong(f"{error}; expected a UserError, or a short answer, which ends the run with one") from error
    except UserError:
        return "refused"
    raise AssertionError("the loop's own check lets 21 of 20 pass")
