"""Predictive entropy: asks for the samples whose class is least certain (Settles 2009, section 3.1).

Score: H(p) = - sum_c p_c log p_c in nats, p from a float64 log-softmax. Equal scores: the lowest train position first [ours].
Cost: time and memory n C.
"""

import torch
from torch import Tensor

from mmal_cli.pool import PoolView, top

NEEDS: set[str] = {"logits"}


def entropy(log_p: Tensor) -> Tensor:
    """Entropy in nats of log-probabilities, over the last dimension, in [0, log C]."""
    return -(log_p.exp() * log_p).sum(dim=-1)  # finite logits make every log p finite, so 0 log 0 does not arise


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions of the most uncertain samples, the most uncertain first; without chance."""
    log_p = view.unlabelled.logits.double().log_softmax(dim=1)
    return view.unlabelled.index[top(entropy(log_p), size)]
