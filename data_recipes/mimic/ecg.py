"""Reads the WFDB records of MIMIC-IV-ECG, says what is wrong with one, and makes of a good one what goes into a shard.

The layout, as wfdb's header(5) and signal(5) have it and MIMIC-IV-ECG 1.0 uses it: a text header (a line for the record, then
one for each lead: file, format 16, gain(baseline)/unit, resolution, zero, first value, checksum, block, name) and a file of
little-endian int16, interleaved by sample. -32768 is a missing sample. Leads go by name: the files have aVF before aVL.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from mmal_cli.core.errors import BAD_DATA, UserError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE = 500  # samples a second
LENGTH = 5000  # samples: 10 seconds
MISSING = -32768
GAIN = 200.0  # digital units per physical one, where the header says 0 or nothing
SCALE = re.compile(r"([-+.\deE]+)(?:\(([-+]?\d+)\))?(?:/(\S+))?")  # gain(baseline)/unit

FORMAT = re.compile(r"16(x1)?(:0)?(\+0)?")  # with one sample a frame, no skew and no offset, which may be said
DIGITS = 10  # of a baseline

# Why a record cannot be used; what cohort tables show.
ABSENT, UNREADABLE, DAMAGED = "file not there", "unreadable", "checksum wrong"
NAN, EMPTY = "missing samples (NaN)", "all zero or constant"
REASONS = (ABSENT, UNREADABLE, DAMAGED, NAN, EMPTY)


class BadRecord(Exception):
    """A record that cannot be used; its only argument is one of REASONS."""


@dataclass(frozen=True)
class Record:
    """physical (12, 5000) float64, rows as LEADS, in the header's unit, NaN where a sample is missing; sha256 of its files."""

    physical: np.ndarray
    digest: str


@dataclass(frozen=True)
class _Lead:
    name: str
    gain: float
    baseline: int
    unit: str
    checksum: int | None


def read(path: Path) -> Record:
    """Reads a record by its path without an ending.

    Raises:
        BadRecord: not there, not this layout, not 12 leads of 5000 samples at 500 Hz, or a checksum that does not fit.
        UserError: the disk or the permissions refuse it; that says nothing of the record.

    Cost: 120 kB read; about 1 ms.
    """
    try:
        header = path.with_name(f"{path.name}.hea").read_bytes()
        leads, name = _header(header.decode("ascii", errors="replace"))
        content = path.with_name(name).read_bytes()
        digital = np.frombuffer(content, "<i2").reshape(LENGTH, len(leads)).T
    except (FileNotFoundError, NotADirectoryError):
        raise BadRecord(ABSENT) from None
    except OSError as error:
        raise UserError(
            f"an ECG could not be read: {error.strerror}; mend that and give the same command again", BAD_DATA
        ) from None
    except (ValueError, IndexError):
        raise BadRecord(UNREADABLE) from None
    sums = digital.sum(axis=1, dtype=np.int64) % 65536
    if any(lead.checksum is not None and lead.checksum % 65536 != found for lead, found in zip(leads, sums, strict=True)):
        raise BadRecord(DAMAGED)
    rows = {lead.name.casefold(): row for row, lead in enumerate(leads)}
    if rows.keys() != {name.casefold() for name in LEADS} or len({lead.unit for lead in leads}) != 1:
        raise BadRecord(UNREADABLE)
    order = [rows[name.casefold()] for name in LEADS]
    baseline = np.array([leads[row].baseline for row in order], dtype=np.float64)[:, None]
    gain = np.array([leads[row].gain for row in order])[:, None]
    physical = np.where(digital[order] == MISSING, np.nan, (digital[order] - baseline) / gain)
    return Record(physical, sha256(header + content).hexdigest())


def _header(text: str) -> tuple[list[_Lead], str]:
    """The leads of a header in the order of the file, and the name of that file; ValueError where it is another layout."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    _, count, rate, length, *_ = lines[0].split()
    if (int(count), float(rate.partition("/")[0]), int(length)) != (len(LEADS), RATE, LENGTH):
        raise ValueError("another number of leads, rate or length")
    leads, files = [], set()
    for line in lines[1 : len(LEADS) + 1]:
        file, kind, scale, _, zero, _, checksum, _, name = line.split(maxsplit=8)
        gain, baseline, unit = SCALE.fullmatch(scale).groups() if SCALE.fullmatch(scale) else (None, None, None)
        if not FORMAT.fullmatch(kind) or gain is None or Path(file).name != file or len(baseline or zero) > DIGITS:
            raise ValueError("another format, or the file lies elsewhere")
        files.add(file)
        leads.append(_Lead(name.strip(), float(gain) or GAIN, int(baseline or zero), unit or "mV", int(checksum)))
    (file,) = files
    return leads, file


def usable(path: Path) -> Record:
    """The record, if it can be used.

    Raises:
        BadRecord: as `read`, or a sample is missing, or all are equal.
    """
    record = read(path)
    if np.isnan(record.physical).any():
        raise BadRecord(NAN)
    if record.physical.min() == record.physical.max():
        raise BadRecord(EMPTY)
    return record
