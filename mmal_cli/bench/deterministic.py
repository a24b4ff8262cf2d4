"""What does --deterministic cost a training step?"""

from collections.abc import Callable

from mmal_cli.bench import step
from mmal_cli.bench._turns import beside, in_turns
from mmal_cli.device import deterministic

ROUNDS = 5


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """The step of `mmal bench step` without and with it, in turns, each in a process of its own; on a GPU if there is one."""
    with step.process() as one, step.process() as other:
        ways = {"usual": lambda: one.submit(step.ours).result(), "deterministic": lambda: other.submit(same_bits).result()}
        seconds = in_turns(ways, ROUNDS, on_progress)
    return [
        {"device": str(step.device())}
        | beside(seconds["deterministic"], seconds["usual"], "pairs/s", lambda s: step.BATCH * step.STEPS / s)
    ]


def same_bits() -> float:
    """An epoch as al-run --deterministic trains it."""
    with deterministic():
        return step.ours()
