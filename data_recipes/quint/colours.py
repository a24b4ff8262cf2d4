"""The ten colours of Trifeatures (CoMM's public loader), and jitter too small to reach another colour."""

import numpy as np

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "pink": (1, 0.4, 1),
    "cyan": (0, 1, 1),
    "purple": (0.3, 0, 0.5),
    "ocean": (0.1, 0.4, 0.5),
    "orange": (1, 0.6, 0),
    "white": (1, 1, 1),
}
PROTOTYPES = np.array([[round(255 * c) for c in rgb] for rgb in COLOURS.values()], np.int64)  # (10, 3), 0..255


def jittered(colour: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The prototypes moved by `shift` and clipped to the cube.

    Clipping never moves a point away from a prototype, as all of them lie in the cube.

    Args:
        colour: (n,) index of the colour.
        shift: (n, 3) in steps of 1/255.

    Returns:
        (n, 3) int64 in 0..255.
    """
    return np.clip(PROTOTYPES[colour] + shift, 0, 255)


def nearest(rgb: np.ndarray) -> np.ndarray:
    """Index of the prototype nearest to each colour: (n, 3) in 0..255 -> (n,)."""
    away = rgb[:, None, :] - PROTOTYPES[None]
    return (away * away).sum(axis=2).argmin(axis=1)
