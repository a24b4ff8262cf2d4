"""Variation ratio: asks for the samples whose likeliest class is least likely (Freeman 1965; Gal et al. 2017, section 3).

Score: 1 - max_c p_c, p from a float64 softmax, with Monte Carlo passes their mean. Equal scores: the lowest train position
first [ours].
Cost: time and memory n C.
"""

import torch
from torch import Tensor

from mmal_cli.gradients import finite
from mmal_cli.pool import PoolView, top

NEEDS: set[str] = {"logits"}


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions, the least likely of their likeliest classes first; without chance."""
    likeliest = finite(view.unlabelled.logits, "logits").double().softmax(dim=1).amax(dim=1)
    return view.unlabelled.index[top(-likeliest, size)]
