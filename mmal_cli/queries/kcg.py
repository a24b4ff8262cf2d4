"""KCG, k-centre greedy or core-set: asks for the samples farthest from all labelled ones (Sener & Savarese 2018, algorithm 1).

Each pick is argmax_n min_c |h_n - h_c|, c over all labelled samples and the picks so far; h is the fused embedding, not
normalised. Ours: the lowest train position among equals; a duplicate of a centre can be picked, once; with nothing labelled
the first pick is random.
Cost: size passes over n D numbers in float32, and n L D in matrix products for L labelled samples; memory n D in float32.
"""

import torch
from torch import Tensor

from mmal_cli.gradients import k_centre
from mmal_cli.pool import PoolView

NEEDS: set[str] = {"embeddings", "labelled"}


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions in order of choice; without chance if anything is labelled."""
    return view.unlabelled.index[k_centre(view.unlabelled.embeddings, view.labelled.embeddings, size, rng)]
