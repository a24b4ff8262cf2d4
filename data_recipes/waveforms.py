"""Waveforms as shards hold them: int16, 32767 for 1.0."""

import numpy as np

FULL = 32767  # int16 of 1.0


def scaled(physical: np.ndarray, decimate: int) -> np.ndarray:
    """(C, T) -> (C, T / decimate) int16: every `decimate`-th sample after an anti-aliasing filter, -32767..32767.

    The least and the greatest value of the whole record become -1 and 1 (Symile), 1.0 being 32767. The filter is scipy's
    zero-phase FIR (`resample_poly`), the record continued along the line between its ends.
    """
    if decimate > 1:
        from scipy.signal import resample_poly

        physical = resample_poly(physical, 1, decimate, axis=1, padtype="line")
    low, high = physical.min(), physical.max()
    return np.rint((2 * (physical - low) / (high - low) - 1) * FULL).astype(np.int16)
