"""BALD: asks where the Monte Carlo dropout passes are certain but disagree (Houlsby et al. 2011; Gal et al. 2017, section 3).

Score: I = H(mean_k p_k) - mean_k H(p_k) in nats, in [0, log C], p from a float64 log-softmax.
Ours: rounding below 0 is 0; equal scores: the lowest train position first.
Cost: time K n C; memory 6 MiB however large the pool is, and a few n.
"""

import torch
from torch import Tensor

from mmal_cli.pool import PoolView, in_parts, top

NEEDS: set[str] = {"passes"}

NUMBERS_AT_ONCE = 2**18  # of passes, turned to float64 at a time: bounds memory and stays in cache, changes no result


def mutual_information(passes: Tensor) -> Tensor:
    """What the dropout mask tells of the class; logits (K, n, C) -> (n,) nats, not negative."""
    log_p = passes.double().log_softmax(dim=2)
    p = log_p.exp()
    total = torch.special.entr(p.mean(dim=0)).sum(dim=1)  # entr(0) is 0
    return (total + p.mul_(log_p).sum(dim=2).mean(dim=0)).clamp_(min=0)


def scores(passes: Tensor) -> Tensor:
    """The same, a part of the samples at a time: logits (K, n, C) -> (n,) float64."""
    samples = max(1, NUMBERS_AT_ONCE // (passes.shape[0] * passes.shape[2]))
    return in_parts(mutual_information, passes, samples, dim=1)


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions of the highest scores, the highest first; without chance."""
    return view.unlabelled.index[top(scores(view.unlabelled.passes), size).cpu()]
