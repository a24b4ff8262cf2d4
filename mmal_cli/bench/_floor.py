"""The least time in which a training step could move through memory what it has to."""

import time
from statistics import median

import torch
from torch import Tensor

from mmal_cli.bench._turns import settled
from mmal_cli.model import Model

COPIED = 2**28  # bytes whose copy tells how fast memory is
ROUNDS = 5
WEIGHT_PASSES = 7  # read forward and backward; its gradient written and read, its momentum likewise; written


def floor(model: Model, inputs: dict[str, Tensor], kept: Tensor) -> float:
    """Seconds: what a step keeps for its gradients, written once and read once, and the weights, at the speed of a copy."""
    weights = {x.untyped_storage().data_ptr(): x.nbytes for x in model.parameters()}
    found: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        found[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        logits = model(inputs, kept)  # keeps all of it alive, so that no address comes twice
    activations = sum(size for place, size in found.items() if place not in weights)
    return (2 * activations + WEIGHT_PASSES * sum(weights.values())) / bandwidth(logits.device)


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a copy reads and writes, both counted."""
    x = torch.ones(COPIED, dtype=torch.uint8, device=device)
    y, seconds = torch.empty_like(x), []
    for _ in range(ROUNDS + 1):
        settled()
        started = time.perf_counter()
        y.copy_(x)
        settled()
        seconds.append(time.perf_counter() - started)
    return 2 * COPIED / median(seconds[1:])
