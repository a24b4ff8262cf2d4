"""Makes a pretrained folder: finds it done, goes on with it, or refuses another's."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmal_cli.core import files
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality, made
from mmal_cli.core.pretrained import RECORD, Pretrained, Recipe, Weights, encoder_of, intact
from mmal_cli.core.protocol import Settings
from mmal_cli.core.settings import for_name
from mmal_cli.data import load_split, shrunk
from mmal_cli.device import device_name
from mmal_cli.pretraining import simclr

OnModality = Callable[[str], Callable[[int, int], None]]


def pretrain(
    dataset: Dataset,
    data: Path,
    settings: Settings,
    recipe: Recipe,
    seed: int,
    folder: Path,
    device: torch.device,
    command: str,
    on_modality: OnModality = lambda name: lambda done, total: None,
) -> tuple[Pretrained, bool]:
    """Teaches the encoder of every image modality, one after the other.

    Args:
        on_modality: called with a name, gives what is called with (epochs done, epochs in all).

    Returns:
        The manifest, and whether anything had to be learnt.

    Raises:
        UserError: no image modality; a folder of another configuration; a loss that is not finite.
    """
    started, images = time.monotonic(), [m for m in dataset.modalities if m.kind == "image"]
    if not images:
        raise UserError(f"{dataset.name} has no images, which is what SimCLR's views are of")
    config = _config(settings, recipe, images)
    asked = {"dataset": dataset.name, "dataset_id": dataset.id, "seed": seed, "config": config}
    if (folder / RECORD).exists():
        found = Pretrained.read(folder / RECORD)
        if said := files.difference(folder, found.model_dump(include=set(asked)), asked):
            raise UserError(f"{said}; choose another --out, or remove that folder")
        intact(folder, found)
        return found, False
    split = shrunk(load_split(data, dataset, "train"), settings.shrink).to(device)
    weights, identity = {}, files.identity(asked)
    for m in images:
        path = folder / f"{m.name}.pt"
        state, epochs = simclr.learn(
            split, m.name, settings, recipe, seed, folder / f"{m.name}.part", identity, on_modality(m.name)
        )
        whole = io.BytesIO()  # in memory, so that a full disk is met by Python and is an OSError
        torch.save(state, whole)
        with files.atomic(path) as part:
            part.write_bytes(whole.getvalue())
        encoder, options = encoder_of(settings.model.encoders, settings.model.encoder_options, m.name, m.kind)
        weights[m.name] = Weights(file=path.name, sha256=files.sha256(path), encoder=encoder, options=options, epochs=epochs)
    info = made(started, command, ("torch", "torchvision")) | {"device": device_name(device)}
    found = Pretrained(id=identity, modalities=weights, made=info, **asked)
    found.write(folder / RECORD)
    for m in images:
        (folder / f"{m.name}.part").unlink(missing_ok=True)
    return found, True


def _config(settings: Settings, recipe: Recipe, images: list[Modality]) -> dict[str, Any]:
    """All that the weights depend on beside the dataset and the seed."""
    model = settings.model
    return {
        "recipe": recipe.model_dump(mode="json"),
        "encoders": {m.name: list(encoder_of(model.encoders, model.encoder_options, m.name, m.kind)) for m in images},
        "normalise": {m.name: for_name(settings.normalise, m.name, m.kind, "normalise").model_dump() for m in images},
        "shrink": dict(settings.shrink),
    }
