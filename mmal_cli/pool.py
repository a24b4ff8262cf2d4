"""What the loop knows (the labelled mask) and what a query method may see (everything but the labels of the pool)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmal_cli.core.errors import UserError

KNOWN_NEEDS = frozenset({"logits", "embeddings", "passes", "subset_logits", "subset_embeddings", "labelled"})  # what there is
PER_SAMPLE = ("index", "logits", "embeddings")  # fields of Predictions that are one tensor, samples first
Subset = tuple[str, ...]  # modality names in the dataset's order; () is the empty coalition


class Pool:
    """The labelled mask over the N train samples of a run; all else of them that is not barred is the pool.

    `barred` holds the positions of validation, and those of its groups' other samples.
    """

    def __init__(self, samples: int, barred: Tensor) -> None:
        self.labelled = torch.zeros(samples, dtype=torch.bool)
        self.barred = torch.zeros(samples, dtype=torch.bool)
        self.barred[barred] = True

    def label(self, indices: Tensor) -> None:
        """Labels train positions; a repeat, a labelled, a barred or an out-of-range index is a ValueError."""
        if indices.dtype != torch.int64 or indices.ndim != 1:
            raise ValueError(f"indices are {indices.dtype} of shape {tuple(indices.shape)}, expected int64 of shape (size,)")
        if indices.numel() and not (int(indices.min()) >= 0 and int(indices.max()) < len(self.labelled)):
            raise ValueError(f"indices reach from {indices.min()} to {indices.max()}, expected 0 to {len(self.labelled) - 1}")
        if len(indices.unique()) != len(indices):
            raise ValueError(f"{len(indices) - len(indices.unique())} of {len(indices)} indices are repeated")
        taken = self.labelled[indices] | self.barred[indices]
        if taken.any():
            first = int(indices[taken][0])
            raise ValueError(f"{int(taken.sum())} of {len(indices)} indices are not in the pool, the first is {first}")
        self.labelled[indices] = True

    @property
    def labelled_index(self) -> Tensor:
        """Train positions that are labelled, ascending."""
        return self.labelled.nonzero().flatten()

    @property
    def unlabelled_index(self) -> Tensor:
        """Train positions of the pool, ascending."""
        return (~self.labelled & ~self.barred).nonzero().flatten()


@dataclass(frozen=True)
class Predictions:
    """What the model says of some samples, each with the modalities that it has. A field is None unless it was asked for.

    Attributes:
        index: (n,) int64 train positions.
        logits: (n, C) float32; with Monte Carlo passes the log of the mean probability.
        embeddings: (n, D) float32, the fused vector that the head reads, before dropout.
        passes: (K, n, C) float32 logits under K dropout masks, pass k with the same mask for every sample.
        subset_logits: subset -> (n, C) with only these modalities kept; all 2^M subsets. A modality that the
            sample lacks is absent in every subset.
        subset_embeddings: subset -> (n, D), likewise.
    """

    index: Tensor
    logits: Tensor | None = None
    embeddings: Tensor | None = None
    passes: Tensor | None = None
    subset_logits: Mapping[Subset, Tensor] | None = None
    subset_embeddings: Mapping[Subset, Tensor] | None = None


@dataclass(frozen=True)
class PoolView:
    """All that a query method sees. There is no field for labels of the pool.

    Attributes:
        unlabelled: predictions for the n pool samples, ascending index.
        labelled: predictions for the labelled samples.
        targets: labels of the labelled samples, in their order, int64.
        present: (n, M) bool, which modalities each pool sample has.
        modalities: M names, the columns of `present`.
        cycle: number of this query, from 0.
        cycles: trained models in the whole run; the run makes cycles - 1 queries.
    """

    unlabelled: Predictions
    labelled: Predictions
    targets: Tensor
    present: Tensor
    modalities: Subset
    cycle: int
    cycles: int


def each_tensor(predictions: Predictions, change: Callable[[Tensor, int], Tensor]) -> Predictions:
    """Predictions with every tensor replaced by change(tensor, its dimension of samples); fields that are None stay None."""

    def apply(value, dim=0):
        if value is None:
            return None
        return change(value, dim) if isinstance(value, Tensor) else {key: change(one, dim) for key, one in value.items()}

    return Predictions(
        **{name: apply(getattr(predictions, name)) for name in (*PER_SAMPLE, "subset_logits", "subset_embeddings")},
        passes=apply(predictions.passes, 1),
    )


def moved(view: PoolView, change: Callable[[Tensor], Tensor]) -> PoolView:
    """The view with change(tensor) in place of each of its tensors."""
    pool, known = (each_tensor(one, lambda tensor, dim: change(tensor)) for one in (view.unlabelled, view.labelled))
    return replace(view, unlabelled=pool, labelled=known, targets=change(view.targets), present=change(view.present))


def in_parts(score: Callable[[Tensor], Tensor], values: Tensor, samples: int, dim: int = 0) -> Tensor:
    """score(part) (n,) of `values`, so many samples at a time, (n,) float64 in all.

    Into one tensor made before: small ones that stay between large ones that go would hold a heap open.
    """
    scores = torch.empty(values.shape[dim], dtype=torch.float64, device=values.device)
    for some, part in zip(scores.split(samples), values.split(samples, dim=dim), strict=True):
        some.copy_(score(part))
    return scores


def top(scores: Tensor, size: int) -> Tensor:
    """Positions of the `size` highest scores, the lowest position first among equals; (n,) -> (size,) int64 on the CPU.

    Raises:
        UserError: a score is not finite.
    """
    wrong = (~torch.isfinite(scores)).nonzero()
    if len(wrong):
        raise UserError(f"{len(wrong)} of {len(scores)} scores are not finite, the first at position {int(wrong[0])}")
    return torch.sort(scores, descending=True, stable=True).indices[:size].cpu()


def checked(selected: Tensor, view: PoolView, size: int, qm: str) -> Tensor:
    """The selection itself, if it has exactly `size` distinct indices of the pool; nothing fills it up.

    Raises:
        UserError: says what was found and what was expected.
    """
    place = f"query method {qm}, cycle {view.cycle}"
    if not isinstance(selected, Tensor) or selected.dtype != torch.int64 or selected.ndim != 1:
        kind = type(selected).__name__
        found = f"{selected.dtype} of shape {tuple(selected.shape)}" if isinstance(selected, Tensor) else kind
        raise UserError(f"{place}: returned {found}, expected an int64 tensor of shape ({size},)")
    selected = selected.cpu()
    distinct = selected.unique()
    outside = int((~torch.isin(distinct, view.unlabelled.index.cpu())).sum())
    if len(selected) != size or len(distinct) != size or outside:
        found = f"{len(selected)} indices, {len(distinct)} distinct, {outside} of them outside the pool"
        raise UserError(f"{place}: returned {found}; expected {size} distinct indices of the pool")
    return selected
