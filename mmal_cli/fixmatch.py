"""FixMatch: what the model is sure of in a weak view of a sample of the pool, it learns for a strong one (Sohn et al. 2020)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from mmal_cli.batches import Batches, augmented
from mmal_cli.core.errors import UserError
from mmal_cli.core.protocol import Train
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split
from mmal_cli.moddrop import drop_modalities
from mmal_cli.model import Model

REMEMBERED = 128  # batches whose mean probabilities alignment knows
TINY = 1e-6


@dataclass(frozen=True)
class FixMatch:
    """Learning from labels and from the pool: steps of B labelled samples and mu B of the pool, none of it twice in a pass.

    The weak view is a sample with all its modalities, images mirrored and shifted; the strong one has images augmented more and
    lacks what modality dropout takes. Its label is the weak view's most probable class, where that has the threshold's
    probability. All views pass the network together, so that batch statistics are those of all.

    Args:
        split: the train split, on the device to train on.
        labelled: train positions.
        unlabelled: train positions of the pool.
        train: the recipe.
        chance: streams batches, augment, moddrop, and of the pool's samples pool, weak, strong, pool-moddrop.

    Source: realistic-al's fixmatch.py, whose distribution alignment never sees a batch; this one does.
    """

    split: Split
    labelled: Tensor
    unlabelled: Tensor
    train: Train
    chance: Chance

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return steps(len(self.unlabelled), self.train)

    def losses(self, model: Model) -> Iterator[Tensor]:
        """The loss of each step of the next epoch."""
        for (batch, kept), positions in zip(self._taught.take(self.steps), islice(self._passes, self.steps), strict=True):
            pool = self.split.batch(positions)
            views = [batch, *(augmented(pool, self.split, name, self._chances[name]) for name in ("weak", "strong"))]
            left = drop_modalities(pool.present, self.train.moddrop, self._chances["pool-moddrop"])
            inputs = {name: torch.cat([view.inputs[name] for view in views]) for name in self.split.names}
            logits = model(inputs, torch.cat([kept, pool.present, left])).split([len(view.labels) for view in views])
            yield self._taught.loss(logits[0], batch.labels) + self.train.fixmatch.lambda_u * self._of_pool(*logits[1:])

    def _of_pool(self, weak: Tensor, strong: Tensor) -> Tensor:
        """Cross-entropy of the strong views' logits (n, C), zero where the weak view is not sure; the mean over all n."""
        probability, label = self._aligned(weak.detach().softmax(dim=1)).max(dim=1)
        each = nn.functional.cross_entropy(strong, label, reduction="none")
        return (each * (probability >= self.train.fixmatch.threshold)).mean()

    @cached_property
    def _taught(self) -> Batches:
        """The labelled part: as many draws as there are steps for."""
        draws = self.steps * self.train.batch_size
        return Batches(self.split, self.labelled, self.train.model_copy(update={"min_epoch_samples": draws}), self.chance)

    @cached_property
    def _chances(self) -> dict[str, torch.Generator]:
        return {name: self.chance(name) for name in ("pool", "weak", "strong", "pool-moddrop")}

    @cached_property
    def _aligned(self) -> Callable[[Tensor], Tensor]:
        return Alignment(self.split.classes, self.split.labels.device) if self.train.fixmatch.alignment else nn.Identity()

    @cached_property
    def _passes(self) -> Iterator[Tensor]:
        """Positions of the pool, batch by batch, pass after pass; what does not fill a batch is left out of a pass."""
        size = self.train.batch_size * self.train.fixmatch.mu
        while True:
            order = torch.randperm(len(self.unlabelled), generator=self._chances["pool"])
            yield from self.unlabelled[order[: len(order) // size * size]].split(size)


class Alignment:
    """Distribution alignment (Berthelot et al. 2020): probabilities times uniform / what the model has said of late.

    Args:
        classes: C.
        device: of the probabilities.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.uniform, self.seen = 1 / classes, 0
        self.means = torch.full((REMEMBERED, classes), self.uniform, device=device)

    def __call__(self, probabilities: Tensor) -> Tensor:
        """(n, C) -> (n, C), rows of sum 1; remembers the batch."""
        self.means[self.seen % REMEMBERED] = probabilities.mean(dim=0)
        self.seen += 1
        moved = probabilities * (TINY + self.uniform) / (TINY + self.means.mean(dim=0))
        return moved / moved.sum(dim=1, keepdim=True)


def steps(pool: int, train: Train) -> int:
    """Of an epoch, for so many samples of the pool: a pass over them, at most `max_epoch_samples`, or as many steps as
    `min_epoch_samples` labelled draws take, where these are more.

    Raises:
        UserError: the pool does not fill a batch.
    """
    settings, size = train.fixmatch, train.batch_size * train.fixmatch.mu
    if pool < size:
        raise UserError(
            f"FixMatch takes {size} samples of the pool in a batch (train.batch_size {train.batch_size} times "
            f"train.fixmatch.mu {settings.mu}), the pool has {pool}; take fewer: "
            f"--set train.fixmatch.mu={max(1, pool // train.batch_size)}, or another train.batch_size"
        )
    return max(min(pool, settings.max_epoch_samples or pool) // size, train.min_epoch_samples // train.batch_size)
