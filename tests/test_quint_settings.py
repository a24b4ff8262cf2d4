"""Settings: what each shipped one makes, what a user's own may say, and one message for each mistake."""

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_recipes.quint import recipe, sampling
from data_recipes.quint.setting import FACTORS, Setting, load, names
from mmal_cli.core.errors import UserError

TRIO = {
    "modalities": ["a", "b", "c"],
    "shared": ["shape"],
    "label": ["shape", "c.colour"],
    "absent": {"a": 0.5, "b": 0.5, "c": 0.8},
}


def made(setting: Setting, split: str = "train", n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict]:
    label = sampling.labels(setting, seed, split, 0, n)
    present = sampling.presence(setting, seed, split, 0, n)
    return label, present, sampling.factors(setting, seed, split, 0, label)


def written(folder: Path, **changes) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(TRIO | changes))
    return str(path)


def test_the_shipped_settings() -> None:
    assert names() == ["missing", "missing-small", "synergy", "synergy-small", "trio", "trio-small", "unique", "unique-small"]
    found = {name: load(name)[1] for name in ("missing", "synergy", "trio", "unique")}
    assert {name: s.classes for name, s in found.items()} == {"missing": 10, "unique": 100, "synergy": 100, "trio": 108}
    assert found["missing"].ceilings() == {"a": 1, "b": 1, "a+b": 1}
    assert found["unique"].ceilings() == {"a": 1, "b": 0.1, "a+b": 1}
    assert found["synergy"].ceilings() == {"a": 0.1, "b": 0.1, "a+b": 1}
    ninth, third = 0.111111, 0.333333
    trio = {"a": ninth, "b": ninth, "c": 0.027778, "a+b": third, "a+c": third, "b+c": third, "a+b+c": 1}
    assert found["trio"].ceilings() == trio
    assert {name: s.weak for name, s in found.items()} == {"missing": "a", "unique": "b", "synergy": "b", "trio": "c"}


def test_values_restrict_a_factor_everywhere_and_the_label_counts_them() -> None:
    setting = load("synergy-small")[1]
    label, _, factors = made(setting)
    assert setting.classes == 9
    assert setting.ceilings() == {"a": 0.333333, "b": 0.333333, "a+b": 1}
    textures, shapes = [0, 1, 4], [1, 3, 7]
    assert np.array_equal(
        label, 3 * np.searchsorted(textures, factors["a"]["texture"]) + np.searchsorted(shapes, factors["b"]["shape"])
    )
    for modality in "ab":
        assert set(factors[modality]["texture"]) == set(textures)
        assert set(factors[modality]["shape"]) == set(shapes)
        assert len(set(factors[modality]["background_texture"])) == 10
    names_of = recipe.head("x", recipe.Quint(setting, {"train": 90, "test": 9}, 64, 0))["class_names"]
    assert names_of == [f"{t}/{s}" for t in ("solid", "stripes", "dots") for s in ("square", "circle", "star")]


def test_labels_are_made_of_what_the_setting_says() -> None:
    for name, first, second in (("unique", ("a", "shape"), ("a", "texture")), ("synergy", ("a", "texture"), ("b", "shape"))):
        label, _, factors = made(load(name)[1])
        assert np.array_equal(label, 10 * factors[first[0]][first[1]] + factors[second[0]][second[1]])
    label, _, factors = made(load("missing")[1])
    assert np.array_equal(label, factors["a"]["shape"])
    assert np.array_equal(label, factors["b"]["shape"])


