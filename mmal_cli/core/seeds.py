"""Independent streams of chance from one seed: `derive(7, "batches", 3)` never moves when another purpose is added."""

import hashlib
import json
from dataclasses import dataclass


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, the same on every machine; equal only if the seed and all purposes are equal."""
    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *purpose: str | int):
    """A CPU `torch.Generator` for one purpose, so that chance is the same whatever the device."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *purpose))


@dataclass(frozen=True)
class Chance:
    """The streams of one cycle: `chance("batches")` is a generator, the same whenever it is asked for."""

    seed: int
    cycle: int

    def __call__(self, purpose: str):
        """The generator of a purpose."""
        return generator(self.seed, purpose, self.cycle)

    def number(self, purpose: str) -> int:
        """The seed of a purpose, for what takes a number."""
        return derive(self.seed, purpose, self.cycle)
