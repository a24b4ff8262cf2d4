"""Random words by position: row k of a stream depends on the stream's key and k, never on how many rows are asked at once."""

import numpy as np

from mmal_cli.core import seeds

WORDS_PER_BLOCK = 4  # Philox4x64 makes four words for each value of its counter


def words(seed: int, purpose: tuple[str, ...], start: int, stop: int, width: int) -> np.ndarray:
    """Rows start..stop-1 of an endless table of random words (Salmon et al. 2011, Philox4x64-10).

    Args:
        seed: the dataset's seed.
        purpose: what the words are for; other purposes are independent streams.
        start: first row.
        stop: one past the last row.
        width: words in a row; a row takes whole counter values, so that any row can be had alone.

    Returns:
        (stop - start, width) uint64.
    """
    blocks = -(-width // WORDS_PER_BLOCK)
    philox = np.random.Philox(key=seeds.derive(seed, "quint", *purpose), counter=start * blocks)
    rows = philox.random_raw((stop - start) * blocks * WORDS_PER_BLOCK)
    return rows.reshape(stop - start, blocks * WORDS_PER_BLOCK)[:, :width]


def below(raw: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """Uniform integers 0..limit-1 from words, in integer arithmetic (Lemire 2019; bias below limit / 2^32)."""
    return ((raw >> np.uint64(32)) * np.asarray(limit, dtype=np.uint64) >> np.uint64(32)).astype(np.int64)


def octets(raw: np.ndarray, count: int) -> np.ndarray:
    """The first `count` bytes of each row, in the same order on little- and big-endian machines: (n, count) uint8."""
    return np.ascontiguousarray(raw).astype("<u8", copy=False).view(np.uint8)[:, :count]
