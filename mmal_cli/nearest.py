"""The squared distance of every vector to its nearest centre, exactly, while most distances are never computed.

The vectors are g = f_1 (x) .. (x) f_k, kept as their factors: |g|^2 is the product of the |f_i|^2, <g, g'> of the <f_i, f_i'>.
No distance is below the difference of lengths, so the vectors are sorted by length, and a block of them that the new centre
cannot come near is not read. Of the others a float32 copy of the factors at unit length gives the cosines up to a known error,
thus a lower bound of the distances. Only where that bound is below the distance to the centres so far is the new distance
computed, in float64.
"""

import math
from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor

ULP = torch.finfo(torch.float64).eps
COARSE = torch.finfo(torch.float32).eps
AT_ONCE = 2**18  # numbers turned to float64 at a time; not a matter of the hardware
BLOCK = 2**12  # vectors of similar length that are read or left out together


def squared_distances(dots: Tensor, norms: Tensor, others: Tensor, width: int) -> Tensor:
    """|x|^2 + |y|^2 - 2 x . y, written over `dots`; where it is no more than rounding can make of x = y, it is 0.

    The three terms of equal vectors do not cancel to the last bit, because they are summed in different orders. What is left
    is at most `width` ulp of |x|^2 + |y|^2; so duplicates are at 0, whatever their place in memory and the device.

    Args:
        dots: x . y in float64, any shape.
        norms, others: |x|^2 and |y|^2, of shapes that broadcast to it.
        width: how many numbers x has; for g = f_1 (x) f_2 by its factors their sum.
    """
    sums = norms + others
    torch.sub(sums, dots, alpha=2, out=dots)
    return dots.masked_fill_(dots <= sums.mul_(width * ULP), 0.0)


class Nearest:
    """Squared distances (n,) of n vectors to their nearest centre, infinite before the first one.

    Args:
        factors: (n, W_i) each, float32 or float64, finite.

    Cost: a centre reads at most the n (W_1 + .. + W_k) numbers once in float32; the distances computed in float64 are few, in
    random order n log(centres) of them. Memory n (W_1 + .. + W_k) in float32, and 10 n of 8 bytes.
    """

    def __init__(self, *factors: Tensor) -> None:
        self.factors = factors
        n, width = len(factors[0]), sum(factor.shape[1] for factor in factors)
        norms = [_squared_norms(factor) for factor in factors]
        self.norms = math.prod(norms)
        self.squared = torch.full_like(self.norms, math.inf)
        self._order = _order(self.norms)  # that of all that begins with _sorted or comes in blocks
        self._place = torch.empty_like(self._order).scatter_(0, self._order, torch.arange(n, device=self._order.device))
        self._units = [_units(factor, norm.sqrt(), self._order) for factor, norm in zip(factors, norms, strict=True)]
        self._sorted_norms = self.norms[self._order]
        self._roots = self._sorted_norms.sqrt()
        blocks = self._roots.split(BLOCK)
        self._shortest, self._longest = torch.stack([b.amin() for b in blocks]), torch.stack([b.amax() for b in blocks])
        self._known = torch.full((len(self._shortest) * BLOCK,), -math.inf, dtype=torch.float64, device=self._order.device)
        self._slack = COARSE * (width + 8)  # twice what products and sums of float32 can lose, and the rounding of the units
        self._width, self._at_once = width, max(1, AT_ONCE // width)
        self._bound = torch.empty(n, dtype=torch.float64, device=self.norms.device)

    def add(self, centre: int) -> None:
        """One of the vectors is a centre from now on."""
        place = self._place[centre]
        known = torch.index_select(self.squared, 0, self._order, out=self._known[: len(self._order)])
        for part in self._near(self._roots[place]):
            cosine = math.prod(torch.mv(units[part], units[place]) for units in self._units)
            bound = torch.add(cosine, self._slack, out=self._bound[part]).mul_(self._roots[part])
            torch.add(self._sorted_norms[part], bound, alpha=-2 * float(self._roots[place]), out=bound)
            bound.add_(self.norms[centre]).clamp_(min=0)
            for rows in self._order[part][bound < known[part]].split(self._at_once):
                dots = math.prod(torch.mv(f[rows].double(), f[centre].double()) for f in self.factors)
                found = squared_distances(dots, self.norms[rows], self.norms[centre], self._width)
                self.squared[rows] = torch.minimum(self.squared[rows], found)

    def _near(self, root: Tensor) -> Iterator[slice]:
        """Blocks, neighbours as one, of which a vector may be nearer to one of length `root` than to its centre."""
        gap = torch.maximum(self._shortest - root, root - self._longest).clamp_(min=0)
        rounding = 4 * (self._width + 2) * ULP * (self._longest.square() + root.square())
        start = 0
        for is_near, blocks in groupby((gap.square() - rounding < self._known.view(-1, BLOCK).amax(dim=1)).tolist()):
            stop = start + len(list(blocks))
            if is_near:
                yield slice(start * BLOCK, stop * BLOCK)
            start = stop

    def add_others(self, centres: Tensor) -> None:
        """(L, W) vectors that are not among the n are centres too; for one factor. Cost: n L W in matrix products."""
        (factor,) = self.factors
        centres = centres.to(factor.device, torch.float64)
        others = centres.square().sum(dim=1)
        done = 0
        for rows in _rows(factor, len(centres)):
            part = slice(done, done := done + len(rows))
            found = squared_distances(rows @ centres.T, self.norms[part, None], others, self._width)
            torch.minimum(self.squared[part], found.amin(dim=1), out=self.squared[part])


def _rows(factor: Tensor, width: int = 0) -> Iterator[Tensor]:
    """The same rows in float64, a part at a time; parts stay small when a product with `width` vectors is made of each."""
    yield from (part.double() for part in factor.split(max(1, AT_ONCE // max(factor.shape[1], width))))


def _order(norms: Tensor) -> Tensor:
    """Positions, the shortest vector first; as they are where no length is twice another: no block could be left out."""
    if norms.amax() < 4 * norms.amin():
        return torch.arange(len(norms), device=norms.device)
    return norms.argsort()


def _squared_norms(factor: Tensor) -> Tensor:
    """|x|^2 of each row, (n,) float64; into one tensor, as `pool.in_parts`."""
    norms, done = torch.empty(len(factor), dtype=torch.float64, device=factor.device), 0
    for rows in _rows(factor):
        torch.sum(rows.square(), dim=1, out=norms[done : (done := done + len(rows))])
    return norms


def _units(factor: Tensor, roots: Tensor, order: Tensor) -> Tensor:
    """The rows in an order, at length 1 (0 stays 0), in float32, stored column by column.

    A product of a tall matrix and a vector then runs at the speed of memory, twice as fast as from rows (CPU, measured).
    """
    units = torch.empty(factor.shape[::-1], dtype=torch.float32, device=factor.device).T
    done = 0
    for rows in order.split(max(1, AT_ONCE // factor.shape[1])):
        part = slice(done, done := done + len(rows))
        units[part] = factor[rows].double().mul_(torch.where(roots[rows] > 0, 1 / roots[rows], 0.0)[:, None])
    return units
