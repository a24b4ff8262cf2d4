"""Trains a fresh model on the labelled set; chance comes from named streams of the run's seed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from mmal_cli import augment
from mmal_cli.core.errors import UserError
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import Settings, Train
from mmal_cli.data import Batch, Split
from mmal_cli.device import keep_memory
from mmal_cli.metrics import balanced_accuracy
from mmal_cli.moddrop import drop_modalities
from mmal_cli.model import Model, build
from mmal_cli.predict import dropout_masks, predict


class Diverged(UserError):
    """The loss is not finite."""


@dataclass(frozen=True)
class Fitted:
    """A trained model in evaluation mode, with the weights of its best epoch (from 0) and that epoch's validation score."""

    model: Model
    best_epoch: int
    validation: dict[str, float]


def fit(
    split: Split,
    labelled: Tensor,
    validation: Tensor,
    settings: Settings,
    dropout: float,
    chance: Chance,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Fitted:
    """Trains from new random weights; keeps the epoch with the best balanced validation accuracy, the earliest on ties.

    Args:
        split: the train split, on the device to train on.
        labelled: train positions to learn from.
        validation: train positions to choose the epoch by, each sample with the modalities that it has.
        settings: of the run.
        dropout: before the head; with it, validation averages Monte Carlo passes.
        chance: streams init, batches, augment, moddrop, dropout, passes.
        on_epoch: called after every epoch with the number of epochs done.

    Raises:
        Diverged: the loss is not finite; names cycle, epoch and learning rate.
    """
    device, train = split.labels.device, settings.train
    if device.type == "cpu":
        keep_memory()
    model = build(split.modalities, split.classes, settings, dropout, chance.number("init")).to(device)
    optimiser, batches = make_optimiser(model, train), Batches(split, labelled, train, chance)
    masks = dropout_masks(model, settings, chance)
    best, best_epoch, weights = -1.0, 0, {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(chance.number("dropout"))
        for epoch in range(train.epochs):
            loss = train_epoch(model.train(), optimiser, batches, epoch)
            score = _validate(model.eval(), split, validation, masks)
            if score is None or not torch.isfinite(loss):
                rates = [train.lr * batches.factor(epoch, step) for step in range(batches.steps)]
                raise Diverged(
                    f"cycle {chance.cycle}, epoch {epoch + 1} of {train.epochs}: the loss is not finite at a learning rate of "
                    f"up to {max(rates):.3g}; lower it: --set train.lr={train.lr / 10:g}"
                )
            if score > best:
                best, best_epoch = score, epoch
                weights = {name: value.clone() for name, value in model.state_dict().items()}
            on_epoch(epoch + 1)
    model.load_state_dict(weights)
    return Fitted(model, best_epoch, {"balanced_accuracy": best})


@dataclass(frozen=True)
class Batches:
    """The batches of one training: augmented, and with the modalities that modality dropout leaves."""

    split: Split
    labelled: Tensor
    train: Train
    chance: Chance

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return math.ceil(max(len(self.labelled), self.train.min_epoch_samples) / self.train.batch_size)

    def factor(self, epoch: int, step: int) -> float:
        """What the learning rate is multiplied by at a step of an epoch."""
        done = epoch * self.steps + step
        return factor(done, self.train.warmup_epochs * self.steps, self.train.epochs * self.steps)

    @cached_property
    def _endless(self) -> Iterator[tuple[Batch, Tensor]]:
        split, labelled, train = self.split, self.labelled.to(self.split.labels.device), self.train
        order = epoch_order(split.labels[labelled].cpu(), train, self.chance("batches"))
        augmenting, dropping = self.chance("augment"), self.chance("moddrop")
        for epoch in order:
            for positions in epoch.split(train.batch_size):
                batch = augmented(split.batch(labelled[positions.to(labelled.device)]), split, train.augmentation, augmenting)
                kept = drop_modalities(batch.present, train.moddrop, dropping) if train.moddrop.enabled else batch.present
                yield batch, kept

    def epoch(self) -> Iterator[tuple[Batch, Tensor]]:
        """The next epoch: each batch and its `kept` (B, M)."""
        return islice(self._endless, self.steps)


def train_epoch(model: Model, optimiser: torch.optim.Optimizer, batches: Batches, epoch: int) -> Tensor:
    """Trains for one epoch; returns the sum of the losses of its steps, which is finite only if all were."""
    total = torch.zeros((), device=batches.split.labels.device)
    for step, (batch, kept) in enumerate(batches.epoch()):
        for group in optimiser.param_groups:
            group["lr"] = batches.train.lr * batches.factor(epoch, step)
        loss = nn.functional.cross_entropy(model(batch.inputs, kept), batch.labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.detach()
    return total


def make_optimiser(model: nn.Module, train: Train) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on biases and normalisation (parameters with one dimension)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=train.momentum > 0)


def factor(step: int, warmup: int, total: int) -> float:
    """What the learning rate is multiplied by: linear from 0 over `warmup` steps, then half a cosine down to 0."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


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
    return Batch(inputs, batch.present, batch.labels, batch.index)


def _validate(model: Model, split: Split, validation: Tensor, masks: Tensor | None) -> float | None:
    """Balanced accuracy on the validation samples; None if a logit is not finite."""
    logits = predict(model, split, validation, {"logits"}, masks).logits
    if not torch.isfinite(logits).all():
        return None
    return balanced_accuracy(logits.argmax(dim=1), split.labels[validation.to(split.labels.device)], split.classes)
