"""Can shape, texture and colour each be read off QuintFeatures? One small convnet for each, trained from scratch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from data_recipes.quint import render, sampling
from data_recipes.quint.setting import Picture, Setting
from mmal_cli.core import seeds

FACTORS = ("shape", "texture", "colour")
SIZE = 64
TRAIN = 60_000  # images, each shown once, so that nothing can be learnt by heart
TEST = 4_000
BATCH = 100
RATE = 4e-3
SEED = 0


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Trains and tests one classifier for each factor of the foreground.

    Args:
        on_progress: called with (images seen, images in all).

    Returns:
        A row for each factor: its accuracy on images that were never trained on, in percent.
    """
    rows = []
    for number, factor in enumerate(FACTORS):
        model = fit(factor, lambda seen, base=number * TRAIN: on_progress(base + seen, len(FACTORS) * TRAIN))
        rows.append({"factor": factor, "accuracy %": round(accuracy(model, factor), 2), "train": TRAIN, "test": TEST})
    return rows


class Classifier(nn.Module):
    """A small residual network, mean and maximum over places: 420,000 weights. (B, 3, W, W) -> (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), *_layer(12, 32, 1))
        self.down = nn.ModuleList([nn.Sequential(*_layer(32, 64, 2)), nn.Sequential(*_layer(64, 128, 2))])
        self.more = nn.ModuleList([nn.Sequential(*_layer(64, 64, 1)), nn.Sequential(*_layer(128, 128, 1))])
        self.head = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for down, more in zip(self.down, self.more, strict=True):
            x = down(x)
            x = x + more(x)
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


def _layer(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]


def fit(factor: str, on_images: Callable[[int], None]) -> nn.Module:
    """Trains on a stream of fresh images with AdamW and a one-cycle rate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(SEED, "learnability", factor))
        model = Classifier().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=TRAIN // BATCH)
    for step, (images, target) in enumerate(batches(factor, "train", TRAIN), 1):
        loss = nn.functional.cross_entropy(model(images), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        on_images(step * BATCH)
    return model


def accuracy(model: nn.Module, factor: str) -> float:
    """Share of the test images whose factor is named rightly, in percent."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(images).argmax(dim=1) == target).sum()) for images, target in batches(factor, "test", TEST))
    return 100 * right / TEST


def batches(factor: str, split: str, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of one modality, balanced in the factor, all else independent: (B, 3, W, W) in -1..1 and (B,) values."""
    setting = Setting(modalities=["a"], label=[f"a.{factor}"])
    studio = render.studio(Picture(), SIZE)
    for start in range(0, count, BATCH):
        label = sampling.labels(setting, SEED, split, start, start + BATCH)
        factors = sampling.factors(setting, SEED, split, start, label)["a"]
        images = render.images(studio, SEED, split, "a", start, factors, np.arange(BATCH))
        yield (
            torch.from_numpy(images).float().sub_(127.5).div_(127.5).to(memory_format=torch.channels_last),
            torch.from_numpy(label),
        )
