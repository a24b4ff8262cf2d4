"""Ctrl-C where raising at once could be lost: it is noted, and raised at the next look."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt if Ctrl-C came since.

    Raised where it arrives, it is lost whenever h5py is just freeing an object: Python ignores what is raised in a weak
    reference's callback. A second Ctrl-C does not wait for the next look.
    """
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    def ask(number: int, frame: FrameType | None) -> None:
        check()
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
