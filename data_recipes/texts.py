"""Texts as word pieces, cut at a length; the tokenizer is the one that the text encoder was trained with."""

from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

STEP = 8  # lengths are multiples of it
CHARACTERS = 16  # for each word piece asked: nearly always enough of a long text to fill them


@cache
def tokenizer(folder: Path, most: int) -> Tokenizer:
    """The tokenizer in a folder, with our own cut and no padding, whatever its file says."""
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(most)
    return found


def encode(pieces: Tokenizer, text: str) -> tuple[np.ndarray, bool]:
    """Ids of a text's word pieces with [CLS] and [SEP], (length,) int32, and whether it was cut.

    Cost: 30 us for a title, 2 ms for a page of whatever length, since its end is not looked at where its beginning suffices.
    """
    most, head = pieces.truncation["max_length"], text
    if len(text) > CHARACTERS * most:
        head = "".join(text[: CHARACTERS * most].rsplit(maxsplit=1)[:1])  # without the last word, which may be half a one
        found = pieces.encode(head)
        if len(found.ids) == most and found.overflowing:
            return np.array(found.ids, dtype=np.int32), True
    found = pieces.encode(text)
    return np.array(found.ids, dtype=np.int32), bool(found.overflowing)


def length(longest: int) -> int:
    """L, the length that all texts are padded to: the longest one's, rounded up to a multiple of 8."""
    return -(-longest // STEP) * STEP


def padded(ids: list[np.ndarray], size: int) -> np.ndarray:
    """Ids of n texts -> (n, 2, L) int32: ids with zeros behind them, and the mask that is 1 on what is text."""
    array = np.zeros((len(ids), 2, size), dtype=np.int32)
    for row, found in zip(array, ids, strict=True):
        row[0, : len(found)] = found
        row[1, : len(found)] = 1
    return array
