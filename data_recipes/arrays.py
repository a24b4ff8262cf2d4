"""Images and their classes as the reader of a source gives them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Images:
    """A source's split as its reader gives it: pixels (n, H, W) or (n, H, W, 3) uint8, label (n,)."""

    pixels: np.ndarray
    label: np.ndarray
