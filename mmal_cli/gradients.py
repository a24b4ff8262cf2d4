"""Spread-out samples, exactly: gradient embeddings kept as two factors, k-means++ over them, and greedy k-centre.

The gradient of the cross-entropy by the last weight matrix is g = a (x) h, C x D numbers a sample. It is never formed: all
that is asked of it are norms and dot products, and <g_n, g_m> = (a_n . a_m)(h_n . h_m).
"""

import logging
import math

import torch
from torch import Tensor

from mmal_cli.core.errors import UserError

log = logging.getLogger("mmal")

CENTRES_AT_ONCE = 64  # labelled centres per block of distances in k_centre: bounds memory, changes no result


def finite(values: Tensor, what: str) -> Tensor:
    """The values themselves, of any shape, if all are finite.

    Raises:
        UserError: says what they are, how many are not finite and where the first one is.

    Cost: one pass, no memory (unless it fails).
    """
    if values.numel() == 0 or torch.stack(values.aminmax()).isfinite().all():  # aminmax hands NaN on
        return values
    bad = (~values.isfinite()).nonzero()
    raise UserError(f"{what}: {len(bad)} of {values.numel()} values are not finite, the first at {tuple(bad[0].tolist())}")


def residual(logits: Tensor) -> Tensor:
    """The gradient of the cross-entropy with the predicted class by the logits, a = p - onehot(argmax p); (n, C) -> (n, C).

    In float64, and the entry of the predicted class is minus the sum of the others: 1 - p would round to 0 for confident
    samples, whose small norms must stay ordered. The first class wins a tie.

    Raises:
        UserError: a logit is not finite.

    Cost: time and memory n C.
    """
    best = finite(logits, "logits").argmax(dim=1, keepdim=True)
    a = logits.double().log_softmax(dim=1).exp_().scatter_(1, best, 0.0)
    return a.scatter_(1, best, -a.sum(dim=1, keepdim=True))


def squared_norms(a: Tensor, h: Tensor) -> Tensor:
    """|g_n|^2 = |a_n|^2 |h_n|^2; (n, C), (n, D) -> (n,)."""
    return torch.linalg.vector_norm(a, dim=1).mul_(torch.linalg.vector_norm(h, dim=1)).square_()


def squared_distances(a: Tensor, h: Tensor, norms: Tensor, centre: int, out: Tensor, spare: Tensor) -> Tensor:
    """|g_n - g_centre|^2 for every n, written into `out`; a difference that rounding alone can make is 0.

    |g_n - g_m|^2 = |g_n|^2 + |g_m|^2 - 2 (a_n . a_m)(h_n . h_m) cancels for near samples. What float64 leaves of equal ones
    is at most about (C + D) ulp of the two norms; setting that to 0 makes duplicates equal, as they are.

    Args:
        a, h: (n, C) and (n, D) factors, float64.
        norms: (n,) their `squared_norms`.
        centre: a position in 0..n-1.
        out, spare: (n,) float64 buffers, overwritten.

    Cost: reads n (C + D) numbers once; no memory.
    """
    torch.mv(a, a[centre], out=out)
    torch.mv(h, h[centre], out=spare)
    out.mul_(spare).mul_(-2)
    torch.add(norms, norms[centre], out=spare)
    out.add_(spare)
    rounding = (a.shape[1] + h.shape[1]) * torch.finfo(torch.float64).eps
    return out.masked_fill_(out <= spare.mul_(rounding), 0.0)


def draw(weights: Tensor, rng: torch.Generator) -> int | None:
    """Draws a position with probability weight / sum of weights by one uniform number, or None where all are (nearly) 0.

    Args:
        weights: (n,) float64, not negative.

    Returns:
        A position whose weight is positive.

    Cost: one cumulative sum.
    """
    cumulative = weights.cumsum(dim=0)
    total = float(cumulative[-1])
    if total <= torch.finfo(torch.float64).tiny:
        return None
    target = total * float(torch.rand((), generator=rng, dtype=torch.float64))
    position = int(
        torch.searchsorted(cumulative, torch.tensor([target], dtype=torch.float64, device=weights.device), right=True)
    )
    if position < len(weights) and float(weights[position]) > 0:
        return position
    # Rounding went past the end, or a GPU's parallel sum was not monotone: the last positive weight up to there, else the first.
    positive = weights.nonzero().flatten()
    return int(positive[max(int((positive <= position).sum()) - 1, 0)])


