"""The pictures of QuintFeatures: what must hold for every shape, texture and colour, and the bytes everywhere."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_recipes.quint import colours, preview, recipe, render, shapes, textures
from data_recipes.quint.raster import rotated_grid
from data_recipes.quint.setting import Perlin, Picture, load
from data_recipes.quint.streams import below, octets, words
from data_recipes.workers import processes

WHOLE = Picture(perlin=Perlin(enabled=False))
# sha256 of the first three samples of train and test at 64 px, seed 0: equal on every machine, or figures cannot be compared.
EXPECTED = {
    "missing": "68d49413749a4036a13488e9117aa3d2176fa9a58fe1006fdad65db076fdc740",
    "unique": "1f138013769e8c977f11d9a660d23178052de2602b7e3d93da14ea3e5c16ffd3",
    "synergy": "0fb9afd172a2d5975ccd845ad239c72676a2536bc2f4968e3cf83adbda8551ff",
    "trio": "88430a5b97dcebbb2252fed0acb58c15307be6fd5b2a18d7a6c3646612e899a2",
}


def quint(setting: str, **other) -> recipe.Quint:
    return recipe.Quint(load(setting)[1], {"train": 1000, "test": 200}, **{"size": 64, "seed": 0, **other})


def digest(quint: recipe.Quint) -> str:
    found = hashlib.sha256()
    for split in ("train", "test"):
        made = recipe.samples(quint, split, 0, 3)
        for array in (*made.inputs.values(), made.present, made.label, *made.factors.values()):
            found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("setting", EXPECTED)
def test_images_are_the_same_on_every_machine(setting: str) -> None:
    assert digest(quint(setting)) == EXPECTED[setting]


def drawn(studio: render.Studio, n: int, seed: int = 0, **fixed) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = {name: rng.integers(0, 10, n) for name in ("shape", "texture", "colour", "background_texture")}
    factors["background_colour"] = (factors["colour"] + rng.integers(1, 10, n)) % 10
    factors |= {name: np.full(n, value) for name, value in fixed.items()}
    nodes = studio.lattice.nodes if studio.lattice else 0
    return factors, words(seed, ("test",), 0, n, render.GRADIENTS + -(-nodes // 8))


def test_image_k_depends_on_k_alone() -> None:
    whole = recipe.samples(quint("missing"), "train", 40, 60)
    for size in (1, 7):
        parts = [recipe.samples(quint("missing"), "train", k, min(k + size, 60)) for k in range(40, 60, size)]
        for name, array in whole.columns().items():
            assert np.array_equal(np.concatenate([part.columns()[name] for part in parts]), array), (name, size)


def test_another_seed_split_or_modality_is_another_image() -> None:
    made = [recipe.samples(quint("synergy", seed=seed), split, 0, 4) for seed in (0, 1) for split in ("train", "test")]
    images = [made.inputs[name][k].tobytes() for made in made for name in "ab" for k in range(4)]
    assert len(set(images)) == len(images)


def test_processes_change_nothing() -> None:
    tasks = [(quint("synergy"), "train", k, k + 5) for k in range(0, 20, 5)]
    with processes(1) as one, processes(2) as two:
        for a, b in zip(one(recipe.samples, tasks), two(recipe.samples, tasks), strict=True):
            assert all(np.array_equal(x, b.columns()[name]) for name, x in a.columns().items())


@given(st.integers(0, 2**40), st.integers(1, 9), st.integers(1, 70))
def test_a_row_of_words_depends_on_its_number_alone(start: int, rows: int, width: int) -> None:
    many = words(3, ("x",), start, start + rows, width)
    assert np.array_equal(many[-1:], words(3, ("x",), start + rows - 1, start + rows, width))


def test_words_are_numpys_philox() -> None:
    raw = words(0, ("x",), 5, 6, 3)[0]
    assert raw.tolist() == [int(x) for x in words(0, ("x",), 0, 6, 3)[5]]
    assert octets(np.array([[0x0807060504030201]], np.uint64), 3).tolist() == [[1, 2, 3]]
    assert below(np.array([0, 2**63, 2**64 - 1], np.uint64), 10).tolist() == [0, 5, 9]


def test_the_lists_are_those_of_trifeatures() -> None:
    assert " ".join(shapes.SHAPES) == "triangle square plus circle tee rhombus pentagon star fivesquare trapezoid"
    assert " ".join(textures.TEXTURES) == "solid stripes grid hexgrid dots noise triangles zigzags rain pluses"
    assert " ".join(colours.COLOURS) == "red green blue yellow pink cyan purple ocean orange white"


@pytest.mark.parametrize(
    ("name", "share"),
    [("square", 1), ("triangle", 1 / 2), ("circle", np.pi / 4), ("plus", 5 / 9), ("tee", 5 / 9), ("fivesquare", 5 / 9)],
)
def test_shapes_cover_their_share_of_the_box_at_every_angle(name: str, share: float) -> None:
    for degrees in (-45, 0, 17, 45):
        found = shapes.mask(name, 36, rotated_grid(64, 4, degrees), 4).sum() / 255 / 36**2
        assert found == pytest.approx(share, rel=0.02)


def test_no_two_shapes_or_textures_are_alike() -> None:
    upright = np.stack([shapes.mask(name, 36, rotated_grid(64, 3, 0), 3) for name in shapes.SHAPES]).astype(int)
    maps = render.studio(WHOLE, 64).brightness[:, 45].astype(int)
    for tables in (upright, maps):
        for a in range(10):
            for b in range(a):
                assert np.abs(tables[a] - tables[b]).mean() > 0.02 * 255, (a, b)


def test_every_place_keeps_the_shape_inside_and_all_are_reached() -> None:
    studio = render.studio(WHOLE, 64)
    factors, raw = drawn(studio, 3000)
    alpha = render.foreground(studio, factors["shape"], raw)
    turn = below(raw[:, render.SHAPE_TURN], 91)
    full = studio.shapes.masks[factors["shape"], turn].sum(axis=(1, 2), dtype=int)
    assert np.array_equal(alpha.sum(axis=(1, 2), dtype=int), full)
    for side in (alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]):
        assert side.any(), "some shapes touch each edge"


def test_the_erased_fraction_is_q_to_one_pixel() -> None:
    studio, whole = render.studio(Picture(), 64), render.studio(WHOLE, 64)
    factors, raw = drawn(studio, 500)
    before = render.foreground(whole, factors["shape"], raw) >= shapes.INSIDE_FROM
    after = render.foreground(studio, factors["shape"], raw) >= shapes.INSIDE_FROM
    gone, count = (before & ~after).sum(axis=(1, 2)), before.sum(axis=(1, 2))
    q = (6554 + below(raw[:, render.ERASED], 19661 - 6554 + 1)) / 65536
    assert np.abs(gone - q * count).max() <= 0.5
    assert (gone / count).min() > 0.09
    assert (gone / count).max() < 0.31
    assert (gone / count).mean() == pytest.approx(0.2, abs=0.01)


def test_jitter_never_leaves_its_class() -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 10, 10_000)
    most = round(255 * Picture().jitter)
    rgb = colours.jittered(colour, rng.integers(-most, most + 1, (10_000, 3)))
    assert np.array_equal(colours.nearest(rgb), colour)
    assert rgb.min() == 0
    assert rgb.max() == 255
    corners = np.stack(np.meshgrid(*[[-most, most]] * 3), axis=-1).reshape(-1, 3)
    for index in range(10):
        assert (colours.nearest(colours.jittered(np.full(8, index), corners)) == index).all()
    largest = Picture.model_fields["jitter"].metadata[-1].lt
    away = colours.PROTOTYPES[:, None, :] - colours.PROTOTYPES[None]
    squares = (away * away).sum(axis=2)
    safe = (int(squares[squares > 0].min()) / 4 / 3) ** 0.5 / 255  # half the smallest distance of two prototypes, a channel
    assert largest < safe < 0.2 / 3**0.5 + 0.001


def test_the_background_never_shows_through_the_foreground() -> None:
    studio = render.studio(WHOLE, 64)
    factors, raw = drawn(studio, 400)
    covered = render.foreground(studio, factors["shape"], raw) == 255
    one = render.paint(studio, factors, raw)
    other = render.paint(studio, factors | {"background_colour": (factors["background_colour"] + 1) % 10}, raw)
    same = (one == other).all(axis=1)
    assert same[covered].all()
    assert not same[~covered].all()


def test_a_region_shows_its_colour_at_full_strength_and_dimmed_off_its_texture() -> None:
    studio = render.studio(Picture(jitter=0, perlin=Perlin(enabled=False)), 64)
    stripes = list(textures.TEXTURES).index("stripes")
    factors, raw = drawn(studio, 50, texture=stripes, colour=list(colours.COLOURS).index("white"))
    covered = render.foreground(studio, factors["shape"], raw) == 255
    seen = render.paint(studio, factors, raw)[:, 0][covered]
    assert seen.max() == 255
    assert seen.min() == round(0.4 * 255)


@pytest.mark.parametrize("size", [32, 80])
def test_other_sizes(size: int) -> None:
    made = recipe.samples(quint("unique", size=size), "train", 0, 3)
    assert made.inputs["a"].shape == (3, 3, size, size)
    assert made.inputs["a"].std() > 10


def test_the_sheet_has_a_labelled_tile_for_each_shape_and_texture() -> None:
    page = np.asarray(preview.sheet(Picture(), 64, 0))
    assert page.shape[0] > 11 * 2 * 64
    tile = page[preview.TOP : preview.TOP + 128, preview.LEFT : preview.LEFT + 128]
    assert np.array_equal(tile[::2, ::2], tile[1::2, 1::2]), "enlarged without blur"
    assert (page[:, : preview.LEFT] < 128).any(), "names of shapes"
    assert (page[: preview.TOP] < 128).any(), "names of textures"
