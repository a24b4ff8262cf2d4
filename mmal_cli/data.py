"""A split in memory or on the device, the subsets of its modalities, and its bytes as a network wants them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mmal_cli.core import shards
from mmal_cli.core.manifest import Dataset, Modality
from mmal_cli.device import sent
from mmal_cli.pool import Subset

AT_A_TIME = 256  # samples that are shrunk at once: 150 MB of float32 for 224 px


@dataclass(frozen=True)
class Batch:
    """B samples: inputs as on disk (B, ...), labels (B,) int64; on the CPU present (B, M) bool."""

    inputs: Mapping[str, Tensor]
    present: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """N samples, bytes as on disk: inputs (N, ...), labels (N,) int64, on one device; present (N, M) bool, on the CPU.

    Which samples have a modality decides how many an encoder gets: on the CPU nobody has to wait for that.

    `groups` (N,) int64, there too, says which samples belong together, as a patient's do; None where every sample stands alone.
    `reserved` (N,) bool, likewise, says which samples serve validation alone; None where it takes any.
    """

    modalities: tuple[Modality, ...]
    classes: int
    inputs: Mapping[str, Tensor]
    present: Tensor
    labels: Tensor
    groups: Tensor | None = None
    reserved: Tensor | None = None

    @property
    def names(self) -> Subset:
        """Modality names, in the order of the columns of `present`."""
        return tuple(modality.name for modality in self.modalities)

    def batch(self, index: Tensor) -> Batch:
        """The samples at some positions, (B,) int64 on the CPU, copied."""
        there = sent(index, self.labels.device)
        return Batch({name: x[there] for name, x in self.inputs.items()}, self.present[index], self.labels[there])

    def to(self, device: torch.device) -> "Split":
        """The same split with inputs and labels on a device."""
        return replace(self, inputs={name: x.to(device) for name, x in self.inputs.items()}, labels=self.labels.to(device))


def load_split(folder: Path, dataset: Dataset, split: str) -> Split:
    """Reads a split of a dataset folder into memory, checked."""
    return split_of(shards.read_split(folder, dataset, split), dataset)


def split_of(samples: shards.Samples, dataset: Dataset) -> Split:
    """The samples as tensors that share their memory; ids and factors stay behind."""
    inputs = {name: torch.from_numpy(array) for name, array in samples.inputs.items()}
    present, labels = torch.from_numpy(samples.present), torch.from_numpy(samples.label)
    groups, reserved = (None if x is None else torch.from_numpy(x) for x in (samples.group, samples.reserved))
    return Split(tuple(dataset.modalities), dataset.classes, inputs, present, labels, groups, reserved)


def shrunk(split: Split, most: Mapping[str, int]) -> Split:
    """The split with images and series made small enough that no side and no length is above a number.

    Neighbours are averaged, a whole number of them, the same along each side that has so many; what they do not fill at the far
    end is left out.

    Args:
        most: modality name or kind -> pixels of a side or samples of a series.

    Cost: reads the inputs once, about 0.1 s for 100 MB of uint8; memory the small ones beside the large ones.
    """
    modalities, inputs = [], dict(split.inputs)
    for modality in split.modalities:
        steps = shrinking(modality, most)
        if max(steps, default=1) > 1:
            inputs[modality.name] = torch.cat([_averaged(x, steps) for x in inputs[modality.name].split(AT_A_TIME)])
            modality = modality.model_copy(update={"shape": tuple(inputs[modality.name].shape[1:])})
        modalities.append(modality)
    return replace(split, modalities=tuple(modalities), inputs=inputs)


def shrinking(modality: Modality, most: Mapping[str, int]) -> tuple[int, ...]:
    """How many neighbours are averaged along each side; none for what has no limit or no sides."""
    limit = most.get(modality.name, most.get(modality.kind))
    if limit is None or modality.kind not in ("image", "series"):
        return ()
    step = math.ceil(max(modality.shape[1:]) / limit)
    return tuple(min(step, side) for side in modality.shape[1:])


def _averaged(x: Tensor, step: tuple[int, ...]) -> Tensor:
    """(n, C, H, W) or (n, C, T) in the same dtype, whole numbers rounded."""
    pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool1d
    mean = pool(x.float(), step)
    return (mean if x.is_floating_point() else mean.round()).to(x.dtype)


def subsets(modalities: Subset) -> list[Subset]:
    """All 2^M - 1 non-empty subsets, small ones first, each in the order of `modalities`."""
    return [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]


def subset_name(subset: Subset) -> str:
    """`a`, `b`, `a+b`; as in manifests and tables."""
    return "+".join(subset)


def keep(present: Tensor, modalities: Subset, subset: Subset) -> Tensor:
    """`present` (B, M) with all modalities outside the subset taken away."""
    kept = torch.tensor([name in subset for name in modalities], device=present.device)
    return present & kept
