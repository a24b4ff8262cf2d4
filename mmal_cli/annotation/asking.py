"""Trains on all labels that there are, measures on the validation rows of train, and chooses whom to ask about next.

The samples of a campaign are those of train and, after them, of unlabelled. Test is never read.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmal_cli import fixmatch
from mmal_cli.annotation import campaign as campaigns
from mmal_cli.annotation.campaign import Ask, Campaign, Guess
from mmal_cli.cell import Cell
from mmal_cli.core import shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import UNLABELLED, Cycle, made
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split, keep, load_split, shrunk, split_of, subset_name, subsets
from mmal_cli.device import device_name, forget_peak_memory, peak_memory_mb
from mmal_cli.loop import view_of
from mmal_cli.method import load_method, select
from mmal_cli.metrics import metrics
from mmal_cli.pool import Pool
from mmal_cli.predict import dropout_masks, predict
from mmal_cli.start import validation_of
from mmal_cli.train import Fitted, fit


@dataclass(frozen=True)
class Material:
    """Samples of train and, from position `first` on, of unlabelled, whose ids are `ids`; answered ones have their label."""

    split: Split
    first: int
    ids: list[str]
    pool: Pool
    validation: Tensor


def ask(
    cell: Cell,
    data: Path,
    campaign: Campaign,
    number: int,
    size: int,
    labels: Mapping[str, str],
    asked: Collection[str],
    device: torch.device,
    command: str,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Ask:
    """One ask. It depends on the seed, its number, its size, which samples were asked for and the labels, on no order of these.

    Args:
        cell: dataset, method, seed and settings.
        data: the dataset's folder.
        campaign: that of the cell.
        number: of asks before this one.
        size: samples to ask for; 0 measures only.
        labels: id -> class's name, of all answered.
        asked: ids that nobody is asked about again.
        device: where to train.
        command: that makes this ask; kept with it.
        on_epoch: called with the number of epochs done.

    Raises:
        UserError: a class nobody has labelled, answers to samples that are not there, a pool that is too small, and all that
            training and choosing refuse.
    """
    started = time.monotonic()
    forget_peak_memory(device)
    method = load_method(cell.qm, cell.settings.query_options)
    material = gather(cell, data, labels, asked, device)
    split, pool, chance, clock = material.split, material.pool, Chance(cell.seed, number), [time.monotonic()]
    _enough(material, size, cell)
    dropout = cell.settings.model.mc_dropout if "passes" in method.needs else 0.0
    fitted = fit(split, pool, material.validation, cell.settings, dropout, chance, on_epoch)
    clock.append(time.monotonic())
    masks = dropout_masks(fitted.model, cell.settings, chance)
    measured = _measured(fitted, material, masks)
    clock.append(time.monotonic())
    selected = torch.empty(0, dtype=torch.int64)
    if size:
        view = view_of(fitted, split, pool, method.needs, masks, number, max(cell.settings.budget.cycles, number + 2))
        selected = select(method, view, size, chance("query"))
    guesses = _guesses(fitted, split, selected, masks)
    clock.append(time.monotonic())
    cycle = Cycle(
        number=number,
        labels=len(pool.labelled_index),
        best_epoch=fitted.best_epoch,
        validation=fitted.validation,
        metrics=measured,
        seconds={name: round(b - a, 3) for name, a, b in zip(("train", "test", "query"), clock, clock[1:], strict=False)},
        peak_memory_mb=peak_memory_mb(device),
        deterministic=torch.are_deterministic_algorithms_enabled() or None,
    )
    packages = ("torch", "torchvision", "numpy", *(("transformers",) if "weights" in cell.content else ()))
    info = made(started, command, packages) | {"device": device_name(device)}
    names = [material.ids[position - material.first] for position in selected.tolist()]
    return campaigns.asked(campaign, cycle, names, guesses, labels, info)


def gather(cell: Cell, data: Path, labels: Mapping[str, str], asked: Collection[str], device: torch.device) -> Material:
    """All samples; labelled are those of train and the answered ones, but validation and its groups.

    The pool has what is unlabelled, not asked for, and of no group of validation. Memory: train and unlabelled, twice while
    they are joined.
    """
    train = shrunk(load_split(data, cell.dataset, "train"), cell.settings.shrink)
    samples = shards.read_split(data, cell.dataset, UNLABELLED)
    ids, other = samples.id.tolist(), shrunk(split_of(samples, cell.dataset), cell.settings.shrink)
    at = {name: k for k, name in enumerate(ids)}
    classes = {name: c for c, name in enumerate(cell.dataset.class_names)}
    if strange := [f"{label!r} of {name!r}" for name, label in labels.items() if name not in at or label not in classes]:
        raise UserError(f"the journal of answers was edited: {data} has no such sample or class: {strange[0]}", BAD_DATA)
    n, budget = len(train.labels), cell.settings.budget
    if budget.validation >= n:
        helps = f"--set regimes.{cell.regime}.validation=..."
        raise UserError(f"validation size {budget.validation} is not smaller than train with its {n} samples; {helps}")
    _, taken, validation = validation_of(train, cell)
    barred = torch.tensor([name in asked for name in ids]) | _of_groups(other, train, validation)
    answered = torch.tensor([at[name] for name in labels], dtype=torch.int64)
    other.labels[answered] = torch.tensor([classes[label] for label in labels.values()], dtype=torch.int64)
    barred[answered] = False
    pool = Pool(n + len(ids), torch.cat([taken, barred]).nonzero().flatten())
    pool.label(torch.cat([(~taken).nonzero().flatten(), n + answered]))
    split = _joined(train, other)
    _every_class(split.labels[pool.labelled_index], len(validation), cell)
    return Material(split.to(device), n, ids, pool, validation)


def _enough(material: Material, size: int, cell: Cell) -> None:
    """Refuses before any training what the pool does not suffice for."""
    left = len(material.pool.unlabelled_index)
    if size > left:
        helps = f"at most: --size {left}" if left else "measure what there is: --size 0"
        raise UserError(f"{left} of {len(material.ids)} unlabelled samples are left to be asked for, --size is {size}; {helps}")
    if cell.settings.train.fixmatch.enabled:
        fixmatch.steps(left, cell.settings.train)


def _of_groups(other: Split, train: Split, validation: Tensor) -> Tensor:
    """(n,) bool: unlabelled samples of a group that validation has: who learnt from them would have seen the patient."""
    if other.groups is None or train.groups is None:
        return torch.zeros(len(other.labels), dtype=torch.bool)
    return torch.isin(other.groups, train.groups[validation])


def _joined(one: Split, other: Split) -> Split:
    inputs = {name: torch.cat([x, other.inputs[name]]) for name, x in one.inputs.items()}
    present, labels = torch.cat([one.present, other.present]), torch.cat([one.labels, other.labels])
    return replace(one, inputs=inputs, present=present, labels=labels, groups=None, reserved=None)


def _every_class(labels: Tensor, validation: int, cell: Cell) -> None:
    """Refuses to train where a class has no sample: no model could ever ask for one."""
    dataset, counts = cell.dataset, np.bincount(labels.numpy(), minlength=cell.dataset.classes)
    missing = [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]
    if missing:
        raise UserError(
            f"{dataset.name}: {len(missing)} of {dataset.classes} classes have no labelled sample to train on beside the "
            f"{validation} of validation, the first: {missing[0]}; label some of each in the table and make the dataset again, "
            f"or take fewer for validation: --set regimes.{cell.regime}.validation=..."
        )


def _measured(fitted: Fitted, material: Material, masks: Tensor | None) -> dict[str, dict[str, float]]:
    """All metrics of every subset of modalities on the validation samples."""
    split, index = material.split, material.validation
    found = predict(fitted.model, split, index, {"subset_logits"}, masks, subsets(split.names)).subset_logits
    labels = split.labels[index.to(split.labels.device)]
    return {subset_name(subset): metrics(logits, labels) for subset, logits in found.items()}


def _guesses(fitted: Fitted, split: Split, selected: Tensor, masks: Tensor | None) -> dict[str, list[Guess]]:
    """What the model says of the samples asked for; nothing from modalities that a sample has not."""
    if not len(selected):
        return {}
    every = subsets(split.names)
    found = predict(fitted.model, split, selected, {"subset_logits"}, masks, every).subset_logits
    guesses = {}
    for subset in every:
        p, c = found[subset].double().softmax(dim=1).max(dim=1)
        seen = keep(split.present[selected], split.names, subset).any(dim=1).tolist()
        rows = zip(c.tolist(), p.tolist(), seen, strict=True)
        guesses[subset_name(subset)] = [(best, round(share, 6)) if has else None for best, share, has in rows]
    return guesses
