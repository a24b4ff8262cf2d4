"""The training engine against a plain one: the same accuracy within the noise of seeds."""

import torch
from torch.utils.data import DataLoader

from mmal_cli.batches import Batches, factor
from mmal_cli.bench.step import Pictures, plain_epoch, plain_model
from mmal_cli.core.manifest import Dataset, Modality
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.data import Split
from mmal_cli.metrics import balanced_accuracy
from mmal_cli.train import fit
from tests import tiny

SEEDS, CLASSES, SIZE = range(5), 6, 16
LABELLED, VALIDATION, HELD_OUT = torch.arange(0, 240), torch.arange(240, 300), torch.arange(300, 1200)


def noisy(samples: int = 1200) -> Split:
    """Two modalities of a coarse pattern for each class under so much noise that neither way becomes perfect."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (samples,), generator=rng)
    inputs = {}
    for name in "ab":
        patterns = torch.randn(CLASSES, 3, 4, 4, generator=rng).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        noise = torch.randn(samples, 3, SIZE, SIZE, generator=rng)
        inputs[name] = (128 + 30 * patterns[labels] + 50 * noise).clamp(0, 255).to(torch.uint8)
    modalities = tuple(Modality(name=name, kind="image", shape=(3, SIZE, SIZE), dtype="uint8") for name in "ab")
    return Split(modalities, CLASSES, inputs, torch.ones(samples, 2, dtype=torch.bool), labels)


def test_fast_and_plain_training_reach_the_same_accuracy_within_the_noise_of_seeds(tiny_data):
    words = ("train.epochs=4", "train.min_epoch_samples=320", "train.augmentation=randaug")
    chosen, _ = resolve(Dataset.read(tiny_data / "dataset.yaml"), "low", "random", ["quick"], words)
    split, scores = noisy(), {"fast": [], "plain": []}
    pool = tiny.pool(split, LABELLED.tolist(), VALIDATION.tolist())
    held_out = split.batch(HELD_OUT)
    for seed in SEEDS:
        fast = fit(split, pool, VALIDATION, chosen, 0.0, Chance(seed, 0)).model
        plain = trained(split, chosen, seed)
        normalised = {name: (x.float() / 255 - 0.5) / 0.5 for name, x in held_out.inputs.items()}
        with torch.no_grad():
            for way, model, inputs in (("fast", fast, held_out.inputs), ("plain", plain, normalised)):
                guess = model(inputs, held_out.present).argmax(dim=1)
                scores[way].append(balanced_accuracy(guess, held_out.labels, split.classes))
    fast, plain = (torch.tensor(scores[way]) for way in ("fast", "plain"))
    error = ((fast.var() + plain.var()) / len(SEEDS)).sqrt()
    assert 0.4 < plain.mean() < 0.95
    assert (fast.mean() - plain.mean()).abs() < 3 * error


def trained(split, chosen, seed):
    """By the plain way, the learning rate scheduled alike."""
    train = chosen.train
    torch.manual_seed(seed)
    model = plain_model(split, chosen, seed).train()
    optimiser = torch.optim.SGD(model.parameters(), train.lr, train.momentum, weight_decay=train.weight_decay, nesterov=True)
    loader = DataLoader(Pictures(split, LABELLED, train.augmentation), train.batch_size, shuffle=True)
    steps = Batches(split, LABELLED, train, Chance(seed, 0)).steps
    for epoch in range(train.epochs):
        rates = [train.lr * factor(train, steps, epoch, step) for step in range(steps)]
        plain_epoch(model, optimiser, loader, train, rates)
    return model.eval()
