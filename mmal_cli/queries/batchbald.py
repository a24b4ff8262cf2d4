"""BatchBALD: asks for the batch whose labels together tell most of the model (Kirsch et al. 2019, algorithm 1).

Greedy: each pick n is argmax H(y_1 ... y_i, y_n) - mean_k H(y_n | k), in nats, k over the Monte Carlo dropout passes; the
first is BALD's. The joint entropy is exact, over all label combinations of the picks, while these and the next one's classes
are at most `samples`; after that it is estimated from samples // K draws of the picks' labels under each pass, weighted by
how likely all passes together make them (section 4.1 of the paper).
Ours: a draw is kept from pick to pick and gets the new pick's label; tables are scaled row by row, so that large batches do not
underflow; the lowest train position among equals.
Cost: time size x samples x n K C multiply-adds and size x samples x n C logarithms: for 50,000 samples of 10 classes a GPU, or
fewer `samples`; on a CPU core a pick took 2 ms a sample of the pool with 4,000. Memory samples (K + C) numbers, about 100 MiB.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmal_cli.pool import PoolView, in_parts, top
from mmal_cli.queries.bald import scores

NEEDS: set[str] = {"passes"}

NUMBERS_AT_ONCE = 2**22  # of joint probabilities: bounds memory
EQUAL = 1e-10  # nats: sums in another order differ by less


def query(view: PoolView, size: int, rng: torch.Generator, *, samples: Annotated[int, Field(ge=1)] = 40_000) -> Tensor:
    """(size,) int64 train positions in order of choice; without chance while the joint entropy is exact.

    Args:
        samples: label combinations that a joint entropy is summed over, or estimated from.
    """
    passes = view.unlabelled.passes
    first = scores(passes)
    top(first, 1)  # refuses what is not finite
    chosen = [int((first >= first.max() - EQUAL).nonzero()[0])]
    picked = [passes[:, chosen[0]].double().softmax(dim=1)]  # (K, C) each
    table = picked[0].T.contiguous()  # exact: (C^i, K), the joint probability of each label combination under each pass
    exact = True
    while len(chosen) < size:
        if exact and len(table) * passes.shape[2] > samples:
            exact, table = (
                False,
                passes.new_ones(max(1, samples // len(passes)) * len(passes), len(passes), dtype=torch.float64),
            )
            for p in picked:
                table = drawn(table, p, rng)
        gain = gains(passes, table, exact)
        gain[torch.tensor(chosen, dtype=torch.int64)] = -torch.inf
        chosen.append(int((gain >= gain.max() - EQUAL).nonzero()[0]))
        p = passes[:, chosen[-1]].double().softmax(dim=1)
        picked.append(p)
        table = (table[:, None] * p.T).flatten(0, 1) if exact else drawn(table, p, rng)
    return view.unlabelled.index.cpu()[chosen]


def drawn(table: Tensor, p: Tensor, rng: torch.Generator) -> Tensor:
    """Draws one more label for each row: row m under pass m mod K.

    Args:
        table: (M, K) how likely the row's labels so far are under each pass, times any factor of the row.
        p: (K, C) of the sample whose label is drawn.

    Returns:
        (M, K) with the new label, the largest of each row 1.
    """
    until = p.cumsum(dim=1)
    until = (until / until[:, -1:])[torch.arange(len(table), device=p.device) % len(p)]  # (M, C)
    label = (torch.rand(len(table), 1, generator=rng, dtype=torch.float64).to(p.device) >= until).sum(dim=1)
    table = table * p.T[label]
    return table / table.amax(dim=1, keepdim=True)


def gains(passes: Tensor, table: Tensor, exact: bool) -> Tensor:
    """Joint entropy of the picks and each sample, minus the sample's own noise, in nats; (K, n, C), (M, K) -> (n,).

    Drawn tables give it but for a constant that is the same for all samples, since their rows are scaled.
    """
    count, _, classes = passes.shape
    weight = passes.new_ones(len(table), dtype=torch.float64) if exact else 1 / (len(table) * table.mean(dim=1))

    def gain(some: Tensor) -> Tensor:
        p = some.double().softmax(dim=2)  # (K, n, C)
        joint = (table / count) @ p.flatten(1)  # (M, n C)
        noise = torch.special.entr(p).sum(dim=2).mean(dim=0)
        return (weight @ torch.special.entr(joint)).view(-1, classes).sum(dim=1) - noise

    return in_parts(gain, passes, max(1, NUMBERS_AT_ONCE // (len(table) * classes)), dim=1)
