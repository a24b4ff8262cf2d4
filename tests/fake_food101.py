"""Makes folders in the layouts of UPMC Food-101: tiny JPEGs whose colour tells the class, odd and broken ones among them."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"apple_pie": (200, 150, 60), "ramen": (60, 60, 200), "tacos": (60, 200, 60), "waffles": (200, 60, 200)}
CLASSES = tuple(COLOURS)
WORDS = {"apple_pie": "grandma's apple pie", "ramen": "miso ramen, spicy", "tacos": "fish tacos", "waffles": "crispy waffles"}

# what `odd` puts into train beside the plain pairs, as the manifest counts it
UNMATCHED = {
    "file not named .jpg or .jpeg": 1,
    "image without a row": 3,
    "row for an image that has one": 1,
    "row malformed": 1,
    "row of another class than its image": 1,
    "row without a class": 1,
    "row without an image": 2,
}
DROPPED = {"image truncated": 2, "image unreadable": 2}
NOTED = {
    "image converted, CMYK": 1,
    "image converted, greyscale": 2,
    "image converted, palette": 1,
    "image converted, transparent": 1,
    "image is PNG": 2,
    "text empty": 2,
}


def picture(category: str, seed: int, mode: str = "RGB", form: str = "JPEG", size: tuple[int, int] = (48, 40)) -> bytes:
    """A noisy image of the class's colour."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    noise = rng.integers(-30, 30, (*size[::-1], 3))
    image = Image.fromarray((np.array(COLOURS[category]) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(200)
    file = io.BytesIO()
    image.save(file, form, quality=90)
    return file.getvalue()


def make(source: Path, each: Mapping[str, int] | None = None, *, odd: bool = False, header: bool = False) -> Path:
    """Writes `each` pairs of every class (train 30, test 10) in the layout titles; `odd` adds what is counted above."""
    for split, count in (each or {"train": 30, "test": 10}).items():
        rows = []
        for number, category in enumerate(CLASSES):
            folder = source / "images" / split / category
            folder.mkdir(parents=True)
            for k in range(count):
                (folder / f"{category}_{k}.jpg").write_bytes(picture(category, 1000 * number + k + (split == "test") * 500))
                rows.append([f"{category}_{k}.jpg", title(category, k), category])
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["image", "title", "class"]] * header + rows)
        path = source / "texts" / f"{split}_titles.csv"
        path.parent.mkdir(exist_ok=True)
        lines = _oddities(source / "images" / split) if odd and split == "train" else ""
        path.write_text(text.getvalue() + lines, encoding="utf-8", newline="")
    return source


def title(category: str, number: int) -> str:
    """Titles with commas, quotes and line breaks among them."""
    return f'{WORDS[category]} "{number}"' + ("\nby a neighbour" if number % 7 == 3 else "")


def _oddities(images: Path) -> str:
    """Writes the odd files of train; returns their rows, and rows that are odd themselves."""
    ramen, whole = images / "ramen", picture("ramen", 77)
    odd = {
        "cmyk.jpg": picture("ramen", 1, "CMYK"),
        "grey.jpg": picture("ramen", 2, "L"),
        "grey.JPEG": picture("ramen", 3, "L"),
        "palette.jpg": picture("ramen", 4, "P", "PNG"),
        "clear.jpg": picture("ramen", 5, "RGBA", "PNG"),
        "cut.jpg": whole[: len(whole) // 2],
        "cut_late.jpg": whole[:-60],
        "page.jpg": b"<html>404</html>",
        "nothing.jpg": b"",
        "untitled.jpg": picture("ramen", 6),
        "blank.jpg": picture("ramen", 7),
    }
    rows = [f'{name},"Ramen, the ""odd"" one",ramen' for name in odd if name not in ("untitled.jpg", "blank.jpg")]
    rows += ["untitled.jpg,,ramen", "blank.jpg,  ,ramen", "ramen_1.jpg,again,ramen", "gone.jpg,was here,ramen"]
    rows += ["gone too.jpg,was, too,ramen", "ramen_2.jpg,of tacos,tacos", "ramen_3.jpg,no class,", "short.jpg,ramen"]
    for name, content in odd.items():
        (ramen / name).write_bytes(content)
    for k in range(3):
        (ramen / f"alone_{k}.jpg").write_bytes(whole)
    (ramen / "notes.txt").write_text("not an image")
    (ramen / ".hidden").write_text("")
    return "".join(f"{row}\r\n" for row in rows)


def add_pages(source: Path) -> Path:
    """Writes a page for every image in images/, in place of the titles."""
    for image in source.glob("images/*/*/*"):
        page = source / "texts_txt" / image.parent.name / f"{image.stem}.txt"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(
            f"Menu Home Search {WORDS[image.parent.name]} ingredients: " + "flour water salt " * 400, encoding="utf-8"
        )
    return source
