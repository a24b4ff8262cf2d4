"""BADGE: asks for samples whose gradients are large and differ from each other (Ash et al. 2020, algorithm 1).

g = (p - onehot(argmax p)) (x) h is the gradient of the cross-entropy with the predicted class by the last weight matrix, h the
fused embedding; k-means++ over g. As in the authors' code: no gradient of the bias, the largest gradient comes first,
labelled samples are no centres. Ours: h of a multimodal model is the fused embedding (the benchmark's paper does not say), and
once all samples left equal chosen ones the rest is drawn uniformly, with a warning.
Cost: size passes over n (C + D) numbers in float32; memory n (C + D) in float32 and n C in float64, never n C D.
"""

import torch
from torch import Tensor

from mmal_cli.gradients import kmeans_plus_plus, residual
from mmal_cli.pool import PoolView

NEEDS: set[str] = {"logits", "embeddings"}


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions in order of choice."""
    pool = view.unlabelled
    return pool.index[kmeans_plus_plus(residual(pool.logits), pool.embeddings, size, rng)]