@pytest.mark.parametrize("name", ["missing", "unique", "synergy"])
def test_shared_factors_are_equal_and_all_others_independent(name: str) -> None:
    setting = load(name)[1]
    label, _, factors = made(setting)
    for factor in FACTORS:
        a, b = factors["a"][factor], factors["b"][factor]
        if factor in setting.shared:
            assert np.array_equal(a, b)
        else:
            assert (a == b).mean() == pytest.approx(0.1, abs=0.01)
        for other in FACTORS:
            if other != factor and {other, factor} != {"colour", "background_colour"}:
                assert (a == factors["a"][other]).mean() == pytest.approx(0.1, abs=0.01)
    for modality in "ab":
        assert (factors[modality]["colour"] != factors[modality]["background_colour"]).all()
    distractors = {"missing": [], "unique": [("b", "texture")], "synergy": [("a", "shape"), ("b", "texture")]}[name]
    for modality, factor in distractors:
        assert (label % 10 == factors[modality][factor]).mean() == pytest.approx(0.1, abs=0.01)
        assert (label // 10 == factors[modality][factor]).mean() == pytest.approx(0.1, abs=0.01)


def test_classes_are_balanced_to_one_sample_whatever_the_count() -> None:
    setting = load("synergy")[1]
    assert set(np.bincount(made(setting, n=6000)[0])) == {60}
    assert set(np.bincount(made(setting, n=6050)[0], minlength=100)) == {60, 61}
    assert np.array_equal(sampling.labels(setting, 0, "train", 130, 260), made(setting, n=300)[0][130:260])


def test_missing_probabilities() -> None:
    setting = load("missing")[1]
    _, present, _ = made(setting, n=60_000)
    a, b = present.T
    assert present.any(axis=1).all()
    for found, expected in (((a & b), 0.09), ((a & ~b), 0.055), ((~a & b), 0.855)):
        assert found.mean() == pytest.approx(expected, abs=4 * (expected / 60_000) ** 0.5)
    assert made(setting, "test")[1].all()
    assert made(load("synergy")[1])[1].all()


def test_three_modalities() -> None:
    setting = Setting(**TRIO)
    expected = {"a": 0.1, "b": 0.1, "c": 1, "a+b": 0.1, "a+c": 1, "b+c": 1, "a+b+c": 1}
    assert setting.ceilings() == expected
    _, present, _ = made(setting)
    assert present.any(axis=1).all()
    assert present.mean(axis=0) == pytest.approx([0.5 + 0.2 / 3, 0.5 + 0.2 / 3, 0.2 + 0.2 / 3], abs=0.015)
    head = recipe.head("trio", recipe.Quint(setting, {"train": 200, "test": 100}, 64, 0))
    assert sum(head["counts"]["train"]["present"].values()) == 200
    assert head["counts"]["test"]["present"] == {"a+b+c": 100}
    assert head["class_names"][23] == "plus/yellow"
    some = recipe.samples(recipe.Quint(setting, {"train": 200, "test": 100}, 64, 0), "train", 0, 8)
    for column, name in enumerate("abc"):
        assert np.array_equal(some.inputs[name].any(axis=(1, 2, 3)), some.present[:, column])


PAIRED = {"values": {"shape": ["circle", "star"], "texture": ["solid", "dots"], "background_texture": ["grid", "rain"]}}
BY_COUNTING = {
    "trio-small": load("trio-small")[1],
    "unique-small": load("unique-small")[1],
    "of a shared factor": Setting(modalities=["a", "b", "c"], shared=["shape"], label=["shape + c.texture"], **PAIRED),
    "of three": Setting(modalities=["a", "b", "c"], label=["a.shape + b.texture + c.background_texture"], **PAIRED),
    "within one": Setting(modalities=["a", "b"], label=["a.shape + a.texture", "b.shape"], **PAIRED),
    "four": Setting(
        modalities=["a", "b", "c", "d"],
        shared={"shape": ["b", "d"]},
        label=["a.shape", "shape", "c.texture+d.texture"],
        **PAIRED,
    ),
}


@pytest.mark.parametrize("name", BY_COUNTING)
def test_ceilings_are_those_that_counting_all_values_gives(name: str) -> None:
    """All values of the label's terms, each once: the best guess from what a subset sees is right so often."""
    setting = BY_COUNTING[name]
    terms = [term for part in setting.parts for term in part]
    counts: dict[str, Counter] = {subset: Counter() for subset in setting.ceilings()}
    for values in product(*(range(len(setting.choices(term))) for term in terms)):
        of = dict(zip(terms, values, strict=True))
        label = tuple(sum(of[t] for t in part) % n for part, n in zip(setting.parts, setting.radices, strict=True))
        for subset, found in counts.items():
            found[tuple(of[t] for t in terms if set(setting.showing(t)) & set(subset.split("+"))), label] += 1
    for subset, found in counts.items():
        best: dict[tuple, int] = {}
        for (seen, _), count in found.items():
            best[seen] = max(best.get(seen, 0), count)
        assert setting.ceilings()[subset] == pytest.approx(sum(best.values()) / found.total(), abs=1e-6)


def test_trio_shares_with_two_and_parts_a_fact_between_two() -> None:
    setting = load("trio")[1]
    label, _, factors = made(setting)
    a, b, c = (factors[m] for m in "abc")
    shapes, textures = np.array([1, 3, 7, 2]), np.array([0, 1, 4])
    place = {m: (factors[m]["texture"][:, None] == textures).argmax(axis=1) for m in "abc"}
    assert np.array_equal(a["shape"], b["shape"])
    assert np.array_equal(a["shape"], shapes[label // 27])
    assert np.array_equal(place["c"], label // 9 % 3)
    assert np.array_equal(place["a"], label // 3 % 3)
    assert np.array_equal(place["b"], label % 3)
    for one, other in ((c["shape"], a["shape"]), (c["background_texture"], a["background_texture"])):
        assert (one == other).mean() == pytest.approx(1 / len(set(one)), abs=0.02)
    names_of = recipe.head("trio", recipe.Quint(setting, {"train": 200, "test": 200}, 64, 0))["class_names"]
    assert (names_of[0], names_of[-1]) == ("square/solid/solid/solid", "plus/dots/dots/dots")


def test_the_terms_of_a_sum_say_nothing_alone() -> None:
    setting = Setting(modalities=["a", "b"], label=["a.shape", "a.texture + b.texture"], **PAIRED)
    label, _, factors = made(setting)
    place = {m: (factors[m]["texture"] == factors[m]["texture"].max()).astype(int) for m in "ab"}
    assert np.array_equal((place["a"] + place["b"]) % 2, label % 2)
    for m in "ab":
        counts = np.bincount(place[m] * 4 + label, minlength=8)
        assert counts == pytest.approx(np.full(8, len(label) / 8), rel=0.1)


def test_a_label_may_hold_a_background_colour() -> None:
    label, _, factors = made(Setting(modalities=["x"], label=["x.background_colour"]))
    assert np.array_equal(label, factors["x"]["background_colour"])
    assert (label != factors["x"]["colour"]).all()
    assert np.bincount(factors["x"]["colour"]) == pytest.approx(np.full(10, 2000), abs=200)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lable": ["shape"]}, "unknown key 'lable'; did you mean 'label'?"),
        ({"picture": {"jiter": 0.05}}, "unknown key 'picture.jiter'; did you mean 'jitter'?"),
        ({"shared": ["shap"]}, "shared: unknown factor 'shap'; did you mean 'shape'?"),
        ({"label": ["a.shape"]}, "label: shape is shared, write 'shape' instead of 'a.shape'"),
        ({"label": ["texture"]}, "label: texture is not shared, write a.texture or add it to shared"),
        ({"label": ["d.texture"]}, "label: unknown modality 'd' (known: a, b, c)"),
        ({"label": []}, "label: List should have at least 1 item"),
        ({"label": ["shape", "shape"]}, "label: shape stands there twice"),
        ({"absent": {"a": 1.5}}, "absent.a: Input should be less than 1 (found 1.5)"),
        ({"absent": {"a": -0.1}}, "absent.a: Input should be greater than or equal to 0 (found -0.1)"),
        ({"absent": {"q": 0.5}}, "absent: unknown modality 'q'"),
        ({"weak": "q"}, "weak: unknown modality 'q'"),
        ({"modalities": ["a", "a"], "label": ["shape"], "absent": {}}, "modalities: a stands there twice"),
        ({"label": ["a.colour", "a.background_colour"]}, "colour and background_colour cannot both be shared or in the label"),
        ({"values": {"shape": ["circle", "sqare"]}}, "values.shape: unknown shape 'sqare'; did you mean 'square'?"),
        ({"values": {"shape": ["circle"]}}, "values.shape: List should have at least 2 items"),
        ({"values": {"colour": ["red", "blue"]}}, "values: unknown factor 'colour'"),
        ({"shared": {"shape": ["a"]}}, "shared.map.shape: List should have at least 2 items"),
        ({"shared": {"shape": "a"}}, "shared.map.shape: Input should be a valid list (found 'a')"),
        ({"shared": "shape"}, "shared.list: Input should be a valid list (found 'shape')"),
        ({"shared": {"shape": ["a", "q"]}}, "shared.shape: unknown modality 'q'"),
        ({"shared": {"shape": ["a", "a"]}}, "shared.shape: a stands there twice"),
        ({"shared": {"shape": ["b", "c"]}, "label": ["b.shape"]}, "label: shape is shared, write 'shape' instead of 'b.shape'"),
        ({"label": ["shape + c.texture", "c.texture"]}, "label: c.texture stands there twice"),
        ({"label": ["a.texture + "]}, "label: unknown factor ''"),
        (
            {"label": ["shape + c.colour"], "values": {"shape": ["circle", "star"]}},
            "label: the terms of a sum must have equally many values, found shape 2, c.colour 10",
        ),
        ({"picture": {"perlin": {"q_min": 0.5}}}, "q_min 0.5 is above q_max 0.3"),
        ({"picture": {"jitter": 0.2}}, "picture.jitter: Input should be less than 0.11 (found 0.2)"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        load(path)
    assert error.value.code == 2
    assert str(error.value).startswith(path)
    assert message in str(error.value)


def test_an_unknown_setting_offers_the_nearest() -> None:
    with pytest.raises(
        UserError,
        match=r"unknown setting 'synergie'; did you mean 'synergy'\? \(known: missing, missing-small, synergy,",
    ):
        load("synergie")


@pytest.mark.parametrize(
    ("samples", "size", "message"),
    [
        ({"train": 99, "test": 100}, 64, "--train 99: fewer than the 100 classes"),
        ({"train": 100, "test": 5}, 64, "--test 5: fewer than the 100 classes"),
        ({"train": 100, "test": 100}, 70, "--size 70: expected a multiple of 16"),
        ({"train": 100, "test": 100}, 16, "--size 16: expected a multiple of 16, at least 32"),
    ],
)
def test_sizes_that_cannot_be(samples: dict[str, int], size: int, message: str) -> None:
    with pytest.raises(UserError) as error:
        recipe.Quint(load("synergy")[1], samples, size, 0)
    assert message in str(error.value)
