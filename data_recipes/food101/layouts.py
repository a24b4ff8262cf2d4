"""How UPMC Food-101 lies on disk: which layout a folder has, and which image goes with which text."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_recipes.food101 import titles
from mmal_cli.core.errors import BAD_DATA, UserError

SPLITS = ("train", "test")
IMAGES = tuple(f"images/{split}" for split in SPLITS)
NEEDS = {  # layout -> what it is known by
    "titles": (*IMAGES, *(f"texts/{split}_titles.csv" for split in SPLITS)),
    "pages": (*IMAGES, "texts_txt"),
}
SHOWN = {
    "titles": "images/{train,test}/<class>/*.jpg + texts/{train,test}_titles.csv (image, title, class; a header or none)",
    "pages": "images/{train,test}/<class>/*.jpg + texts_txt/<class>/*.txt",
}


class Pair(NamedTuple):
    """An image with its text: names of class and file, path of the image, the text or else the path of its page."""

    category: str
    file: str
    image: str
    text: str = ""
    page: str = ""


@dataclass(frozen=True)
class Listing:
    """A split as it lies there: pairs sorted by class and file, how many images and texts, and what has no partner and why."""

    pairs: Sequence[Pair]
    images: int
    texts: int
    unmatched: Mapping[str, int]


def find(source: Path, text: str | None = None) -> str:
    """The layout of a folder, titles before pages; `text` asks for one of the two.

    Raises:
        UserError: no such folder, or none of the layouts; it lists those that are known and what each lacks.
    """
    if not source.is_dir():
        found = "is a file" if source.exists() else "not found"
        raise UserError(f"{source} {found}, expected a folder with images/ and texts/ or texts_txt/", BAD_DATA)
    lacks = {layout: [name for name in names if not _there(source / name)] for layout, names in NEEDS.items()}
    fits = [layout for layout in NEEDS if not lacks[layout] and text in (layout, None)]
    if fits:
        return fits[0]
    known = "".join(
        f"\n  {name}: {SHOWN[name]}: " + (f"lacks {', '.join(lacks[name])}" if lacks[name] else "is there") for name in SHOWN
    )
    there = sorted(entry.name for entry in source.iterdir())
    more = ", ..." if len(there) > 5 else ""
    asked = f"not the layout that --text {text} asks for" if text else "none of the layouts that mmal knows"
    raise UserError(f"{source} has {asked}; found: {', '.join(there[:5]) or 'nothing'}{more}; known:{known}", BAD_DATA)


def categories(source: Path) -> list[str]:
    """The names of the classes, sorted: the folders in images/train and images/test that hold an image."""
    return sorted({category for folder in IMAGES for (category, _), _ in _images(source / folder, Counter())})


def read(source: Path, layout: str, split: str) -> Listing:
    """Lists a split; no image and no page is opened. Cost: about 1 s for 70,000 images.

    Raises:
        UserError: no image has a text.
    """
    unmatched: Counter[str] = Counter()
    images = dict(sorted(_images(source / "images" / split, unmatched)))
    pair = _by_title if layout == "titles" else _by_page
    pairs, texts = pair(source, split, images, unmatched)
    if not pairs:
        why = ", ".join(f"{reason}: {n}" for reason, n in sorted(unmatched.items())) or "there are no images"
        why += "; is it commas, and UTF-8?" if "row malformed" in unmatched else ""
        raise UserError(f"{source}: no image of images/{split} has a text ({why}), expected {SHOWN[layout]}", BAD_DATA)
    return Listing(pairs, len(images), texts, dict(sorted(unmatched.items())))


def lonely_pages(source: Path) -> int:
    """How many pages have no image in either split; a page does not say which split it is of."""
    images = {(category, Path(file).stem) for s in SPLITS for category, file in dict(_images(source / "images" / s, Counter()))}
    return sum(1 for key in _pages(source) if key not in images)


def _there(path: Path) -> bool:
    return path.is_file() if path.suffix == ".csv" else path.is_dir()


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]


def _images(folder: Path, unmatched: Counter[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """((class, file name), path) of every image, known by its name."""
    for category in _folders(folder):
        for entry in os.scandir(folder / category):
            if titles.is_image(entry.name) and entry.is_file():
                yield (category, entry.name), entry.path
            elif not entry.name.startswith("."):
                unmatched["file not named .jpg or .jpeg"] += 1


def _pages(source: Path) -> dict[tuple[str, str], str]:
    """(class, stem) -> path of every page."""
    folder = source / "texts_txt"
    entries = ((category, entry) for category in _folders(folder) for entry in os.scandir(folder / category))
    return {(category, entry.name[:-4]): entry.path for category, entry in entries if entry.name.endswith(".txt")}


def _by_title(
    source: Path, split: str, images: Mapping[tuple[str, str], str], unmatched: Counter[str]
) -> tuple[list[Pair], int]:
    rows = titles.read(source / "texts" / f"{split}_titles.csv")
    files, text = {file for _, file in images}, {}
    for row in rows:
        if row is None:
            unmatched["row malformed"] += 1
        elif not row.category:
            unmatched["row without a class"] += 1
        elif (key := (row.category, row.file)) in text:
            unmatched["row for an image that has one"] += 1
        elif key in images:
            text[key] = row.title
        else:
            unmatched["row of another class than its image" if row.file in files else "row without an image"] += 1
    if alone := len(images) - len(text):
        unmatched["image without a row"] += alone
    return [Pair(*key, path, text=text[key]) for key, path in images.items() if key in text], len(rows)


def _by_page(
    source: Path, split: str, images: Mapping[tuple[str, str], str], unmatched: Counter[str]
) -> tuple[list[Pair], int]:
    pages, found = _pages(source), []
    for (category, file), path in images.items():
        if page := pages.get((category, Path(file).stem)):
            found.append(Pair(category, file, path, page=page))
        else:
            unmatched["image without a page"] += 1
    return found, len(found)
