"""SimCLR: an encoder learns to know two views of an image from all others (Chen et al. 2020), epoch by epoch, resumably."""

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmal_cli.core import files, seeds
from mmal_cli.core.errors import UserError
from mmal_cli.core.pretrained import Epoch, Recipe
from mmal_cli.core.protocol import Settings
from mmal_cli.data import Split
from mmal_cli.device import keep_memory, sent
from mmal_cli.model import build
from mmal_cli.pretraining.lars import LARS
from mmal_cli.pretraining.views import view

SAVE_EVERY = 60.0  # seconds between two savings
PROBE_LR = 0.1
PARTS = ("body", "projection", "probe", "optimiser", "probing")


@dataclass(frozen=True)
class Pupil:
    """One modality's encoder, the projection that is thrown away, and a linear classifier that only watches."""

    body: nn.Sequential  # adapter and encoder
    projection: nn.Sequential
    probe: nn.Linear
    optimiser: LARS
    probing: torch.optim.SGD

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {name: getattr(self, name).state_dict() for name in PARTS}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])


def learn(
    split: Split,
    name: str,
    settings: Settings,
    recipe: Recipe,
    seed: int,
    path: Path,
    identity: str,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Tensor], list[Epoch]]:
    """Teaches one modality's encoder, or goes on with it.

    Args:
        split: train, on the device to train on; samples that lack the modality, or are reserved, are not read.
        name: of the modality.
        settings: encoder, normalisation.
        path: where what the next epoch depends on is kept until it is done, about once a minute.
        identity: of all that the weights depend on; a file of another is not read.
        on_epoch: called with (epochs done, epochs in all).

    Returns:
        The encoder's weights on the CPU, and loss and the probe's accuracy of each epoch.

    Raises:
        UserError: the loss is not finite; fewer than two images.
    """
    device = split.labels.device
    if device.type == "cpu":
        keep_memory()
    column = split.names.index(name)
    usable = split.present[:, column] if split.reserved is None else split.present[:, column] & ~split.reserved
    index = usable.nonzero().flatten()
    if len(index) < 2:
        raise UserError(f"{len(index)} samples of train have {name}, expected 2 or more to tell apart")
    pupil, history = make(split, name, settings, recipe, seeds.derive(seed, "simclr", name, "init")), []
    if kept := _read(path, identity, device):
        pupil.load(kept["pupil"])
        history = [Epoch.model_validate(one) for one in kept["history"]]
    saved = time.monotonic()
    for epoch in range(len(history), recipe.epochs):
        on_epoch(epoch, recipe.epochs)
        history.append(_epoch(pupil, split, name, index, recipe, epoch, seed))
        if time.monotonic() - saved > SAVE_EVERY or epoch + 1 == recipe.epochs:
            _write(path, identity, {"pupil": pupil.state(), "history": [one.model_dump() for one in history]})
            saved = time.monotonic()
    on_epoch(recipe.epochs, recipe.epochs)
    return {key: value.cpu() for key, value in pupil.body[1].state_dict().items()}, history


def make(split: Split, name: str, settings: Settings, recipe: Recipe, seed: int) -> Pupil:
    """A pupil with first weights by the seed."""
    model = build(split.modalities, split.classes, settings, 0.0, seed)
    body, device = nn.Sequential(model.adapters[name], model.encoders[name]), split.labels.device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        width = model.encoders[name].width
        first = nn.Linear(width, recipe.hidden, bias=False), nn.BatchNorm1d(recipe.hidden), nn.ReLU()
        projection = nn.Sequential(*first, nn.Linear(recipe.hidden, recipe.projection, bias=False))
        probe = nn.Linear(width, split.classes)
    for part in (body, projection, probe):
        part.to(device)
    learning = [p for part in (body, projection) for p in part.parameters() if p.requires_grad]
    optimiser = LARS(learning, recipe.lr, recipe.momentum, recipe.weight_decay)
    return Pupil(body, projection, probe, optimiser, torch.optim.SGD(probe.parameters(), PROBE_LR, momentum=0.9))


def _epoch(pupil: Pupil, split: Split, name: str, index: Tensor, recipe: Recipe, epoch: int, seed: int) -> Epoch:
    """One epoch over whole batches; chance is the epoch's own."""
    losses, hits, seen = [], torch.zeros((), device=split.labels.device), 0
    pupil.body.train()
    pupil.projection.train()
    for step, (positions, views) in enumerate(_batches(split.inputs[name], index, recipe, epoch, seed)):
        steps = len(index) // min(recipe.batch_size, len(index))
        for group in pupil.optimiser.param_groups:
            group["lr"] = rate(recipe, epoch * steps + step, steps)
        h = pupil.body(views)
        loss = contrast(pupil.projection(h), recipe.temperature)
        pupil.optimiser.zero_grad()
        loss.backward()
        pupil.optimiser.step()
        labels = split.labels[positions].repeat(2)
        logits = pupil.probe(h.detach())
        pupil.probing.zero_grad()
        functional.cross_entropy(logits, labels).backward()
        pupil.probing.step()
        losses.append(loss.detach())
        hits, seen = hits + (logits.argmax(dim=1) == labels).sum(), seen + len(labels)
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        place = f"{name}, epoch {epoch + 1} of {recipe.epochs}"
        raise UserError(f"{place}: the loss is not finite at a learning rate of {recipe.lr:g}; give a recipe with a lower one")
    return Epoch(loss=mean, probe=float(hits) / seen)


def _batches(images: Tensor, index: Tensor, recipe: Recipe, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions (B,) and both views of them (2B, C, H, W), first all first ones; what does not fill a batch is left out."""
    order, rng = (seeds.generator(seed, "simclr", purpose, epoch) for purpose in ("order", "views"))
    index = index[torch.randperm(len(index), generator=order)]
    size = min(recipe.batch_size, len(index))
    for positions in index[: len(index) // size * size].split(size):
        some = images[positions := sent(positions, images.device)]
        yield positions, torch.cat([view(some, recipe.jitter, recipe.blur, rng) for _ in range(2)])


def contrast(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent: each view is to be nearer to its partner than to all others; z (2B, P), row b beside row b + B."""
    z = functional.normalize(z.float(), dim=1)
    alike = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
    return functional.cross_entropy(alike, partner)


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step of so many in each epoch: linear over the warm-up, then half a cosine."""
    warmup, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    if step < warmup:
        return recipe.lr_start + (recipe.lr - recipe.lr_start) * step / warmup
    falling = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    return recipe.lr_end + (recipe.lr - recipe.lr_end) * falling


def _write(path: Path, identity: str, state: Mapping[str, Any]) -> None:
    whole = io.BytesIO()  # in memory, so that a full disk is met by Python and is an OSError
    torch.save({"identity": identity, **state}, whole)
    with files.atomic(path) as part:
        part.write_bytes(whole.getvalue())


def _read(path: Path, identity: str, device: torch.device) -> dict[str, Any] | None:
    """What was kept of the same learning; None if there is nothing."""
    if not path.exists():
        return None
    kept = torch.load(path, map_location=device, weights_only=True)
    return kept if kept["identity"] == identity else None
