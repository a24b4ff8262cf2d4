"""Files and texts that cells name, read once to know them and to see whether they can be used, and again to make samples."""

import errno
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_recipes import pictures, texts
from data_recipes.own import waveforms
from data_recipes.own.card import Image, Series, Spec
from mmal_cli.core.errors import BAD_DATA, UserError

THERE = {Image: "image", Series: "waveform"}


class Bad(NamedTuple):
    """Why a row cannot be used."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Found:
    """What a row's cells hold: modality -> sha256 of a file; modality -> ids of a text; what is to be counted."""

    digests: Mapping[str, bytes]
    ids: Mapping[str, np.ndarray]
    noted: tuple[str, ...] = ()


def look(
    rows: Sequence[Mapping[str, str]], specs: Mapping[str, Spec], folder: Path, tokenizers: Mapping[str, Path]
) -> list[Found | Bad]:
    """One task of a process: reads all that some rows name, and decodes it to see whether it can be used.

    Args:
        rows: modality -> cell, of those that are not empty and no numbers.
        folder: that paths begin at.
        tokenizers: of texts, as `Own` has them.

    Cost: an image is decoded, about 3 ms; a waveform read; a text split into word pieces, 30 us to 2 ms.
    """
    return [_look(cells, specs, folder, tokenizers) for cells in rows]


def _look(cells: Mapping[str, str], specs: Mapping[str, Spec], folder: Path, tokenizers: Mapping[str, Path]) -> Found | Bad:
    digests, ids, noted = {}, {}, []
    for name, cell in cells.items():
        spec = specs[name]
        if name in tokenizers:
            ids[name], cut = texts.encode(texts.tokenizer(tokenizers[name], spec.max_tokens), cell)
            noted += [f"{name}: text cut at {spec.max_tokens} word pieces"] if cut else []
            continue
        try:
            if "\0" in cell:
                raise FileNotFoundError
            _, digests[name], kinds = _read(folder / cell, spec)
        except (pictures.Unusable, waveforms.Unusable) as error:
            reason, *found = error.args
            return Bad(reason, ": ".join([name, cell, *found]))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Bad(f"{THERE[type(spec)]} file not there", f"{name}: {cell}")
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                return Bad(f"{THERE[type(spec)]} file not there", f"{name}: {cell}")
            raise UserError(f"{folder / cell} could not be read: {error.strerror or error}", BAD_DATA) from None
        noted += [f"{name}: {kind}" for kind in kinds]
    return Found(digests, ids, tuple(noted))


def _read(path: Path, spec: Spec) -> tuple[np.ndarray, bytes, list[str]]:
    """What goes into a shard, the sha256 of the file, what is worth counting."""
    if isinstance(spec, Series):
        return *waveforms.read(path, spec), []
    data = path.read_bytes()
    image, noted = pictures.crop(data, spec.size)
    return image, hashlib.sha256(data).digest(), noted


def load(rows: Sequence[Mapping[str, tuple[str, bytes]]], specs: Mapping[str, Spec], folder: Path) -> dict[str, np.ndarray]:
    """One task of a process: modality -> (n, ...) of n rows, zero where a row has no such file.

    Args:
        rows: modality -> cell and the sha256 that its file had.
        specs: of the modalities that are files.

    Raises:
        UserError: a file is not as it was when it was looked at.
    """
    made = {name: np.zeros((len(rows), *shape(spec)), dtype=dtype(spec)) for name, spec in specs.items()}
    for number, files in enumerate(rows):
        for name, (cell, digest) in files.items():
            try:
                made[name][number], found, _ = _read(folder / cell, specs[name])
            except (pictures.Unusable, waveforms.Unusable, OSError):
                found = b""
            if found != digest:
                raise UserError(f"{folder / cell} changed while it was read; give the same command again", BAD_DATA)
    return made


def shape(spec: Image | Series) -> tuple[int, ...]:
    """Of one sample."""
    return tuple(spec.shape) if isinstance(spec, Series) else (3, spec.size, spec.size)


def dtype(spec: Image | Series) -> str:
    """Of the bytes on disk."""
    return "uint8" if isinstance(spec, Image) else "int16" if spec.scale == "record" else "float32"
