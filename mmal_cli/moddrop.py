"""Modality dropout in training: which of its modalities a sample keeps in a step."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmal_cli.core.protocol import ModDrop


def drop_modalities(present: Tensor, settings: ModDrop, rng: torch.Generator) -> Tensor:
    """`present` (B, M) on the CPU after modality dropout (Neverova et al. 2016), each sample by itself; one always stays.

    Nothing is dropped, and nothing drawn, where it is not enabled.

    `one`: with probability p one of the modalities that the sample has, chosen uniformly, is dropped.
    `bernoulli`: each is dropped with probability p; if none is left, one of them, chosen uniformly, is kept.
    """
    if not settings.enabled:
        return present
    b, m = present.shape
    draws = torch.rand(b, m + 1, generator=rng)
    rank = torch.where(present, draws[:, :m], -1.0)
    chosen = one_hot(rank.argmax(dim=1), m).bool()  # one present modality, uniformly
    if settings.mode == "bernoulli":
        left = present & (torch.rand(b, m, generator=rng) >= settings.p)
        return torch.where(left.any(dim=1, keepdim=True), left, chosen & present)
    drop = (draws[:, m] < settings.p) & (present.sum(dim=1) > 1)
    return present & ~(chosen & drop[:, None])
