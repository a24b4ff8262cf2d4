"""Each item of `mmal bench` runs, at a size of seconds, and a reference does the work it stands for. No time is asserted."""

from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest
import torch

from data_recipes.quint import render
from data_recipes.quint.setting import Picture
from data_recipes.quint.streams import words
from mmal_cli.bench import _turns, augment, pictures, quint, start
from mmal_cli.core import plugins

BESIDE = ("range", "its range", "times", "rounds")


def compares(row: dict, unit: str, rounds: int) -> None:
    """The columns of `_turns.beside`, with figures in them."""
    assert set(row) >= {f"ours {unit}", f"reference {unit}", *BESIDE}
    assert row["rounds"] == rounds
    assert row["times"] > 0
    low, high = map(int, row["range"].split("-"))
    assert low <= row[f"ours {unit}"] <= high


def test_ways_take_turns_and_the_first_round_is_not_counted() -> None:
    log, seen = [], []
    seconds = _turns.in_turns({name: lambda name=name: log.append(name) for name in "ab"}, 3, lambda *at: seen.append(at))
    assert "".join(log) == "abababab"
    assert {name: len(spent) for name, spent in seconds.items()} == {"a": 3, "b": 3}
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_two_ways_side_by_side() -> None:
    row = _turns.beside([0.1, 0.2, 0.4], [2.0, 1.0, 0.5], "images/s", lambda s: 100 / s)
    assert row == {
        "ours images/s": 500,
        "range": "250-1000",
        "reference images/s": 100,
        "its range": "50-200",
        "times": 5.0,
        "rounds": 3,
    }


def test_helpers_are_no_items_and_every_item_asks_a_question() -> None:
    names = plugins.names("bench")
    assert {"augment", "ecg", "pictures", "quint", "start"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
    for module in (augment, pictures, quint, start):
        assert module.__doc__.splitlines()[0].endswith("?")


@pytest.mark.parametrize(("per", "most"), [(3, 1.5), (1, 12)])
def test_the_reference_of_quint_draws_the_same_pictures_up_to_soft_edges(per: int, most: float) -> None:
    """Every shape with every texture; grey levels of 255, on average over the pixels of an image. No edges: nothing differs."""
    studio, n = render.studio(Picture(), 64), 100
    number = np.arange(n)
    factors = {"shape": number % 10, "texture": number // 10, "colour": number % 7, "background_texture": (number * 7) % 10}
    factors["background_colour"] = (factors["colour"] + 1 + number % 9) % 10
    raw = words(5, ("test",), 0, n, render.GRADIENTS + -(-studio.lattice.nodes // 8))
    ours = render.paint(studio, factors, raw).astype(int)
    difference = np.abs(ours - quint.paint(studio, factors, raw, per)).mean(axis=(1, 2, 3))
    shuffled = np.abs(ours - np.roll(ours, 1, axis=0)).mean(axis=(1, 2, 3))
    assert difference.mean() < most < shuffled.mean() / 4
    if per == 3:
        assert difference.max() < 4


def test_quint(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SIZE": 32, "SAMPLES": {"train": 120, "test": 100}, "DRAWN": 10, "PIECE": 4, "ROUNDS": 1, "cores": lambda: 1}
    for name, value in small.items():
        monkeypatch.setattr(quint, name, value)
    rows = quint.run()
    assert [row["what"] for row in rows] == ["images", "images", "data set", "data set"]
    assert [row["beside"] for row in rows] == [*quint.REFERENCES] * 2
    for row in rows:
        compares(row, "images/s", 1)


def test_both_ways_of_quint_make_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quint, "DRAWN", 10)
    monkeypatch.setattr(quint, "PIECE", 4)
    made = quint.recipe.Quint(quint.load("synergy")[1], {"train": 120, "test": 100}, 32, 0)
    with quint.processes(1) as in_order:
        assert quint.ours(made, in_order) == 2 * 220
        assert quint.theirs(made, 3, in_order) == 2 * 10
    ours = quint.recipe.samples(made, "train", 0, 10).inputs
    theirs = dict(zip("ab", quint.drawn(made, 3, 0, 10), strict=True))
    for modality in "ab":
        assert np.abs(ours[modality].astype(int) - theirs[modality]).mean() < 4  # half the size: twice as much edge


def test_augment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That Pillow's images are the same, `test_augment.py` shows."""
    for name, value in {"SHAPE": (4, 3, 64, 64), "BATCHES": 1, "ROUNDS": 2}.items():
        monkeypatch.setattr(augment, name, value)
    rows = augment.run()
    languages = ["C", "torch"] if augment.BUILT else ["torch"]
    assert [(row["augmentation"], row["in"]) for row in rows] == [*product(["basic", "randaug"], languages)]
    for row in rows:
        compares(row, "images/s", 2)


def test_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*start.REFERENCES] == ["python -c pass", "python -c 'import torch'"]
    monkeypatch.setattr(start, "ROUNDS", 1)
    monkeypatch.setattr(start, "REFERENCES", {"python -c pass": ("-c", "pass")})
    (row,) = start.run()
    assert row["beside"] == "python -c pass"
    compares(row, "ms", 1)


def test_ecg(monkeypatch: pytest.MonkeyPatch) -> None:
    if not find_spec("wfdb"):
        pytest.skip("wfdb is not installed (mmal[mimic])")
    from mmal_cli.bench import ecg

    for name, value in {"RECORDS": 2, "ROUNDS": 1}.items():
        monkeypatch.setattr(ecg, name, value)
    rows = ecg.run()
    assert [row["way"] for row in rows] == ["read", "read, scaled", "read, scaled, 100 Hz"]
    for row in rows:
        compares(row, "records/s", 1)


def test_pictures(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference with no processes of its own; its pixels are compared in `test_pictures.py`."""
    loader = torch.utils.data.DataLoader
    for name, value in {"SIZES": {(64, 48): 2, (48, 64): 3}, "ROUNDS": 1, "cores": lambda: 1}.items():
        monkeypatch.setattr(pictures, name, value)
    monkeypatch.setattr(pictures, "reference", lambda paths: loader(pictures.Photographs(paths)))
    seen = []
    rows = pictures.run(lambda done, total: seen.append((done, total)))
    assert [row["pictures"] for row in rows] == ["64 x 48", "48 x 64"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for row in rows:
        compares(row, "/s", 1)
