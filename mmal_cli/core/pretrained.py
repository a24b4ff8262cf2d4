"""What `mmal pretrain` makes: a folder with the weights of encoders and `pretrained.yaml`, which says what they are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from mmal_cli.core import files, plugins
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset, Manifest, Strict

RECIPES = "pretrainings"
RECORD = "pretrained.yaml"
ROOT = Path("pretrained")  # of the folders that nobody has given another place


class Recipe(Strict):
    """How SimCLR teaches; one file of pretrainings/."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(ge=1)
    warmup_epochs: int = Field(ge=0)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0)
    lr_start: float = Field(0.0, ge=0)  # of the warm-up
    lr_end: float = Field(0.0, ge=0)
    weight_decay: float = Field(ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    temperature: float = Field(gt=0)
    hidden: int = Field(512, ge=1)  # of the projection, and what it ends in
    projection: int = Field(128, ge=1)
    jitter: float = Field(ge=0, le=1)
    blur: bool


class Epoch(Strict):
    """What an epoch came to: mean loss, and the accuracy of a linear classifier that learns beside the encoder."""

    loss: float
    probe: float


class Weights(Strict):
    """One modality's encoder."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]+\.pt$")
    sha256: str
    encoder: str
    options: dict[str, Any]
    epochs: list[Epoch]


class Pretrained(Manifest):
    """`pretrained.yaml`; its existence means that the folder is complete."""

    kind: Literal["pretrained"] = "pretrained"
    dataset: str
    dataset_id: str
    seed: int
    config: dict[str, Any]
    modalities: dict[str, Weights]
    made: dict[str, Any]


def folder(dataset: str, seed: int, root: Path = ROOT) -> Path:
    """`<root>/<dataset>/seed-<k>`: the weights for the runs of a seed."""
    return root / dataset / f"seed-{seed}"


def encoder_of(table: Mapping[str, str], options: Mapping[str, Mapping[str, Any]], name: str, kind: str) -> tuple[str, dict]:
    """A modality's encoder as tables call it, and its options."""
    label = plugins.label(table.get(name, table.get(kind, "")))
    return label, dict(options.get(label, {}))


def read(folder: Path, dataset: Dataset, encoders: Mapping[str, str], options: Mapping[str, Mapping[str, Any]]) -> Pretrained:
    """The manifest of a folder, for runs on a dataset with these encoders.

    Raises:
        UserError: not there, damaged, of another dataset, or of another encoder.
    """
    seed = f" --seed {found[1]}" if (found := re.fullmatch(r"seed-(\d+)", folder.name)) else ""
    helps = f"mmal pretrain --data data/{dataset.name}{seed} --out {folder} (and this run's --with and --set)"
    found = Pretrained.read(folder / RECORD, helps=helps)
    if (found.dataset, found.dataset_id) != (dataset.name, dataset.id):
        there, asked = f"{found.dataset} with id {found.dataset_id}", f"{dataset.name} with id {dataset.id}"
        raise UserError(f"{folder} was pretrained on {there}, the run is on {asked}; choose another folder")
    for modality in dataset.modalities:
        if modality.name in found.modalities:
            weights = found.modalities[modality.name]
            asked = encoder_of(encoders, options, modality.name, modality.kind)
            if (weights.encoder, weights.options) != asked:
                there = _said(weights.encoder, weights.options)
                raise UserError(
                    f"{folder} has {modality.name} for encoder {there}, the run has {_said(*asked)}; "
                    "give mmal pretrain and mmal al-run the same --with and --set"
                )
    return found


def intact(folder: Path, found: Pretrained) -> None:
    """Refuses a folder whose weights are missing or edited."""
    for one in found.modalities.values():
        path = folder / one.file
        if not path.exists() or files.sha256(path) != one.sha256:
            helps = f"remove {folder / RECORD} and make it again: {found.made.get('command')} --out {folder}"
            raise UserError(f"{path} is missing, damaged or edited; {helps}", BAD_DATA)


def _said(encoder: str, options: Mapping[str, Any]) -> str:
    return f"{encoder} {dict(options)}" if options else encoder
