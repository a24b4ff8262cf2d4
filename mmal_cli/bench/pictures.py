"""How fast are photographs decoded for prepare-food101, beside a torch DataLoader with torchvision's transforms?"""

import functools
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from data_recipes.food101 import recipe
from data_recipes.workers import InOrder, cores, processes
from mmal_cli.bench._turns import beside, in_turns

SIZE = 224
SIZES = {(512, 384): 400, (1600, 1200): 200}  # width and height in pixels -> how many files
DISTINCT = 20  # photographs; the files repeat them
ROUNDS = 7
WORKERS = 2  # of the reference
QUALITY = 85


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Decodes the same JPEG files both ways in turn, A B A B, in processes that are warm.

    Args:
        on_progress: called with (rounds done, rounds in all).

    Returns:
        A row for each size of photograph: median pictures per second over 7 rounds, ours and the reference's.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder, processes(cores()) as in_order:
        for number, size in enumerate(SIZES):
            paths = write(Path(folder), *size, SIZES[size])
            part = functools.partial(_part, on_progress, number)
            rows.append({"pictures": "{} x {}".format(*size)} | _compare(paths, in_order, part))
    return rows


def _part(on_progress: Callable[[int, int], None], number: int, done: int, total: int) -> None:
    on_progress(number * total + done, len(SIZES) * total)


def _compare(paths: Sequence[str], in_order: InOrder, on_progress: Callable[[int, int], None]) -> dict[str, object]:
    loader = reference(paths)

    def whole(count: int) -> None:
        assert count == len(paths)

    ways = {"ours": lambda: whole(decode(paths, in_order)), "reference": lambda: whole(sum(map(len, loader)))}
    seconds = in_turns(ways, ROUNDS, on_progress)
    return beside(seconds["ours"], seconds["reference"], "/s", lambda s: len(paths) / s)


def decode(paths: Sequence[str], in_order: InOrder) -> int:
    """As prepare-food101 does it: chunks of 64 in processes, one for each core; returns how many pictures came out."""
    rows = [recipe.Row(path, 0, "", np.zeros(2, dtype=np.int32), ()) for path in paths]
    parts = [range(k, min(k + recipe.CHUNK, len(rows))) for k in range(0, len(rows), recipe.CHUNK)]
    tasks = (("train", part, [rows[k] for k in part], SIZE, 8) for part in parts)
    return sum(len(chunk.label) for chunk in in_order(recipe.samples, tasks))


class Photographs(Dataset):
    """The plain way: each file opened by Pillow, made RGB, resized, cropped; (3, 224, 224) uint8."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.transform = v2.Compose([v2.Resize(SIZE * 256 // 224), v2.CenterCrop(SIZE), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def reference(paths: Sequence[str]) -> DataLoader:
    """A DataLoader with two processes that stay, and batches of our chunks' size."""
    options = {"num_workers": WORKERS, "persistent_workers": True, "multiprocessing_context": "spawn"}
    return DataLoader(Photographs(paths), batch_size=recipe.CHUNK, **options)


def write(folder: Path, width: int, height: int, count: int) -> list[str]:
    """JPEG files with the spectrum of photographs: noise in octaves, weaker the finer."""
    distinct = [photograph(width, height, seed) for seed in range(min(DISTINCT, count))]
    paths = [folder / f"{width}-{k}.jpg" for k in range(count)]
    for k, path in enumerate(paths):
        path.write_bytes(distinct[k % len(distinct)])
    return [str(path) for path in paths]


def photograph(width: int, height: int, seed: int) -> bytes:
    """One JPEG file, the same for a seed on every machine."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    total = np.zeros((height, width, 3), dtype=np.float32)
    cell = max(width, height) // 2
    while cell >= 1:
        shape = (height // cell + 2, width // cell + 2, 3)
        coarse = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        octave = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        total += (octave - 128) * (cell / max(width, height)) ** 0.6
        cell //= 2
    file = io.BytesIO()
    scaled = (total - total.mean()) * (56 / total.std()) + 120
    Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
