"""Spread-out samples, exactly: gradient embeddings kept as two factors, k-means++ over them, and greedy k-centre.

The gradient of the cross-entropy by the last weight matrix is g = a (x) h, C x D numbers a sample. It is never formed: all
that is asked of it are norms and distances, which `Nearest` has of the factors.
"""

import logging
import math

import torch
from torch import Tensor

from mmal_cli.core.errors import UserError
from mmal_cli.device import sent
from mmal_cli.nearest import AT_ONCE, Nearest

log = logging.getLogger("mmal")

TINY = torch.finfo(torch.float64).tiny


def finite(values: Tensor, what: str) -> Tensor:
    """The values themselves, of any shape, if all are finite.

    Raises:
        UserError: says what they are, how many are not finite and where the first one is.

    Cost: one pass, no memory (unless the sum is not finite).
    """
    if values.sum().isfinite():  # so are all; a sum of finite numbers can be infinite too, hence the second look
        return values
    bad = (~values.isfinite()).nonzero()
    if len(bad) == 0:
        return values
    raise UserError(f"{what}: {len(bad)} of {values.numel()} values are not finite, the first at {tuple(bad[0].tolist())}")


def residual(logits: Tensor) -> Tensor:
    """The gradient of the cross-entropy with the predicted class by the logits, a = p - onehot(argmax p); (n, C) -> (n, C).

    In float64, and the entry of the predicted class is minus the sum of the others: p - 1 would round to 0 for confident
    samples, whose small norms must stay ordered. The first class wins a tie. A new tensor.

    Raises:
        UserError: a logit is not finite.

    Cost: time n C; memory n C, made a part after the other.
    """
    best, found = finite(logits, "logits").argmax(dim=1, keepdim=True), torch.empty_like(logits, dtype=torch.float64)
    rows = max(1, AT_ONCE // logits.shape[1])
    for a, some, of in zip(found.split(rows), logits.split(rows), best.split(rows), strict=True):
        torch.exp(some.double().log_softmax(dim=1), out=a).scatter_(1, of, 0.0)
        a.scatter_(1, of, -a.sum(dim=1, keepdim=True))
    return found


def draw(weights: Tensor, rng: torch.Generator) -> int | None:
    """Draws a position with probability weight / sum of weights by one uniform number; None if the sum is (nearly) 0.

    Args:
        weights: (n,) float64, not negative.

    Returns:
        A position whose weight is positive.

    Cost: one cumulative sum.
    """
    cumulative = weights.cumsum(dim=0)
    total = float(cumulative[-1])
    if total <= TINY:
        return None
    target = total * torch.rand(1, generator=rng, dtype=torch.float64)
    position = int(torch.searchsorted(cumulative, sent(target, cumulative.device), right=True))
    if position < len(weights) and float(weights[position]) > 0:
        return position
    # Rounding went past the end, or a GPU's parallel sum was not monotone: take the last positive weight before.
    positive = weights.nonzero().flatten()
    return int(positive[max(int((positive < position).sum()) - 1, 0)])


def kmeans_plus_plus(a: Tensor, h: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Picks `size` spread-out gradient embeddings g = a (x) h without forming them (Ash et al. 2020, algorithm 1).

    The start is not random as in k-means++ but the largest gradient (the authors' code). Where every sample left equals a
    chosen one (saturated softmax, duplicates), D^2 has no law: the rest is drawn uniformly, and a warning is logged [ours].

    Args:
        a: (n, C) residuals p - onehot(argmax p), or a multiple of them by sample, which multiplies g.
        h: (n, D) inputs of the last linear layer.
        size: how many to pick, 1 <= size <= n.
        rng: the only source of chance, a CPU generator; one uniform number for each pick but the first.

    Returns:
        (size,) int64 on the CPU, distinct positions in 0..n-1 in order of choice; the first has the largest norm (the
        lowest position among equals), the others are drawn with probability D^2 / sum D^2, D the distance to the nearest pick.

    Raises:
        UserError: a factor is not finite.

    Cost: at most size passes over n (C + D) numbers in float32, fewer the more the norms differ; memory n (C + D) in float32,
    and 12 n of 8 bytes.
    """
    near = Nearest(finite(a, "residuals"), finite(h, "embeddings"))
    picks: list[int] = []
    pick: int | None = int(near.norms.argmax())
    while pick is not None:
        picks.append(pick)
        if len(picks) == size:
            break
        near.add(pick)
        near.squared[pick] = 0.0
        pick = draw(near.squared, rng)
    return torch.tensor(picks + _uniform(len(h), picks, size - len(picks), rng))


def _uniform(n: int, picks: list[int], missing: int, rng: torch.Generator) -> list[int]:
    """`missing` positions out of those not picked, all equally likely; says so if there are any."""
    if missing == 0:
        return []
    message = "the gradients of all %d samples left equal those of the %d chosen: drew the other %d of the query uniformly"
    log.warning(message, n - len(picks), len(picks), missing)
    left = torch.ones(n, dtype=torch.bool)
    left[picks] = False
    rest = left.nonzero().flatten()
    return rest[torch.randperm(len(rest), generator=rng)[:missing]].tolist()


def k_centre(h: Tensor, centres: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Picks, `size` times, the sample farthest from its nearest centre, which then is a centre too (Sener & Savarese 2018).

    Args:
        h: (n, D) embeddings; distances are Euclidean.
        centres: (L, D) embeddings of the labelled samples; with L = 0 the first pick is random.
        size: how many to pick, 1 <= size <= n.
        rng: used only where there is no labelled sample.

    Returns:
        (size,) int64 on the CPU, distinct positions in 0..n-1 in order of choice, the lowest position first among equals (to
        the last bit: equal vectors may be parted by rounding).

    Raises:
        UserError: an embedding is not finite.

    Cost: at most size passes over n D numbers in float32, and n L D in matrix products; memory n D in float32, and 10 n of 8
    bytes.
    """
    near = Nearest(finite(h, "embeddings"))
    if len(centres):
        near.add_others(finite(centres, "embeddings of the labelled samples"))
    picks = [int(near.squared.argmax()) if len(centres) else int(torch.randint(len(h), (), generator=rng))]
    while len(picks) < size:
        near.add(picks[-1])
        near.squared[picks[-1]] = -math.inf  # so that a duplicate of a centre is still picked, once
        picks.append(int(near.squared.argmax()))
    return torch.tensor(picks)
