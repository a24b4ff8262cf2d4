"""How much longer than entropy's does a bald query take, the pool's prediction with 50 dropout masks and all?"""

from collections.abc import Callable
from statistics import median

import torch

from mmal_cli.bench import step
from mmal_cli.bench._turns import in_turns
from mmal_cli.core.seeds import Chance, generator
from mmal_cli.loop import view_of
from mmal_cli.method import load_method
from mmal_cli.model import build
from mmal_cli.pool import Pool
from mmal_cli.predict import dropout_masks
from mmal_cli.train import Fitted

PICKS, ROUNDS = 50, 5
PEER, PEER_PASSES = "bald, the network run for each pass", 2  # timed of 50


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Scores the same pool with the same network in turns; the encoders run once whatever the number of passes.

    The reference runs the whole network for each pass, as peers do; two passes are timed and stand for all.
    """
    data, chosen = step.split().to(step.device()), step.settings()
    model = build(data.modalities, data.classes, chosen, chosen.model.mc_dropout, seed=0).eval().to(step.device())
    fitted, pool = Fitted(model, 0, {}), Pool(len(data.labels), torch.arange(1))
    pool.label(torch.arange(1, 101))
    masks = dropout_masks(model, chosen, Chance(0, 0))

    def ask(name: str, masks: torch.Tensor | None) -> torch.Tensor:
        method = load_method(name, {})
        view = view_of(fitted, data, pool, method.needs, masks, 0, 10)
        return method.query(view, PICKS, generator(0, "query"))

    ways = {
        "entropy": lambda: ask("entropy", None),
        "bald": lambda: ask("bald", masks),
        PEER: lambda: [ask("entropy", None) for _ in range(PEER_PASSES)],
    }
    seconds = {way: median(found) for way, found in in_turns(ways, ROUNDS, on_progress).items()}
    seconds[PEER] *= len(masks) / PEER_PASSES
    return [
        {"query": way, "s": round(s, 3), "times entropy": round(s / seconds["entropy"], 2), "pool": len(data.labels) - 101}
        for way, s in seconds.items()
    ]
