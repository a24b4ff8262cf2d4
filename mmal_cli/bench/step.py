"""How fast is a training step, beside per-image Pillow in a DataLoader and eager NCHW float32 steps?"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import chain, repeat
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmal_cli.batches import Batches
from mmal_cli.bench._floor import floor
from mmal_cli.bench._turns import beside, in_turns
from mmal_cli.bench.augment import by_pillow, to_pillow
from mmal_cli.core.manifest import Modality
from mmal_cli.core.protocol import Budget, Model, Scale, Settings, Train
from mmal_cli.core.seeds import Chance, generator
from mmal_cli.data import Split
from mmal_cli.depthwise import Depthwise
from mmal_cli.device import choose_device, keep_memory
from mmal_cli.moddrop import drop_modalities
from mmal_cli.model import build
from mmal_cli.train import make_optimiser, train_epoch

SIZE, CLASSES, BATCH, STEPS = 64, 100, 128, 4
ENCODER = "efficientnet"
ROUNDS = 5
WORKERS = 2  # of the reference


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Trains both ways in turns, each in a process of its own: two image modalities, batch 128, RandAugMC, modality dropout.

    A round is an epoch of a few steps, so that the reference's workers have nothing left to do when it is the other's turn. A
    step at the speed of memory would take the time of `_floor.floor`.
    """
    with process() as one, process() as other:
        ways = {"ours": lambda: one.submit(ours).result(), "reference": lambda: other.submit(reference).result()}
        seconds = in_turns(ways, ROUNDS, on_progress)
        least = one.submit(least_seconds).result() * STEPS / median(seconds["ours"])
    what = {"device": str(device()), "encoder": ENCODER, "pixels": SIZE, "batch": BATCH}
    compared = beside(seconds["ours"], seconds["reference"], "pairs/s", lambda s: BATCH * STEPS / s)
    return [what | compared | {"% of the speed of memory": round(100 * least, 1)}]


def process() -> ProcessPoolExecutor:
    """One that has nothing yet."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def device() -> torch.device:
    """Both ways' own: a GPU if there is one."""
    return choose_device("auto")


def settings() -> Settings:
    """The protocol's defaults with RandAugMC, an epoch as long as a round."""
    train = Train(batch_size=BATCH, min_epoch_samples=BATCH * STEPS, augmentation="randaug", lr=0.01, warmup_epochs=0)
    scale = {"image": Scale(mean=[0.5], std=[0.5])}
    return Settings(
        model=Model(encoders={"image": ENCODER}),
        train=train,
        normalise=scale,
        start_set="random",
        validation_set="random",
        query_options={},
        budget=Budget(start=BATCH * STEPS, validation=1, query=1, cycles=1),
    )


@cache
def split() -> Split:
    """Noise in uint8, as many samples as a round trains on."""
    count, rng = BATCH * STEPS, generator(0, "bench")
    modalities = tuple(Modality(name=name, kind="image", shape=(3, SIZE, SIZE), dtype="uint8") for name in "ab")
    inputs = {m.name: torch.randint(256, (count, *m.shape), generator=rng, dtype=torch.uint8) for m in modalities}
    present = torch.ones(count, len(modalities), dtype=torch.bool)
    return Split(modalities, CLASSES, inputs, present, torch.randint(CLASSES, (count,), generator=rng))


@cache
def _ours() -> Iterator[float]:
    keep_memory()
    data, train = split().to(device()), settings().train
    model = build(data.modalities, CLASSES, settings(), 0.0, seed=0).train().to(device())
    optimiser, batches = make_optimiser(model, train), Batches(data, torch.arange(len(data.labels)), train, Chance(0, 0))
    while True:
        yield float(train_epoch(model, optimiser, batches, 1))


def ours() -> float:
    """An epoch of the training engine; the sum of its losses."""
    return next(_ours())


def least_seconds() -> float:
    """Of a step, if memory alone held it up."""
    data, chosen = split().to(device()), settings()
    model = build(data.modalities, CLASSES, chosen, 0.0, seed=0).train().to(device())
    ((batch, kept),) = Batches(data, torch.arange(len(data.labels)), chosen.train, Chance(0, 0)).take(1)
    return floor(model, batch.inputs, kept)


class Pictures(Dataset):
    """Each sample by itself: array -> Pillow, augmentation by Pillow, array -> normalised float32."""

    def __init__(self, data: Split, index: Tensor, augmentation: str) -> None:
        self.data, self.index, self.augmentation = data, index, augmentation
        self.images = {name: [to_pillow(image) for image in x[index]] for name, x in data.inputs.items()}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        rng = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # of the process's own stream
        inputs = {name: by_pillow(self.augmentation, [x[number]], rng)[0] for name, x in self.images.items()}
        normalised = {name: (x.float() / 255 - 0.5) / 0.5 for name, x in inputs.items()}
        return normalised, self.data.present[self.index[number]], self.data.labels[self.index[number]]


def plain_model(data: Split, chosen: Settings, seed: int) -> nn.Module:
    """The same network as a peer would hold it: NCHW, inputs normalised by the loader, torch's own convolutions."""
    model = build(data.modalities, data.classes, chosen, 0.0, seed).to(memory_format=torch.contiguous_format)
    model.adapters = nn.ModuleDict({name: nn.Identity() for name in model.names})
    for module in model.modules():
        if isinstance(module, Depthwise):
            module.__class__ = nn.Conv2d
    return model


def plain_epoch(
    model: nn.Module, optimiser: torch.optim.Optimizer, loader: DataLoader, train: Train, rates: list[float]
) -> float:
    """One step for each rate, drawing from the loader anew when it ends; the sum of the losses."""
    total, batches = 0.0, chain.from_iterable(repeat(loader))
    place = next(model.parameters()).device
    for rate, (inputs, present, labels) in zip(rates, batches, strict=False):
        inputs, labels = {name: x.to(place) for name, x in inputs.items()}, labels.to(place)
        for group in optimiser.param_groups:
            group["lr"] = rate
        kept = drop_modalities(present, train.moddrop, torch.default_generator) if train.moddrop.enabled else present
        logits = model.head(model.embed(model.tokens(inputs, present), kept))  # dropped at the fusion, after the encoders
        loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item()
    return total


@cache
def _reference() -> Iterator[float]:
    data, train = split(), settings().train
    model = plain_model(data, settings(), seed=0).train().to(device())
    optimiser = torch.optim.SGD(model.parameters(), train.lr, train.momentum, weight_decay=train.weight_decay, nesterov=True)
    pictures = Pictures(data, torch.arange(len(data.labels)), train.augmentation)
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=WORKERS > 0)
    while True:
        yield plain_epoch(model, optimiser, loader, train, [train.lr] * STEPS)


def reference() -> float:
    """The same steps as a peer's code would do them; the sum of their losses."""
    return next(_reference())
