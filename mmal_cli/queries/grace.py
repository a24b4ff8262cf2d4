"""GRACE: BADGE with a curriculum, samples whose modalities agree first (after Li et al. 2024, doi 10.1145/3664647.3681617).

Theirs, as far as it is public (abstract only, no formula, no code): an active value out of gradient magnitude and distance
between samples, balanced over the cycles against an easiness that is the consistency of the modalities.
Ours, all of it, as a formula: the gradient embedding g of BADGE is multiplied by w = (1 - lambda_t) + lambda_t E, then
k-means++. Its start (largest norm) and D^2 law are magnitude and distance. E = 1 - JSD(p_1, .., p_M) / log M over the
predictions from one modality alone, or the share of pairs of them that name the same class. lambda falls from lambda0 at the
first query to 0 at the last: easy samples first, plain BADGE at the end. Samples with fewer than two modalities get the
median E of the complete ones, so that lacking a modality is neither rewarded nor punished. With one modality this is BADGE.
Cost: size passes over n (C + D) numbers in float32; memory n (C + D) in float32 and n C in float64. The model pays M more
passes of the fusion.
"""

import math
from itertools import combinations
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmal_cli.core.errors import UserError, unknown
from mmal_cli.gradients import finite, kmeans_plus_plus, residual
from mmal_cli.pool import PoolView
from mmal_cli.queries.entropy import entropy

NEEDS: set[str] = {"logits", "embeddings", "subset_logits"}

SCHEDULES = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "constant": lambda progress: 1.0,
}


def strength(cycle: int, cycles: int, lambda0: float, schedule: str) -> float:
    """lambda_t of query `cycle` = 0 .. T-1 of a run that makes T = cycles - 1 queries; lambda0 where T is 1."""
    if schedule not in SCHEDULES:
        raise unknown("schedule of grace", schedule, SCHEDULES)
    if not 0 <= lambda0 <= 1:
        raise UserError(f"lambda0 of grace is {lambda0}, expected a number from 0 to 1")
    last = cycles - 2
    return lambda0 * SCHEDULES[schedule](cycle / last if last > 0 else 0.0)


def jsd_easiness(log_p: list[Tensor], present: Tensor) -> Tensor:
    """1 - JSD / log(number of modalities present), JSD = H(mean p) - mean H(p); M times (n, C), (n, M) -> (n,) in [0, 1].

    Where fewer than two modalities are present the value means nothing.
    """
    share = present / present.sum(dim=1, keepdim=True).clamp(min=1)
    mean = sum(q.exp() * share[:, m : m + 1] for m, q in enumerate(log_p))
    inner = sum(entropy(q) * share[:, m] for m, q in enumerate(log_p))
    jsd = torch.special.entr(mean).sum(dim=1) - inner
    return (1 - jsd / present.sum(dim=1).clamp(min=2).log()).clamp(0, 1)


def agreement_easiness(log_p: list[Tensor], present: Tensor) -> Tensor:
    """The share of pairs of present modalities that predict the same class; M times (n, C), (n, M) -> (n,) in [0, 1].

    Where fewer than two modalities are present the value means nothing.
    """
    classes = [q.argmax(dim=1) for q in log_p]
    pairs = list(combinations(range(len(log_p)), 2))
    both = torch.stack([present[:, i] * present[:, j] for i, j in pairs], dim=1)
    same = torch.stack([classes[i] == classes[j] for i, j in pairs], dim=1)
    return (both * same).sum(dim=1) / both.sum(dim=1).clamp(min=1)


EASINESS = {"jsd": jsd_easiness, "agreement": agreement_easiness}


def ease(view: PoolView, kind: str) -> Tensor:
    """E of every pool sample, float64 (n,) in [0, 1]; 1 means that the modalities agree."""
    if kind not in EASINESS:
        raise unknown("easiness of grace", kind, EASINESS)
    logits = [finite(view.unlabelled.subset_logits[(name,)], f"logits of {name}") for name in view.modalities]
    if len(logits) == 1:
        return torch.ones(len(logits[0]), dtype=torch.float64, device=logits[0].device)
    present = view.present.to(logits[0].device).double()
    agree = EASINESS[kind]([one.double().log_softmax(dim=1) for one in logits], present)
    complete = agree[present.all(dim=1)]
    typical = complete.quantile(0.5) if len(complete) else torch.full_like(agree[0], 0.5)
    return torch.where(present.sum(dim=1) >= 2, agree, typical)


def query(
    view: PoolView,
    size: int,
    rng: torch.Generator,
    *,
    lambda0: Annotated[float, Field(ge=0, le=1)] = 1.0,
    schedule: Literal["linear", "cosine", "constant"] = "linear",
    easiness: Literal["jsd", "agreement"] = "jsd",
) -> Tensor:
    """(size,) int64 train positions in order of choice.

    Args:
        lambda0: strength of the curriculum at the first query, 0 (BADGE) to 1.
        schedule: how it falls: linear, cosine or constant.
        easiness: jsd or agreement.
    """
    pool = view.unlabelled
    fade = strength(view.cycle, view.cycles, lambda0, schedule)
    weight = (1 - fade) + fade * ease(view, easiness)
    a = residual(pool.logits).mul_(weight[:, None])  # w g = (w a) (x) h
    return pool.index[kmeans_plus_plus(a, pool.embeddings, size, rng)]
