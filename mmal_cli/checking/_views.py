"""Random pool views of a toy multimodal model, and the same with something changed."""

from collections.abc import Collection
from dataclasses import fields, replace
from itertools import combinations

import torch
from torch import Tensor

from mmal_cli.pool import PoolView, Predictions, Subset, each_tensor, moved


def coalitions(modalities: Subset) -> list[Subset]:
    """All 2^M subsets, the empty one among them."""
    return [subset for size in range(len(modalities) + 1) for subset in combinations(modalities, size)]


def make_view(
    samples: int = 40,
    classes: int = 5,
    modalities: Subset = ("a", "b"),
    width: int = 6,
    labelled: int = 7,
    passes: int = 4,
    absent: float = 0.0,
    seed: int = 0,
    cycle: int = 1,
    cycles: int = 10,
) -> PoolView:
    """A consistent view: fused = tanh(b + sum of the features of the modalities kept), logits = fused W, all float32.

    `absent` is the share of (sample, modality) pairs that are absent; a sample may lack all.
    """
    rng = torch.Generator().manual_seed(seed)
    total = samples + labelled
    features = torch.randn(total, len(modalities), width, generator=rng)
    present = torch.rand(total, len(modalities), generator=rng) >= absent
    bias, head = torch.randn(width, generator=rng), 2 * torch.randn(width, classes, generator=rng)
    masks = 2.0 * (torch.rand(passes, 1, width, generator=rng) < 0.5)
    index = torch.randperm(3 * total, generator=rng)[:total]

    def predict(rows: Tensor) -> Predictions:
        fused = {}
        for subset in coalitions(modalities):
            kept = present[rows] & torch.tensor([name in subset for name in modalities])
            fused[subset] = torch.tanh(bias + (features[rows] * kept[:, :, None]).sum(dim=1))
        full = fused[modalities]
        logits = {subset: one @ head for subset, one in fused.items()}
        return Predictions(index[rows].sort().values, logits[modalities], full, (full * masks) @ head, logits, fused)

    pool, known = torch.arange(samples), torch.arange(samples, total)
    targets = torch.randint(classes, (labelled,), generator=rng)
    return PoolView(predict(pool), predict(known), targets, present[pool], modalities, cycle, cycles)


def rows(view: PoolView, order: Tensor) -> PoolView:
    """The view with the pool's samples taken in another order, or only some of them."""
    return replace(
        view,
        unlabelled=each_tensor(view.unlabelled, lambda tensor, dim: tensor.index_select(dim, order)),
        present=view.present[order],
    )


def lend(view: PoolView, needs: Collection[str]) -> PoolView:
    """The view with nothing but what a method says that it needs."""
    read = set(needs) - {"labelled"}
    pool = Predictions(view.unlabelled.index, **{name: getattr(view.unlabelled, name) for name in read})
    known = Predictions(view.labelled.index, **{name: getattr(view.labelled, name) for name in read if "labelled" in needs})
    return replace(view, unlabelled=pool, labelled=known)


def copied(view: PoolView) -> PoolView:
    """The view in memory of its own."""
    return moved(view, Tensor.clone)


def tensors(view: PoolView) -> dict[str, Tensor]:
    """All tensors of a view by where they are: `unlabelled.subset_logits a+b`."""
    found = {"targets": view.targets, "present": view.present}

    def keep(place: str, value: Tensor | dict | None) -> None:
        if isinstance(value, Tensor):
            found[place] = value
        elif value is not None:
            found.update({f"{place} {'+'.join(subset) or 'none'}": one for subset, one in value.items()})

    for side in ("unlabelled", "labelled"):
        for field in fields(Predictions):
            keep(f"{side}.{field.name}", getattr(getattr(view, side), field.name))
    return found


def chance(seed: int = 0) -> torch.Generator:
    """A generator as the loop hands it to a query method."""
    return torch.Generator().manual_seed(seed)
