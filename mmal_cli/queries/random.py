"""Random: asks for samples drawn uniformly without replacement, the baseline of every table.

Cost: time and memory n. Nothing here is ours.
"""

import torch
from torch import Tensor

from mmal_cli.pool import PoolView

NEEDS: set[str] = set()


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions; every set of `size` pool samples is equally likely."""
    return view.unlabelled.index[torch.randperm(len(view.unlabelled.index), generator=rng)[:size]]
