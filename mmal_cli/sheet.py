"""A picture of a few samples: images as they are, series as curves, vectors as bars, texts as words where they can be read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmal_cli.core import minilm, shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset, Modality

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, LOOK = 6, 256  # samples, and how many first ones they are chosen from
CELL, GAP, LEFT, TOP, FONT = 160, 8, 96, 24, 13  # pixels
INK, ABSENT = (40, 70, 130), (200, 200, 200)
WIDE = 22  # letters of a class name
CURVES = 3  # channels of a series


def draw(folder: Path, dataset: Dataset) -> Image.Image:
    """A row for each modality, a column for each of six samples of train, of different classes where there are.

    Raises:
        UserError: the dataset is restricted, or a shard is missing.
    """
    from PIL import Image, ImageDraw

    if dataset.restricted:
        raise UserError(f"{dataset.name} is restricted: no sample of it is drawn")
    shard = next((shard for shard in dataset.splits["train"].shards if shard.samples), None)
    if shard is None or not shards.intact(folder, shard):
        place = folder / (shard.file if shard else "train")
        raise UserError(f"{place} is missing or damaged{dataset.again(folder)}", BAD_DATA)
    label = shards.read_presence(folder / shard.file)[0]
    rows = _of_many_classes(label[:LOOK])
    some = shards.read_rows(folder / shard.file, rows)
    step = CELL + GAP
    page = Image.new("RGB", (LEFT + len(rows) * step, TOP + len(dataset.modalities) * step), "white")
    pen, font = ImageDraw.Draw(page), _font(FONT)
    for column, c in enumerate(some["label"]):
        name = " ".join(dataset.class_names[c].split())
        title = name if len(name) <= WIDE else f"{name[: WIDE - 3]}..."
        pen.text((LEFT + column * step + CELL // 2, TOP // 2), title, "black", font, anchor="mm")
    for row, modality in enumerate(dataset.modalities):
        middle = TOP + row * step + CELL // 2
        pen.text((4, middle), textwrap.shorten(modality.name, 12, placeholder="..."), "black", font, anchor="lm")
        for column, value in enumerate(some[f"inputs/{modality.name}"]):
            cell = _cell(modality, value) if some["present"][column, row] else _words("absent", ABSENT)
            page.paste(cell, (LEFT + column * step, TOP + row * step))
    return page


def _of_many_classes(label: np.ndarray) -> list[int]:
    """Rows of the first samples of different classes, then of the first others."""
    first = np.sort(np.unique(label, return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(label)), first)
    return np.sort(np.concatenate([first, rest])[:COLUMNS]).tolist()


def _cell(modality: Modality, value: np.ndarray) -> Image.Image:
    from PIL import Image

    if modality.kind == "image":
        picture = value.transpose(1, 2, 0) if value.shape[0] == 3 else value[0]
        way = Image.Resampling.NEAREST if max(value.shape) < CELL else Image.Resampling.BOX
        shown = Image.fromarray(picture).convert("RGB")
        scale = CELL / max(shown.size)
        return shown.resize((round(shown.width * scale), round(shown.height * scale)), way)
    if modality.kind == "tokens":
        return _words(_read(modality, value[0][value[1] > 0].tolist()), (0, 0, 0))
    return _bars(value) if modality.kind == "vector" else _curves(value[:CURVES].astype(np.float64))


def _read(modality: Modality, ids: Sequence[int]) -> str:
    """The text of some ids, or the ids where MiniLM's tokenizer is not theirs."""
    from tokenizers import Tokenizer

    try:
        folder = minilm.find()
        if minilm.vocabulary(folder) == modality.vocabulary:
            return Tokenizer.from_file(str(folder / minilm.TOKENIZER)).decode(ids)
    except UserError:
        pass
    return f"{len(ids)} token ids: {' '.join(map(str, ids))}"


def _font(size: int):
    """The font that matplotlib brings, where it is installed: Pillow's own has no letter beyond ASCII."""
    from PIL import ImageFont

    spec = find_spec("matplotlib")
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" if spec else None
    return ImageFont.truetype(str(path), size - 2) if path and path.is_file() else ImageFont.load_default(size)


def _blank() -> Image.Image:
    from PIL import Image

    return Image.new("RGB", (CELL, CELL), (245, 245, 245))


def _words(text: str, colour: tuple[int, int, int]) -> Image.Image:
    from PIL import ImageDraw

    cell = _blank()
    lines = textwrap.wrap(text, 23, max_lines=9, placeholder=" ...")
    ImageDraw.Draw(cell).multiline_text((6, 6), "\n".join(lines), colour, _font(FONT - 1))
    return cell


def _bars(value: np.ndarray) -> Image.Image:
    """(F,) as bars from the least to the greatest value of the vector, 0 and 1 within."""
    from PIL import ImageDraw

    cell, (low, high) = _blank(), (min(0.0, float(value.min())), max(1.0, float(value.max())))
    pen, width = ImageDraw.Draw(cell), CELL / len(value)
    for k, x in enumerate(value.tolist()):
        top = CELL - 1 - (x - low) / (high - low) * (CELL - 8)
        pen.rectangle((k * width, top, max(k * width, (k + 0.8) * width), CELL - 1), INK)
    return cell


def _curves(value: np.ndarray) -> Image.Image:
    """(c, T), each channel in a band of its own."""
    from PIL import ImageDraw

    cell, band = _blank(), CELL / len(value)
    pen, x = ImageDraw.Draw(cell), np.linspace(0, CELL - 1, value.shape[1])
    for k, y in enumerate(value):
        spread = max(float(np.ptp(y)), 1e-12)
        heights = (k + 0.95) * band - (y - y.min()) / spread * 0.9 * band
        pen.line(np.stack([x, heights], axis=1).ravel().tolist(), INK)
    return cell
