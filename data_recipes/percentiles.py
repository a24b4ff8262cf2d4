"""Numbers as a network reads them, such as laboratory values: each column's place in its own distribution, 0 to 1."""

import numpy as np

UNKNOWN = 0.5  # a value that was not measured: the median of the scale


def percentiles(values: np.ndarray, fit_on: np.ndarray, indicators: bool, impute: bool = False) -> np.ndarray:
    """Each column's empirical distribution function, right-continuous, of the rows that it is fitted on.

    A value is turned into the share of the fitted values that are no larger: 0 below all of them, 1 from the largest on.
    A column that no fitted row has tells nothing and is .5 everywhere.

    Args:
        values: (A, F) floats as measured, NaN where not.
        fit_on: (A,) bool, the rows to fit on: all but the test split's.
        indicators: whether F columns follow, 1 where a value was measured and 0 elsewhere.
        impute: whether what was not measured becomes the fitted values' median; where values repeat that is not at .5.

    Returns:
        (A, F) float32, or (A, 2 F) with indicators.
    """
    found = np.full(values.shape, UNKNOWN, dtype=np.float32)
    measured = np.isfinite(values)
    for column in range(values.shape[1]):
        has = measured[:, column]
        fitted = np.sort(values[has & fit_on, column])
        if len(fitted):
            known = np.where(has, values[:, column], np.median(fitted))
            filled = has | impute
            found[filled, column] = np.searchsorted(fitted, known[filled], side="right") / len(fitted)
    return np.concatenate([found, measured.astype(np.float32)], axis=1) if indicators else found
