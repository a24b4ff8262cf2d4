"""A labelled contact sheet: every shape with every texture, erasure and jitter on, then the ten colours."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_recipes.quint.colours import COLOURS
from data_recipes.quint.render import images, studio
from data_recipes.quint.setting import Picture
from data_recipes.quint.shapes import SHAPES
from data_recipes.quint.textures import TEXTURES

SCALE = 2  # one pixel of an image is drawn as 2 x 2
GAP, LEFT, TOP, TEXT = 6, 84, 22, 14


def sheet(picture: Picture, size: int, seed: int) -> Image.Image:
    """Draws the sheet: a row for each shape, a column for each texture, and below, a square of each colour."""
    tiles = _tiles(picture, size, seed)
    cell = size * SCALE + GAP
    rows = [*SHAPES, "colours"]
    page = Image.new("RGB", (LEFT + 10 * cell, TOP + len(rows) * cell + TOP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT)
    for row, name in enumerate(rows):
        y = TOP + row * cell + (TOP if name == "colours" else 0)
        draw.text((4, y + cell // 2), name, "black", font, anchor="lm")
        for column in range(10):
            tile = Image.fromarray(tiles[row * 10 + column].transpose(1, 2, 0))
            page.paste(tile.resize((size * SCALE, size * SCALE), Image.Resampling.NEAREST), (LEFT + column * cell, y))
    for names, y in ((TEXTURES, TOP // 2), (COLOURS, TOP + 10 * cell + TOP // 2)):
        for column, name in enumerate(names):
            draw.text((LEFT + column * cell + size * SCALE // 2, y), name, "black", font, anchor="mm")
    return page


def _tiles(picture: Picture, size: int, seed: int) -> np.ndarray:
    """(110, 3, W, W) uint8: 10 x 10 shapes by textures in changing colours, then solid squares in the ten colours."""
    place = np.arange(110)
    row, column = place // 10, place % 10
    colour = np.where(row < 10, (row + 3 * column) % 10, column)
    factors = {
        "shape": np.where(row < 10, row, list(SHAPES).index("square")),
        "texture": np.where(row < 10, column, list(TEXTURES).index("solid")),
        "colour": colour,
        "background_texture": (3 * row + 7 * column + 1) % 10,
        "background_colour": (colour + 1 + (row + column) % 9) % 10,
    }
    return images(studio(picture, size), seed, "preview", "a", 0, factors, place)
