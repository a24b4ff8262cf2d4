"""Our reader beside the `wfdb` package on the same records: they must agree to the last bit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_recipes.mimic import ecg
from data_recipes.optional import package
from mmal_cli.core.errors import BAD_DATA, UserError

REPORT = "please report this with the first lines of a header, names and dates blotted out"


def compare(paths: Sequence[Path], refused: Sequence[Path] = ()) -> int:
    """Reads records by both and returns how many wfdb could read: it also reads headers' dates, and may fail on them.

    Args:
        paths: of records that we read.
        refused: of records that we call unreadable; wfdb must not make 12 leads of 5000 samples at 500 Hz of one.

    Raises:
        UserError: wfdb is not installed, or the two differ; the message names the lead, never the record.
    """
    wfdb = package("wfdb", "mimic", "ECGs are checked")
    compared = 0
    for path in refused:
        theirs = _by_wfdb(wfdb, path)
        if theirs and (theirs.fs, theirs.sig_len, theirs.n_sig) == (ecg.RATE, ecg.LENGTH, len(ecg.LEADS)):
            raise UserError(f"mmal calls an ECG {ecg.UNREADABLE} that wfdb {wfdb.__version__} reads; {REPORT}", BAD_DATA)
    for path in paths:
        ours, theirs = ecg.read(path).physical, _by_wfdb(wfdb, path)
        if theirs is None:
            continue
        compared += 1
        names = [name.casefold() for name in theirs.sig_name]
        for lead, row in zip(ecg.LEADS, ours, strict=True):
            column = theirs.p_signal[:, names.index(lead.casefold())]
            if not np.array_equal(row, column, equal_nan=True):
                at = int(np.flatnonzero(~((row == column) | (np.isnan(row) & np.isnan(column))))[0])
                raise UserError(
                    f"mmal and wfdb {wfdb.__version__} read an ECG differently: lead {lead}, sample {at}; {REPORT}", BAD_DATA
                )
    return compared


def _by_wfdb(wfdb, path: Path):
    """wfdb's record, or None where it raises: its errors quote headers, so they go nowhere."""
    try:
        return wfdb.rdrecord(str(path))
    except Exception:
        return None
