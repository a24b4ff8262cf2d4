"""Processes that make chunks ahead of the one that writes them; the results come in order, and memory stays bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

AHEAD = 2  # chunks for each process, made or in the making, that wait to be written

InOrder = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(jobs: int) -> Iterator[InOrder]:
    """Gives `in_order(make, tasks)`, which yields make(*task) for each task, in the order of the tasks.

    `make` must be a function of a module. The processes start with the first task; with one job all is done here.
    """
    if jobs == 1:
        yield lambda make, tasks: (make(*task) for task in tasks)
        return
    # spawn: a fork would copy the locks of threads that other libraries have started
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_obey_parent)
    try:
        yield lambda make, tasks: _ahead(pool, make, tasks, AHEAD * jobs)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing more is begun


def _ahead(pool: ProcessPoolExecutor, make: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], most: int) -> Iterator[Any]:
    waiting = deque()
    for task in tasks:
        with held_back(signal.SIGINT):  # processes that start here hold it back until they obey their parent
            waiting.append(pool.submit(make, *task))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def held_back(number: signal.Signals) -> Iterator[None]:
    """A signal that comes meanwhile comes afterwards, in this thread and in processes started by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_parent() -> None:
    """Leaves Ctrl-C to the parent, and dies when the parent is gone, be it by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (wait([parent]), os._exit(1)), daemon=True).start()
