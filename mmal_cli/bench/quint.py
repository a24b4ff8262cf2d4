"""How fast are the images of gen-quint made, beside numpy and Pillow that draw the same pictures one by one?"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_recipes.quint import colours, perlin, recipe, render, sampling
from data_recipes.quint.setting import Perlin, load
from data_recipes.quint.shapes import INSIDE_FROM, SHAPES, STAR_RADIUS
from data_recipes.quint.streams import below, octets, words
from data_recipes.quint.textures import PATTERNS, TEXTURES
from data_recipes.workers import InOrder, cores, processes
from mmal_cli.bench._turns import beside, in_turns
from mmal_cli.core.build import build

SETTING, SIZE = "synergy", 64
SAMPLES = {"train": 9_000, "test": 1_000}  # of two images each
DRAWN = 768  # samples that a reference draws in a round: about as many seconds as all of them take ours
PIECE = 32  # samples that a process of a reference draws at a time
ROUNDS = 7
INNER = math.cos(math.radians(72)) / math.cos(math.radians(36))  # corners of a pentagram, as a part of its tips' radius
TIPS = [(STAR_RADIUS * (1 if k % 2 == 0 else INNER), math.pi * k / 5) for k in range(10)]
POLYGONS = {  # corners (down, right) in a box of width 1; the circle is an ellipse
    "triangle": [[(0, 0.5), (1, 1), (1, 0)]],
    "square": [[(0, 0), (0, 1), (1, 1), (1, 0)]],
    "plus": [[(1 / 3, 0), (1 / 3, 1), (2 / 3, 1), (2 / 3, 0)], [(0, 1 / 3), (0, 2 / 3), (1, 2 / 3), (1, 1 / 3)]],
    "tee": [[(0, 0), (0, 1), (1 / 3, 1), (1 / 3, 0)], [(0, 1 / 3), (0, 2 / 3), (1, 2 / 3), (1, 1 / 3)]],
    "rhombus": [[(0, 0.45), (0, 1), (1, 0.55), (1, 0)]],
    "pentagon": [[(0, 0.5), (0.4, 1), (1, 1 - 0.6 / 3.1), (1, 0.6 / 3.1), (0.4, 0)]],
    "star": [[(0.55 - r * math.cos(t), 0.5 - r * math.sin(t)) for r, t in TIPS]],
    "fivesquare": [
        [(i / 3, j / 3), (i / 3, (j + 1) / 3), ((i + 1) / 3, (j + 1) / 3), ((i + 1) / 3, j / 3)]
        for i, j in ((0, 0), (0, 2), (1, 1), (2, 0), (2, 2))
    ],
    "trapezoid": [[(0, 0), (0, 1), (1, 1 - 1 / 3.1), (1, 1 / 3.1)]],
}
REFERENCES = {"3 x 3 sub-pixels, as ours": 3, "hard edges": 1}


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Makes images as the command does, in processes that are warm, one for each core; the references in the same processes.

    Returns:
        A row for the images alone and one for the finished folder (HDF5, sha256), beside a reference with soft edges and one
        without: images a second.
    """
    quint = recipe.Quint(load(SETTING)[1], SAMPLES, SIZE, 0)
    each = len(quint.setting.modalities)
    with tempfile.TemporaryDirectory() as folder, processes(cores()) as in_order:
        ways = {
            "images": lambda: ours(quint, in_order),
            "data set": lambda: build(
                Path(folder), recipe.head(SETTING, quint), recipe.plans(quint, in_order), command="mmal bench quint", force=True
            ),
        }
        ways |= {name: lambda per=per: theirs(quint, per, in_order) for name, per in REFERENCES.items()}
        seconds = in_turns(ways, ROUNDS, on_progress)
    amount = {name: each * (DRAWN if name in REFERENCES else sum(SAMPLES.values())) for name in ways}
    spent = {name: [s / amount[name] for s in found] for name, found in seconds.items()}
    return [
        {"what": what, "beside": name} | beside(spent[what], spent[name], "images/s", lambda s: 1 / s)
        for what in ("images", "data set")
        for name in REFERENCES
    ]


def ours(quint: recipe.Quint, in_order: InOrder) -> int:
    """All that gen-quint does but for the files; returns how many images came out."""
    chunks = (plan.chunks(0, plan.samples) for plan in recipe.plans(quint, in_order).values())
    return sum(len(images) for split in chunks for made in split for images in made.inputs.values())


