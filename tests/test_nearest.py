"""Distances to the nearest centre: what is not computed would have changed nothing, duplicates are at zero."""

import math

import pytest
import torch

from mmal_cli import nearest
from mmal_cli.gradients import kmeans_plus_plus
from mmal_cli.nearest import Nearest, squared_distances


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_are_at_zero_in_spite_of_rounding(seed):
    a, h = torch.randn(30, 100, generator=chance(seed)), 5 + torch.randn(30, 300, generator=chance(seed))
    copies = torch.randperm(30 * 40, generator=chance(seed)) % 30
    picks = kmeans_plus_plus(a[copies], h[copies], 30, chance(seed))
    assert len(copies[picks].unique()) == 30


def test_what_rounding_alone_can_make_is_no_distance():
    ones, dots = torch.ones(4, dtype=torch.float64), torch.tensor([1 + 1e-14, 1 - 1e-14, 1 - 1e-12, 0.5], dtype=torch.float64)
    assert squared_distances(dots, ones, ones[0], 100).tolist() == [0, 0, pytest.approx(2e-12, rel=1e-3), 1]


@pytest.mark.parametrize("block", [1, 16, nearest.BLOCK])
@pytest.mark.parametrize("spread", [1e-3, 1e-8, 0.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_what_is_not_computed_would_not_have_changed_anything(monkeypatch, kind, spread, block):
    """Tight clusters, whose distances float32 cannot tell apart, and lengths from 1e-30 to 1."""
    monkeypatch.setattr(nearest, "BLOCK", block)
    rng = chance()
    a, h = (torch.randn(9, width, generator=rng, dtype=torch.float64)[torch.arange(600) % 9] for width in (5, 16))
    a, h = (x + spread * torch.randn(x.shape, generator=rng, dtype=torch.float64) for x in (a, h))
    a = a * 10 ** -(30 * torch.rand(600, 1, generator=rng, dtype=torch.float64))
    a, h = a.to(kind), h.to(kind)
    before = a.clone(), h.clone()
    near, expected = Nearest(a, h), torch.full((600,), math.inf, dtype=torch.float64)
    dots = (a.double() @ a.double().T) * (h.double() @ h.double().T)
    norms = dots.diagonal()
    for centre in torch.randperm(600, generator=rng)[:100].tolist():
        near.add(centre)
        expected = torch.minimum(expected, squared_distances(dots[centre].clone(), norms, norms[centre], 21))
        assert ((near.squared - expected).abs() <= 1e-12 * (norms + expected)).all()
    assert torch.equal(a, before[0])
    assert torch.equal(h, before[1])


def test_most_distances_are_not_computed(monkeypatch):
    computed = 0

    def counting(dots, *others):
        nonlocal computed
        computed += dots.numel()
        return squared_distances(dots, *others)

    monkeypatch.setattr(nearest, "squared_distances", counting)
    kmeans_plus_plus(torch.randn(2000, 10, generator=chance(1)), torch.randn(2000, 20, generator=chance(2)), 400, chance())
    assert 2000 < computed < 2000 * 400 / 20


def test_blocks_that_are_far_too_short_or_too_long_are_not_read(monkeypatch):
    """All lengths between 1 and 1/1000 are equally likely on a logarithmic axis; picks are those of reading all."""
    a = torch.randn(2000, 10, generator=chance(1)) * 10 ** (-3 * torch.rand(2000, 1, generator=chance(3)))
    h = torch.nn.functional.layer_norm(torch.randn(2000, 20, generator=chance(2)), (20,))
    every, read, plain = kmeans_plus_plus(a, h, 200, chance()), 0, torch.mv

    def counting(rows, vector):
        nonlocal read
        read += len(rows) * (rows.dtype == torch.float32)
        return plain(rows, vector)

    monkeypatch.setattr(nearest, "BLOCK", 50)
    monkeypatch.setattr(torch, "mv", counting)
    assert torch.equal(kmeans_plus_plus(a, h, 200, chance()), every)
    assert 2 * 2000 < read < 2 * 2000 * 200 / 2


def test_vectors_too_short_for_their_square_are_at_zero():
    near = Nearest(torch.tensor([[1e-200], [0.0], [2e-200], [1.0]], dtype=torch.float64), torch.ones(4, 2))
    near.add(1)
    assert near.squared.tolist() == [0, 0, 0, 2]
