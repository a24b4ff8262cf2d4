"""BMMAL: BADGE, but a sample that one modality decides alone counts for less (Shen et al. 2023, arXiv 2306.08306).

Theirs (paper and code, M = 2): d_m is the Shapley value of modality m for the probability of the predicted class, phi_m =
|d_m| / sum |d|; the strongest modality's block of the gradient has scale 1, a weaker one's 1 - (max phi - phi_m): the weak
block shrinks, so a lopsided sample has a small gradient and a balanced one the full one. g = a (x) [scale_m z_m]_m, a the
residual of the full prediction; k-means++ over g as in BADGE.
Ours: any M, by exact Shapley values over all 2^M coalitions; z_m is the fused embedding with modality m alone (their
mid-fusion variant), coalitions are made by absent modalities as in training; phi = 1/M where all d are 0; z_m = 0 for a
modality that the sample lacks. With one modality this is BADGE.
Cost: size passes over n (C + M D) numbers in float32; memory n (C + M D) in float32 and in float64. The model pays 2^M passes
of the fusion.
"""

from collections.abc import Mapping
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from mmal_cli.gradients import finite, kmeans_plus_plus, residual
from mmal_cli.pool import PoolView, Subset

NEEDS: set[str] = {"subset_logits", "subset_embeddings"}


def shapley(values: Mapping[Subset, Tensor], modalities: Subset) -> Tensor:
    """Exact Shapley values: how much each modality adds, averaged over all orders of adding them; -> (n, M).

    Args:
        values: coalition -> (n,), all 2^M of them, () among them.

    Cost: time and memory n 2^M M.
    """
    columns = []
    for name in modalities:
        others = [other for other in modalities if other != name]
        column = torch.zeros_like(values[()])
        for size in range(len(modalities)):
            for coalition in combinations(others, size):
                joined = tuple(other for other in modalities if other == name or other in coalition)
                column += (values[joined] - values[coalition]) / (len(modalities) * comb(len(others), size))
        columns.append(column)
    return torch.stack(columns, dim=1)


def scales(contributions: Tensor) -> Tensor:
    """1 for the strongest modality, 1 - (max phi - phi_m) for the others; Shapley values (n, M) -> (n, M) in [0, 1]."""
    size = contributions.abs()
    total = size.sum(dim=1, keepdim=True)
    phi = torch.where(total > 0, size / total.where(total > 0, 1.0), 1 / size.shape[1])
    return 1 - (phi.amax(dim=1, keepdim=True) - phi)


def balanced(view: PoolView) -> Tensor:
    """The concatenated blocks scale_m z_m, float64 (n, M D); what stands for h in the gradient embedding."""
    pool, names = view.unlabelled, view.modalities
    best = pool.subset_logits[names].argmax(dim=1, keepdim=True)
    chance = {}
    for subset, logits in pool.subset_logits.items():
        log_p = finite(logits, f"logits of {'+'.join(subset) or 'no modality'}").double().log_softmax(dim=1)
        chance[subset] = log_p.gather(1, best).flatten().exp()
    scale = scales(shapley(chance, names)) * view.present.to(best.device)
    width = pool.subset_embeddings[names].shape[1]
    h = torch.empty(len(scale), len(names) * width, dtype=torch.float64, device=scale.device)
    for column, name in enumerate(names):
        z = finite(pool.subset_embeddings[(name,)], f"embeddings of {name}")
        h[:, column * width : (column + 1) * width].copy_(z).mul_(scale[:, column : column + 1])
    return h


def query(view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """(size,) int64 train positions in order of choice."""
    pool = view.unlabelled
    a = residual(pool.subset_logits[view.modalities])
    return pool.index[kmeans_plus_plus(a, balanced(view), size, rng)]
