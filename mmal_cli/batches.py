"""The batches of one training: which labelled samples, how augmented, with which of their modalities, at which rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from mmal_cli import augment
from mmal_cli.core.protocol import Train
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Batch, Split
from mmal_cli.device import sent
from mmal_cli.moddrop import drop_modalities
from mmal_cli.model import Model


@dataclass(frozen=True)
class Batches:
    """Learning from labels: batches augmented, and with the modalities that modality dropout leaves."""

    split: Split
    labelled: Tensor
    train: Train
    chance: Chance

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return math.ceil(max(len(self.labelled), self.train.min_epoch_samples) / self.train.batch_size)

    def losses(self, model: Model) -> Iterator[Tensor]:
        """The loss of each step of the next epoch."""
        for batch, kept in self.take(self.steps):
            yield self.loss(model(batch.inputs, kept), batch.labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, (B, C) and (B,) -> (), with class weights if the recipe has them."""
        return nn.functional.cross_entropy(logits, labels, self._weights)

    @cached_property
    def _weights(self) -> Tensor | None:
        """(C,): n / (C n_c) over the C classes that are labelled; of the others no batch has a sample."""
        if not self.train.class_weights:
            return None
        counts = torch.bincount(self.split.labels.cpu()[self.labelled], minlength=self.split.classes)
        return sent(len(self.labelled) / ((counts > 0).sum() * counts.clamp(min=1)), self.split.labels.device)

    @cached_property
    def _endless(self) -> Iterator[tuple[Batch, Tensor]]:
        split, labelled, train = self.split, self.labelled, self.train
        order = epoch_order(split.labels.cpu()[labelled], train, self.chance("batches"))
        augmenting, dropping = self.chance("augment"), self.chance("moddrop")
        for epoch in order:
            for positions in epoch.split(train.batch_size):
                batch = augmented(split.batch(labelled[positions]), split, train.augmentation, augmenting)
                yield batch, drop_modalities(batch.present, train.moddrop, dropping)

    def take(self, steps: int) -> Iterator[tuple[Batch, Tensor]]:
        """The next batches, each with its `kept` (B, M)."""
        return islice(self._endless, steps)


def factor(train: Train, steps: int, epoch: int, step: int) -> float:
    """What the learning rate is multiplied by at a step of an epoch of so many steps.

    Linear from 0 over the warm-up, then half a cosine down to 0, or a tenth after each quarter of the epochs.
    """
    done, warmup, total = epoch * steps + step, train.warmup_epochs * steps, train.epochs * steps
    if done < warmup:
        return done / warmup
    if train.schedule == "steps":
        return 0.1 ** (epoch // max(1, train.epochs // 4))
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1, total - warmup)))


def epoch_order(labels: Tensor, train: Train, rng: torch.Generator) -> Iterator[Tensor]:
    """Endless epochs: each a (draws,) int64 tensor of positions in the labelled set, draws = max(n, min_epoch_samples).

    Plain: a permutation of 0..draws-1 modulo n, so that each sample comes up floor or ceil of draws / n times.
    Balanced: draws with replacement, a class with n_c samples having weight 1 / n_c for each.
    """
    n = len(labels)
    draws = max(n, train.min_epoch_samples)
    weights = 1.0 / torch.bincount(labels).double()[labels]
    while True:
        if train.balanced_sampling:
            yield torch.multinomial(weights, draws, replacement=True, generator=rng)
        else:
            yield torch.randperm(draws, generator=rng) % n


def augmented(batch: Batch, split: Split, name: str, rng: torch.Generator) -> Batch:
    """The batch with each image augmented by a draw of its own; other kinds pass as they are."""
    inputs = {
        m.name: augment.apply(name, batch.inputs[m.name], rng) if m.kind == "image" else batch.inputs[m.name]
        for m in split.modalities
    }
    return Batch(inputs, batch.present, batch.labels)