def theirs(quint: recipe.Quint, per: int, in_order: InOrder) -> int:
    """The first DRAWN train samples by the reference; returns how many images came out."""
    tasks = ((quint, per, start, min(start + PIECE, DRAWN)) for start in range(0, DRAWN, PIECE))
    return sum(len(images) for made in in_order(drawn, tasks) for images in made)


def drawn(quint: recipe.Quint, per: int, start: int, stop: int) -> list[np.ndarray]:
    """Train samples start..stop-1 by the reference: an array (n, 3, W, W) uint8 for each modality."""
    studio = render.studio(quint.setting.picture, quint.size)
    label = sampling.labels(quint.setting, quint.seed, "train", start, stop)
    factors = sampling.factors(quint.setting, quint.seed, "train", start, label)
    width = render.GRADIENTS + -(-studio.lattice.nodes // 8)
    return [
        paint(studio, factors[modality], words(quint.seed, ("train", modality, "picture"), start, stop, width), per)
        for modality in quint.setting.modalities
    ]


def paint(studio: render.Studio, factors: Mapping[str, np.ndarray], raw: np.ndarray, per: int) -> np.ndarray:
    """What `render.paint` promises, one image after the other, each from its corners, formulas and noise.

    Args:
        studio: of its tables only where a shape may lie is read.
        factors: name -> (n,) values 0..9 of the five factors.
        raw: (n, words) uint64, the draws.
        per: sub-pixels along the side of a pixel; 1: hard edges.

    Returns:
        (n, 3, W, W) uint8.
    """
    picture, table, size, shape = studio.picture, studio.shapes, studio.size, factors["shape"]
    jitter = round(255 * picture.jitter)
    shift = below(raw[:, render.JITTER], 2 * jitter + 1) - jitter
    near = _regions(studio, factors["texture"], factors["colour"], raw[:, render.TEXTURE_TURN :], shift[:, :3])
    far = _regions(
        studio, factors["background_texture"], factors["background_colour"], raw[:, render.BACKGROUND_TURN :], shift[:, 3:]
    )
    turn = below(raw[:, render.SHAPE_TURN], 2 * picture.turn + 1)
    start = table.first[shape, turn] + below(raw[:, render.ROW : render.COLUMN + 1], table.starts[shape, turn])
    places = zip(shape.tolist(), (turn - picture.turn).tolist(), (table.masks.shape[2] / 2 - start).tolist(), strict=True)
    low, high = (round(q * render.Q_STEPS) for q in (picture.perlin.q_min, picture.perlin.q_max))
    gone = (low + below(raw[:, render.ERASED], high - low + 1)) / render.Q_STEPS
    angles = octets(raw[:, render.GRADIENTS :], studio.lattice.nodes) * (2 * math.pi / perlin.DIRECTIONS)
    painted = np.empty((len(raw), 3, size, size), np.uint8)
    for n, (place, front, back) in enumerate(zip(places, near, far, strict=True)):
        mask = _erased(_mask(*place, picture.box_at(size), size, per), _noise(angles[n], size, picture.perlin), gone[n])
        image = Image.composite(_region(studio, *front, per), _region(studio, *back, per), mask)
        painted[n] = np.asarray(image).transpose(2, 0, 1)
    return painted


def _regions(
    studio: render.Studio, texture: np.ndarray, colour: np.ndarray, raw: np.ndarray, shift: np.ndarray
) -> Iterator[tuple]:
    """Of each image texture, number of the rotation, start of the window on the canvas (row, column), colour."""
    turn = below(raw[:, 0], 2 * studio.picture.turn + 1)
    start = below(raw[:, 1:3], studio.brightness.shape[2] - studio.size + 1)
    rgb = map(tuple, colours.jittered(colour, shift).tolist())
    return zip(texture.tolist(), turn.tolist(), start.tolist(), rgb, strict=True)


def _mask(shape: int, degrees: int, centre: tuple[float, float], box: int, size: int, per: int) -> Image.Image:
    """The shape turned about its centre (down, right), mode L."""
    image = Image.new("L", (size * per, size * per))
    draw, name = ImageDraw.Draw(image), list(SHAPES)[shape]
    cos, sin = math.cos(math.radians(degrees)) * box * per, math.sin(math.radians(degrees)) * box * per
    y, x = (c * per - 0.5 for c in centre)  # Pillow counts from the middle of the first pixel
    if name == "circle":
        draw.ellipse((x - box * per / 2, y - box * per / 2, x + box * per / 2, y + box * per / 2), 255)
    for corners in POLYGONS.get(name, ()):
        placed = [(i - 0.5, j - 0.5) for i, j in corners]
        draw.polygon([(x - sin * i + cos * j, y + cos * i + sin * j) for i, j in placed], 255)
    return image.reduce(per)


def _region(
    studio: render.Studio, texture: int, turn: int, start: tuple[int, int], rgb: tuple[int, int, int], per: int
) -> Image.Image:
    """A texture in a colour, mode RGB."""
    picture, size, canvas = studio.picture, studio.size, studio.brightness.shape[2]
    period, name = picture.period_at(size), TEXTURES[texture]
    if name == "noise":
        on = _coins("noise", canvas, turn)[start[0] : start[0] + size, start[1] : start[1] + size] < 128
    else:
        angle = math.radians(turn - picture.turn)
        cos, sin = math.cos(angle) / period, math.sin(angle) / period
        y, x = ((np.arange(size * per) + 0.5) / per + (first - canvas / 2) for first in start)
        v, u = cos * y[:, None] - sin * x, sin * y[:, None] + cos * x
        if name == "rain":
            reach = (abs(cos) + abs(sin)) * (canvas / 2 - 0.5 / picture.supersampling)
            side = 2 * int(reach * period) + 4
            row, column = (np.floor(d * period).astype(int) + side // 2 for d in (v, u))
            on = _streaks(side, turn, round(0.7 * period))[row, column]
        else:
            on = PATTERNS[name](v, u, period, turn)
    soft = Image.fromarray(on * np.uint8(255)).reduce(on.shape[0] // size)
    dim = tuple(round(picture.dim * channel) for channel in rgb)
    return Image.composite(Image.new("RGB", soft.size, rgb), Image.new("RGB", soft.size, dim), soft)


@cache
def _coins(name: str, side: int, turn: int) -> np.ndarray:
    """The random bytes of a texture, (side, side) uint8; kept, as a peer would draw fewer of them, the size of an image."""
    return octets(words(0, (name,), turn, turn + 1, -(-side * side // 8)), side * side).reshape(side, side)


@cache
def _streaks(side: int, turn: int, length: int) -> np.ndarray:
    """Rain on an upright canvas, (side, side) bool; kept like `_coins`."""
    starts = _coins("rain", side, turn) < 0.05 * 256
    return np.logical_or.reduce([np.pad(starts, ((drop, 0), (0, 0)))[:side] for drop in range(length)])


def _noise(angles: np.ndarray, size: int, settings: Perlin) -> np.ndarray:
    """Fractal Perlin noise, octave by octave: (nodes,) -> (W, W)."""
    total, first = np.zeros((size, size)), 0
    for octave in range(settings.octaves):
        cells = settings.cells << octave
        nodes = angles[first : first + (cells + 1) ** 2].reshape(cells + 1, cells + 1)
        total += 0.5**octave * _gradient_noise(nodes, size, size // cells)
        first += nodes.size
    return total


def _gradient_noise(angles: np.ndarray, size: int, width: int) -> np.ndarray:
    """One octave in cells of `width` pixels: the four corners' gradients, weighted by Perlin's fade."""
    at = np.arange(size) / width % 1
    y, x = at[:, None], at[None, :]
    gy, gx = (np.repeat(np.repeat(g, width, 0), width, 1) for g in (np.sin(angles), np.cos(angles)))
    corners = []
    for down in (0, 1):
        for right in (0, 1):
            node = slice(down * width, down * width + size), slice(right * width, right * width + size)
            corners.append(gy[node] * (y - down) + gx[node] * (x - right))
    t = at**3 * (at * (at * 6 - 15) + 10)
    upper, lower = (left + t * (right - left) for left, right in (corners[:2], corners[2:]))
    return upper + t[:, None] * (lower - upper)


def _erased(mask: Image.Image, noise: np.ndarray, share: float) -> Image.Image:
    """Takes away the given share of the foreground, where the noise is lowest."""
    left = np.array(mask)
    inside = noise[left >= INSIDE_FROM]
    gone = round(share * len(inside))
    left[noise < np.partition(inside, gone)[gone]] = 0
    return Image.fromarray(left)
