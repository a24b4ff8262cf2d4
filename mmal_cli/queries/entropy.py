"""Predictive entropy: asks for the samples whose class is least certain (Settles 2009, section 3.1).

Score: H(p) = - sum_c p_c log p_c in nats, p from a float64 log-softmax. Equal scores: the lowest train position first [ours].
Cost: time n C; memory 6 MiB however large the pool is, and a few n.
"""

import torch
from torch import Tensor

from mmal_cli.pool import PoolView, in_parts, top

NEEDS: set[str] = {"logits"}

NUMBERS_AT_ONCE = 2**18  # of logits, turned to float64 at a time: bounds memory and stays in cache, changes no result


def entropy(log_p: Tensor) -> Tensor:
    """Entropy in nats of log-probabilities, over the last dimension, in [0, log C]."""
    return -(log_p.exp() * log_p).sum(dim=-1)  # finite logits make every log p finite, so 0 log 0 does not arise


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions of the most uncertain samples, the most uncertain first; without chance."""
    logits = view.unlabelled.logits
    samples = max(1, NUMBERS_AT_ONCE // logits.shape[1])
    return view.unlabelled.index[top(in_parts(lambda some: entropy(some.double().log_softmax(dim=1)), logits, samples), size)]
