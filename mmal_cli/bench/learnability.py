"""Can shape, texture and colour each be read off QuintFeatures? One small convnet for each, trained from scratch."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from data_recipes.quint import render, sampling
from data_recipes.quint.setting import Picture, Setting
from data_recipes.workers import processes
from mmal_cli.core import seeds

SIZE = 64
TRAIN = {"shape": 120_000, "texture": 100_000, "colour": 20_000}  # images, each shown once: nothing can be learnt by heart
TEST = 4_000
BATCH = 40
RATE = 2e-3
SEED = 0


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Trains and tests one classifier for each factor of the foreground, side by side in processes of one thread.

    Args:
        on_progress: called with (images seen, images in all) after each factor.

    Returns:
        A row for each factor: its accuracy on images that were never trained on, in percent.
    """
    on_progress(0, sum(TRAIN.values()))
    rows = []
    with processes(min(len(TRAIN), os.cpu_count() or 1)) as in_order:
        for row in in_order(measure, [(factor, train, TEST) for factor, train in TRAIN.items()]):
            rows.append(row)
            on_progress(sum(row["train"] for row in rows), sum(TRAIN.values()))
    return rows


def measure(factor: str, train: int, test: int) -> dict:
    """One row: trains on `train` images and tests on `test` others. Cost: about 2.5 ms of one core for an image trained on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on small batches a second thread costs more than it gives
    try:
        found = accuracy(fit(factor, train), factor, test)
    finally:
        torch.set_num_threads(threads)
    return {"factor": factor, "accuracy %": round(found, 2), "train": train, "test": test}


class Classifier(nn.Module):
    """A small residual network, then mean and maximum over places: 285,000 weights. (B, 3, W, W) in 0..1 -> (B, 10).

    It also sees the logarithm of the strongest channel, in which a texture has the same contrast in every colour: that
    saves it from learning each texture ten times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), *_layer(16, 32, 1))
        self.down = nn.ModuleList([nn.Sequential(*_layer(32, 64, 2)), nn.Sequential(*_layer(64, 128, 2))])
        self.more = nn.ModuleList([nn.Sequential(*_layer(64, 64, 1)), nn.Sequential(*_layer(128, 128, 1))])
        self.head = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        strongest = images.amax(dim=1, keepdim=True)
        x = torch.cat([2 * images - 1, (strongest + 0.02).log() / 1.5 + 1], dim=1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for down, more in zip(self.down, self.more, strict=True):
            x = down(x)
            x = x + more(x)
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


def _layer(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]


def fit(factor: str, count: int) -> nn.Module:
    """Trains on a stream of `count` fresh images with AdamW and a one-cycle rate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(SEED, "learnability", factor))
        model = Classifier().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=count // BATCH)
    for images, target in batches(factor, "train", count):
        loss = nn.functional.cross_entropy(model(images), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model


def accuracy(model: nn.Module, factor: str, count: int) -> float:
    """Share of `count` test images whose factor is named rightly, in percent."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(images).argmax(dim=1) == target).sum()) for images, target in batches(factor, "test", count))
    return 100 * right / count


def batches(factor: str, split: str, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of one modality, balanced in the factor, all else independent: (B, 3, W, W) in 0..1 and (B,) values."""
    setting = Setting(modalities=["a"], label=[f"a.{factor}"])
    studio = render.studio(Picture(), SIZE)
    for start in range(0, count, BATCH):
        label = sampling.labels(setting, SEED, split, start, start + BATCH)
        factors = sampling.factors(setting, SEED, split, start, label)["a"]
        images = render.images(studio, SEED, split, "a", start, factors, np.arange(BATCH))
        yield torch.from_numpy(images).float().div_(255), torch.from_numpy(label)
