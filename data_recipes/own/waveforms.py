"""One waveform of a file as it goes into a shard: an array saved by numpy, or a WFDB record."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_recipes import waveforms
from data_recipes.optional import package
from data_recipes.own.card import Series

NPY = ".npy"


class Unusable(Exception):
    """A file that is no such waveform: the reason that is counted, and what was found."""


def wfdb():
    """The package that reads WFDB records."""
    return package("wfdb", "own", "Waveforms that are no .npy are read")


def read(path: Path, spec: Series) -> tuple[np.ndarray, bytes]:
    """A waveform (C, T) as in a shard, int16 or float32, and the sha256 of its files.

    `path` ends in .npy, or is that of a WFDB record, with or without .hea.

    Raises:
        Unusable: unreadable, another shape, a wrong checksum, missing samples, or nothing to scale.
        OSError: a file is not there, or the disk refuses it.
    """
    values, digest = _npy(path) if path.suffix == NPY else _wfdb(path)
    if values.shape != tuple(spec.shape):
        raise Unusable("waveform of another shape", f"{_shape(values.shape)}, expected {_shape(spec.shape)}")
    if not np.isfinite(values).all():
        raise Unusable("waveform has missing samples", "NaN or infinite")
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise Unusable("waveform unreadable", "values beyond float32")
    if spec.scale == "none":
        return found, digest
    if values.min() == values.max():
        raise Unusable("waveform constant", f"all {values.min()}")
    return waveforms.scaled(values, 1), digest


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _npy(path: Path) -> tuple[np.ndarray, bytes]:
    content = path.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):  # of arrays that Python 2 wrote
            values = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # numpy raises whatever a header leads it to, MemoryError at a shape that is not there
        raise Unusable("waveform unreadable", type(error).__name__) from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        raise Unusable("waveform unreadable", "no array of numbers")
    return np.atleast_2d(values.astype(np.float64)), hashlib.sha256(content).digest()


def _wfdb(path: Path) -> tuple[np.ndarray, bytes]:
    """(C, T) in the header's units; wfdb itself does not look at the checksums that the header says."""
    name = path.name.removesuffix(".hea")
    if not name:
        raise FileNotFoundError
    digest = hashlib.sha256(path.with_name(f"{name}.hea").read_bytes())
    try:
        record = wfdb().rdrecord(str(path.with_name(name)), physical=False)
        values, sums = record.dac(), _sums(record)
    except FileNotFoundError:
        raise
    except Exception as error:  # its readers raise whatever a header leads them to
        raise Unusable("waveform unreadable", type(error).__name__) from None
    if record.file_name is None:
        raise Unusable("waveform unreadable", "a record of several segments")
    for file in dict.fromkeys(record.file_name):
        digest.update(path.with_name(file).read_bytes())
    if not all(sums):
        raise Unusable("waveform checksum wrong", f"channel {sums.index(False) + 1}")
    return values.T, digest.digest()


def _sums(record) -> list[bool]:
    """Channel by channel, whether the samples have the checksum that the header says; none where wfdb averaged them."""
    if record.file_name is None or any(n != 1 for n in record.samps_per_frame):
        return []
    return [a is None or a % 65536 == b % 65536 for a, b in zip(record.checksum, record.calc_checksum(), strict=True)]
