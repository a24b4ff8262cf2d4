"""Perlin noise as a matrix product: against the textbook formula, exact, and never over the bound of float32."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_recipes.quint import perlin

ONE = perlin.WEIGHT_ONE * perlin.GRADIENT_ONE


def directions(nodes: int, n: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, nodes), dtype=np.uint8)


def textbook(turns: np.ndarray, size: int, cells: int, octaves: int) -> np.ndarray:
    """Perlin 2002, an octave at a time: lerp the four corners' dot products by the fade."""
    found, at = np.zeros((size, size)), 0
    for octave in range(octaves):
        fine = cells << octave
        angle = turns[at : at + (fine + 1) ** 2].reshape(fine + 1, fine + 1) * (2 * np.pi / 256)
        at += (fine + 1) ** 2
        t = np.arange(size) * fine / size
        node, t = t.astype(int), t % 1
        fade = 6 * t**5 - 15 * t**4 + 10 * t**3
        dot = {}
        for down in (0, 1):
            for right in (0, 1):
                corner = angle[node + down][:, node + right]
                dot[down, right] = np.sin(corner) * (t[:, None] - down) + np.cos(corner) * (t[None] - right)
        rows = [dot[down, 0] * (1 - fade) + dot[down, 1] * fade for down in (0, 1)]
        found += 0.5**octave * (rows[0] * (1 - fade)[:, None] + rows[1] * fade[:, None])
    return found


@pytest.mark.parametrize(("size", "cells", "octaves"), [(64, 4, 3), (64, 4, 1), (32, 2, 2), (96, 3, 4)])
def test_noise_is_perlins(size: int, cells: int, octaves: int) -> None:
    plan = perlin.lattice(size, cells, octaves)
    turns = directions(plan.nodes)
    for one, turn in zip(perlin.noise(turns, plan), turns, strict=True):
        np.testing.assert_allclose(one / ONE, textbook(turn, size, cells, octaves), atol=0.02)


def test_a_single_octave_is_zero_at_lattice_corners() -> None:
    plan = perlin.lattice(64, 4, 1)
    found = perlin.noise(directions(plan.nodes, n=50), plan)
    assert (found[:, ::16, ::16] == 0).all()
    assert (found[:, 8, 8] != 0).any()


@pytest.mark.parametrize(("size", "cells", "octaves"), [(64, 4, 3), (224, 4, 3), (128, 16, 4)])
def test_the_product_is_exact_in_any_order(size: int, cells: int, octaves: int) -> None:
    plan = perlin.lattice(size, cells, octaves)
    found = perlin.noise(directions(plan.nodes, n=1), plan)
    assert np.array_equal(found, np.round(found))
    assert np.array_equal(plan.weights, np.round(plan.weights))
    assert np.abs(plan.weights).sum(axis=1).max() * perlin.GRADIENT_ONE < 1 << 19
    swapped = perlin.Lattice(plan.nodes, plan.index[:, ::-1], _mirrored(plan.weights), plan.cells)
    assert np.array_equal(perlin.noise(directions(plan.nodes, n=1), swapped), found)


def _mirrored(weights: np.ndarray) -> np.ndarray:
    """The same sum with its pairs in reverse order."""
    blocks, k, pixels = weights.shape
    return np.ascontiguousarray(weights.reshape(blocks, k // 2, 2, pixels)[:, ::-1].reshape(blocks, k, pixels))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.99), st.booleans())
def test_exactly_so_many_pixels_fall_below_the_threshold(seed: int, q: float, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    values = np.zeros((2, 32, 32), np.float32) if flat else rng.integers(-50, 50, (2, 32, 32)).astype(np.float32)
    key = perlin.keys(values)
    count = rng.integers(1, 400, 2)
    pixels = np.stack([rng.permutation(1024)[:400] for _ in range(2)])
    erase = (count * q).astype(int)
    threshold = perlin.thresholds(key, pixels, count, erase)
    for row in range(2):
        assert (key[row, pixels[row, : count[row]]] < threshold[row]).sum() == erase[row]
        assert len(np.unique(key[row])) == 1024


def test_keys_keep_the_order_of_the_noise() -> None:
    values = np.array([[[-3, 5], [5, -(2**18)]]], np.float32)
    assert perlin.keys(values).argsort(axis=1).tolist() == [[3, 0, 1, 2]]
    large = np.zeros((1, 224, 224), np.float32)
    large[0, 0, 0], large[0, 0, 1] = 2**19 - 1, -(2**19)
    found = perlin.keys(large)[0]
    assert (found.argmax(), found.argmin()) == (0, 1)
