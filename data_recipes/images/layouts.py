"""What a folder of images is, and which files of it are samples of which class."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mmal_cli.core.errors import BAD_DATA, UserError

Layout = Literal["cifar10", "cifar100", "isic2019", "folders"]
SHOWN = {
    "cifar10": "cifar-10-batches-py/",
    "cifar100": "cifar-100-python/",
    "isic2019": "ISIC_2019_Training_GroundTruth.csv beside ISIC_2019_Training_Input/",
    "folders": "a folder for each class, or train/ (and test/) with such folders",
}
ENDS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
ISIC = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Input"
UNKNOWN = "UNK"  # a column of ISIC's that no image of train has


class File(NamedTuple):
    """An image and its class; `name` is its path in the source, and so the same wherever that lies."""

    name: str
    label: int


class Listing(NamedTuple):
    """Images by split, each sorted by class and name; `test` is empty where the source has none of its own."""

    class_names: Sequence[str]
    train: Sequence[File]
    test: Sequence[File]
    notes: Sequence[str] = ()  # what of the source is not read


def find(source: Path) -> Layout:
    """The layout of a folder.

    Raises:
        UserError: none is known; several are.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; to fetch CIFAR into it: --layout cifar10 --download", BAD_DATA)
    found = [layout for layout in SHOWN if layout != "folders" and FINDERS[layout](source)]
    found = found or [layout for layout in ("folders",) if FINDERS[layout](source)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{source} holds {' and '.join(found)}; say which: --layout {found[0]}")
    known = "; ".join(f"{layout}: {shown}" for layout, shown in SHOWN.items())
    helps = "to fetch CIFAR into it: --layout cifar10 --download"
    raise UserError(f"{source} is none of the layouts that are known: {known}; {helps}", BAD_DATA)


def listing(source: Path, layout: Layout) -> Listing:
    """The files of `isic2019` or `folders`.

    Raises:
        UserError: what the layout has is not there, or is no table; less than two classes; names that are not UTF-8.
    """
    if not FINDERS[layout](source):
        raise UserError(f"{source} has not the layout {layout}: {SHOWN[layout]}, two classes or more", BAD_DATA)
    found = _isic(source) if layout == "isic2019" else _folders(source)
    for name in (*found.class_names, *(file.name for file in (*found.train, *found.test))):
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise UserError(f"{source} has a name that is not UTF-8: {name!a}; give it another", BAD_DATA)
    return found


def _folders(source: Path) -> Listing:
    train = source / "train" if _classes(source / "train") else source
    test = source / "test"
    names, others = _classes(train), _classes(test) if train != source else []
    if others and others != names:
        odd = sorted({*others} ^ {*names})
        raise UserError(f"{source}: train/ and test/ differ in their classes: {', '.join(odd[:5])}", BAD_DATA)

    def files(folder: Path, classes: Sequence[str]) -> list[File]:
        place = folder.relative_to(source)
        return [File(str(place / name / file), label) for label, name in enumerate(classes) for file in _images(folder / name)]

    read = {train, *([test] if others else [])}
    beside = [path.name for path in _inside(source) if path.is_dir() and path not in read and train != source]
    without = [path.name for folder in sorted(read) for path in _inside(folder) if path.is_dir() and path.name not in names]
    notes = [f"{name}/ is not read" for name in beside]
    notes += [f"{name}/ has no file that ends in {', '.join(sorted(ENDS))}, so it is no class" for name in without]
    return Listing(names, files(train, names), files(test, others), notes)


def _isic(source: Path) -> Listing:
    table, folder = (source / name for name in ISIC)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} could not be read as a table: {error}", BAD_DATA) from None
    names = [name for name in (rows[0] if rows else {}) if name not in ("image", UNKNOWN)]
    if not rows or "image" not in rows[0] or len(names) < 2:
        raise UserError(f"{table} has no column `image` beside one for each class, or no rows", BAD_DATA)
    files = []
    for number, row in enumerate(rows, 2):
        marked = [name for name, value in row.items() if name != "image" and _is_one(value)]
        if None in row or len(marked) != 1:
            raise UserError(f"{table}, line {number}: {len(marked)} classes are marked, expected 1", BAD_DATA)
        if marked[0] in names:
            files.append(File(f"{folder.name}/{row['image']}.jpg", names.index(marked[0])))
    return Listing(names, sorted(files, key=lambda one: (one.label, one.name)), [])


def _is_one(value: object) -> bool:
    try:
        return float(value or 0) == 1
    except (TypeError, ValueError):
        return False


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden names; nothing where it is none."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder} could not be read: {error.strerror or error}", BAD_DATA) from None


def _classes(folder: Path) -> list[str]:
    """Folders with images in them."""
    return [path.name for path in _inside(folder) if path.is_dir() and _images(path)]


def _images(folder: Path) -> list[str]:
    return [path.name for path in _inside(folder) if path.suffix.lower() in ENDS]


FINDERS: dict[str, Callable[[Path], bool]] = {
    "cifar10": lambda source: (source / "cifar-10-batches-py").is_dir(),
    "cifar100": lambda source: (source / "cifar-100-python").is_dir(),
    "isic2019": lambda source: all((source / name).exists() for name in ISIC),
    "folders": lambda source: len(_classes(source)) > 1 or len(_classes(source / "train")) > 1,
}
