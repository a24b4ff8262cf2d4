"""Trains a fresh model on the labelled set; chance comes from named streams of the run's seed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmal_cli.batches import Batches, factor
from mmal_cli.core.errors import UserError
from mmal_cli.core.protocol import Settings, Train
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split
from mmal_cli.device import keep_memory
from mmal_cli.fixmatch import FixMatch
from mmal_cli.metrics import balanced_accuracy
from mmal_cli.model import Model, build
from mmal_cli.pool import Pool
from mmal_cli.predict import dropout_masks, predict


class Diverged(UserError):
    """The loss is not finite."""


@dataclass(frozen=True)
class Fitted:
    """A trained model in evaluation mode, with the weights of the epoch that is kept (from 0) and its validation score."""

    model: Model
    best_epoch: int
    validation: dict[str, float]


def fit(
    split: Split,
    pool: Pool,
    validation: Tensor,
    settings: Settings,
    dropout: float,
    chance: Chance,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Fitted:
    """Trains from new weights; keeps the epoch with the best balanced validation accuracy, the earliest on ties, or the last.

    Args:
        split: the train split, on the device to train on.
        pool: its labelled samples are learnt from, in paradigm semi-sl its others too.
        validation: train positions to choose the epoch by, each sample with the modalities that it has.
        settings: of the run.
        dropout: before the head; with it, validation averages Monte Carlo passes.
        chance: streams init, batches, augment, moddrop, dropout, passes; of FixMatch pool, weak, strong, pool-moddrop.
        on_epoch: called after every epoch with the number of epochs done.

    Raises:
        Diverged: the loss is not finite; names cycle, epoch and learning rate.
        UserError: a pool smaller than a batch of FixMatch.
    """
    device, train = split.labels.device, settings.train
    if device.type == "cpu":
        keep_memory()
    model = build(split.modalities, split.classes, settings, dropout, chance.number("init")).to(device)
    optimiser, lesson = make_optimiser(model, train), _lesson(split, pool, train, chance)
    masks = dropout_masks(model, settings, chance)
    best, best_epoch, weights = -1.0, 0, {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(chance.number("dropout"))
        for epoch in range(train.epochs):
            loss = train_epoch(model.train(), optimiser, lesson, epoch)
            read = train.checkpoint == "best" or epoch == train.epochs - 1
            score = _validate(model.eval(), split, validation, masks) if read else best
            if score is None or not torch.isfinite(loss):
                rates = [train.lr * factor(train, lesson.steps, epoch, step) for step in range(lesson.steps)]
                raise Diverged(
                    f"cycle {chance.cycle}, epoch {epoch + 1} of {train.epochs}: the loss is not finite at a learning rate of "
                    f"up to {max(rates):.3g}; lower it: --set train.lr={train.lr / 10:g}"
                )
            if score > best or train.checkpoint == "last":
                best, best_epoch = score, epoch
                weights = {name: value.clone() for name, value in model.state_dict().items()}
            on_epoch(epoch + 1)
    model.load_state_dict(weights)
    return Fitted(model, best_epoch, {"balanced_accuracy": best})


def _lesson(split: Split, pool: Pool, train: Train, chance: Chance) -> Batches | FixMatch:
    """What there is to learn from."""
    if train.fixmatch.enabled:
        return FixMatch(split, pool.labelled_index, pool.unlabelled_index, train, chance)
    return Batches(split, pool.labelled_index, train, chance)


def train_epoch(model: Model, optimiser: torch.optim.Optimizer, lesson: Batches | FixMatch, epoch: int) -> Tensor:
    """Trains for one epoch; returns the sum of the losses of its steps, which is finite only if all were."""
    total = torch.zeros((), device=lesson.split.labels.device)
    for step, loss in enumerate(lesson.losses(model)):
        for group in optimiser.param_groups:
            group["lr"] = lesson.train.lr * factor(lesson.train, lesson.steps, epoch, step)
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


def _validate(model: Model, split: Split, validation: Tensor, masks: Tensor | None) -> float | None:
    """Balanced accuracy on the validation samples; None if a logit is not finite."""
    logits = predict(model, split, validation, {"logits"}, masks).logits
    if not torch.isfinite(logits).all():
        return None
    return balanced_accuracy(logits.argmax(dim=1), split.labels[validation.to(split.labels.device)], split.classes)