def kmeans_plus_plus(a: Tensor, h: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Picks `size` spread-out gradient embeddings g = a (x) h without forming them (Ash et al. 2020, algorithm 1).

    The start is not random as in k-means++ but the largest gradient (the authors' code). Where every sample left equals a
    chosen one (saturated softmax, duplicates), D^2 has no law: the rest is drawn uniformly, and a warning is logged [ours].

    Args:
        a: (n, C) residuals p - onehot(argmax p).
        h: (n, D) inputs of the last linear layer; any multiple of all of them gives the same picks.
        size: how many to pick, 1 <= size <= n.
        rng: the only source of chance, a CPU generator; one uniform number for each pick but the first.

    Returns:
        (size,) int64 on the CPU, distinct positions in 0..n-1 in order of choice; the first has the largest norm (the
        lowest position among equals), the others are drawn with probability D^2 / sum D^2, D the distance to the nearest pick.

    Raises:
        UserError: a factor is not finite.

    Cost: size passes over n (C + D) numbers; memory n (C + D) in float64 for what is not float64 already, and 5 n.
    """
    a, h = finite(a, "residuals").double(), finite(h, "embeddings").double()
    norms = squared_norms(a, h)
    nearest = torch.full_like(norms, math.inf)
    out, spare = torch.empty_like(norms), torch.empty_like(norms)
    picks: list[int] = []
    pick: int | None = int(norms.argmax())
    while pick is not None:
        picks.append(pick)
        if len(picks) == size:
            break
        torch.minimum(nearest, squared_distances(a, h, norms, pick, out, spare), out=nearest)
        nearest[pick] = 0.0
        pick = draw(nearest, rng)
    return torch.tensor(picks + _uniform(len(norms), picks, size - len(picks), rng), dtype=torch.int64)


def _uniform(n: int, picks: list[int], missing: int, rng: torch.Generator) -> list[int]:
    """`missing` positions out of those not picked, all equally likely."""
    if missing == 0:
        return []
    log.warning(
        "the %d samples left have the gradients of the %d chosen ones: drew the other %d of the query uniformly",
        n - len(picks),
        len(picks),
        missing,
    )
    left = torch.ones(n, dtype=torch.bool)
    left[picks] = False
    rest = left.nonzero().flatten()
    return rest[torch.randperm(len(rest), generator=rng)[:missing]].tolist()


def k_centre(h: Tensor, centres: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Picks, `size` times, the sample farthest from its nearest centre, which then is a centre too (Sener & Savarese 2018).

    Distances are Euclidean, by direct differences in float64, so that equal samples are at 0 exactly.

    Args:
        h: (n, D) embeddings.
        centres: (L, D) embeddings of the labelled samples; with L = 0 the first pick is random.
        size: how many to pick, 1 <= size <= n.
        rng: used only where there is no labelled sample.

    Returns:
        (size,) int64 on the CPU, distinct positions in 0..n-1 in order of choice, the lowest position first among equals.

    Raises:
        UserError: an embedding is not finite.

    Cost: (L + size) passes over n D numbers; memory n D in float64, and 64 n.
    """
    h, centres = finite(h, "embeddings").double(), finite(centres, "embeddings of the labelled samples").double()
    nearest = torch.full((len(h),), math.inf, dtype=torch.float64, device=h.device)
    for block in centres.to(h.device).split(CENTRES_AT_ONCE):
        torch.minimum(nearest, _distances(h, block).amin(dim=1), out=nearest)
    picks = [int(nearest.argmax()) if len(centres) else int(torch.randint(len(h), (), generator=rng))]
    while len(picks) < size:
        torch.minimum(nearest, _distances(h, h[picks[-1:]]).flatten(), out=nearest)
        nearest[picks[-1]] = -math.inf  # so that a duplicate of a centre is still picked, once
        picks.append(int(nearest.argmax()))
    return torch.tensor(picks, dtype=torch.int64)


def _distances(h: Tensor, centres: Tensor) -> Tensor:
    """(n, D), (l, D) -> (n, l), without the shortcut by dot products, which is not exact."""
    return torch.cdist(h, centres, compute_mode="donot_use_mm_for_euclid_dist")
