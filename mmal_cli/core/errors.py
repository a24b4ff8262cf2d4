"""The one exception meant for people: a message with place, found, expected and the command that helps."""

import difflib
from collections.abc import Iterable

WRONG_USE = 2
BAD_DATA = 3


class UserError(Exception):
    """Ends the command with `code` and the message alone, no traceback; raised anywhere, caught once in `app.py`."""

    def __init__(self, message: str, code: int = WRONG_USE) -> None:
        super().__init__(message)
        self.code = code


def install(extra: str) -> str:
    """Where and by what command an extra of mmal's is installed: the end of a message."""
    return f"in mmal's folder: .venv/bin/python -m pip install -e '.[{extra}]'"


def lines(messages: Iterable[str]) -> str:
    """Several messages as one, each on a line of its own, below one another behind `error: `."""
    return "\n       ".join(messages)


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a list: it shows the list and the nearest name."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {what} {name!r}{hint} (known: {', '.join(known) or 'none'})")
