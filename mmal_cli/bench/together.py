"""How many pairs a second do several runs at once train on one device, beside one run by itself?"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch

from data_recipes.workers import cores
from mmal_cli.bench import step
from mmal_cli.bench._turns import beside, in_turns

AT_ONCE = (2, 4, 8)  # on a GPU; on a CPU one for each core
ROUNDS = 5


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each number of runs: the step of `mmal bench step` in so many processes, in turns with one process alone.

    On a CPU they share its cores: one run has a thread for each, one of many its share of them.
    """
    on_cpu = step.device().type == "cpu"
    several = [cores()] if on_cpu else AT_ONCE
    with ExitStack() as stack:
        alone, *team = (stack.enter_context(step.process()) for _ in range(1 + max(several)))
        threads = max(1, cores() // max(several)) if on_cpu else 1

        def train(runs: int) -> None:
            for epoch in [one.submit(ours, threads) for one in team[:runs]]:
                epoch.result()

        ways = {1: lambda: alone.submit(step.ours).result()} | {runs: partial(train, runs) for runs in several}
        seconds = in_turns(ways, ROUNDS, on_progress)
    return [
        {"device": str(step.device()), "runs at once": runs}
        | beside([s / runs for s in seconds[runs]], seconds[1], "pairs/s", lambda s: step.BATCH * step.STEPS / s)
        for runs in several
    ]


def ours(threads: int) -> float:
    """An epoch in a process of so many threads."""
    torch.set_num_threads(threads)
    return step.ours()
