"""BALD: asks where the Monte Carlo dropout passes are certain but disagree (Houlsby et al. 2011; Gal et al. 2017, section 3).

Score: I = H(mean_k p_k) - mean_k H(p_k) in nats, in [0, log C]; log mean_k p_k = logsumexp_k log p_k - log K in float64.
Ours: rounding below 0 is 0; equal scores: the lowest train position first.
Cost: time K n C; memory 48 MB however large the pool is, and 2 n.
"""

import math

import torch
from torch import Tensor

from mmal_cli.gradients import finite
from mmal_cli.pool import PoolView, top
from mmal_cli.queries.entropy import entropy

NEEDS: set[str] = {"passes"}

NUMBERS_AT_ONCE = 2**21  # of passes, turned to float64 at a time: bounds memory, changes no result


def mutual_information(passes: Tensor) -> Tensor:
    """What the dropout mask tells of the class; logits (K, n, C) -> (n,) nats, not negative."""
    log_p = passes.double().log_softmax(dim=2)
    log_mean = log_p.logsumexp(dim=0) - math.log(len(passes))
    return (entropy(log_mean) - entropy(log_p).mean(dim=0)).clamp(min=0)


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions of the highest scores, the highest first; without chance."""
    passes = finite(view.unlabelled.passes, "Monte Carlo logits")
    samples = max(1, NUMBERS_AT_ONCE // (passes.shape[0] * passes.shape[2]))
    scores = torch.cat([mutual_information(chunk) for chunk in passes.split(samples, dim=1)])
    return view.unlabelled.index[top(scores, size).cpu()]
