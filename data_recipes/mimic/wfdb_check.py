"""Our reader beside the `wfdb` package on the same records: they must agree to the last bit."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_recipes.mimic import ecg
from mmal_cli.core.errors import BAD_DATA, UserError


def compare(paths: Sequence[Path]) -> int:
    """Reads records by both and returns how many.

    Raises:
        UserError: wfdb is not installed, or a record differs; the message names the lead, never the record.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # pandas deprecates what wfdb 4.3.1 does when it is imported
            import wfdb
    except ImportError:
        raise UserError("ECGs are checked by wfdb, which is not installed: pip install 'mmal[mimic]'") from None
    for path in paths:
        ours, theirs = ecg.read(path).physical, wfdb.rdrecord(str(path))
        names = [name.casefold() for name in theirs.sig_name]
        for lead, row in zip(ecg.LEADS, ours, strict=True):
            column = theirs.p_signal[:, names.index(lead.casefold())]
            if not np.array_equal(row, column, equal_nan=True):
                at = int(np.flatnonzero(~((row == column) | (np.isnan(row) & np.isnan(column))))[0])
                raise UserError(
                    f"mmal and wfdb {wfdb.__version__} read an ECG differently: lead {lead}, sample {at}; "
                    "please report this with the first lines of a header, names and dates blotted out",
                    BAD_DATA,
                )
    return len(paths)
