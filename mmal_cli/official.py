"""Sources that are passed on everywhere: known by their official MD5s, read and, if asked, fetched by torchvision."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmal_cli.core.errors import BAD_DATA, UserError

if TYPE_CHECKING:
    from data_recipes.arrays import Images

Kind = Literal["CIFAR10", "CIFAR100"]  # as torchvision calls them


def cifar(source: Path, kind: Kind, download: bool, note: Callable[[str], None]) -> tuple[dict[str, Images], list[str]]:
    """Split -> photographs of 32 px with their (fine) classes, and the names of the classes.

    Raises:
        UserError: files that are missing, damaged or others; they are pickles, so none is opened before its MD5 is right.
    """
    import numpy as np
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    from data_recipes.arrays import Images

    dataset = getattr(datasets, kind)
    folder = source / dataset.base_folder
    expected = dict([*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])])
    missing = [folder / name for name in expected if not (folder / name).is_file()]
    if missing and download:
        archive = {"url": dataset.url, "filename": dataset.filename, "md5": dataset.tgz_md5}
        name = kind.replace("CIFAR", "CIFAR-")
        fetch(name, lambda: download_and_extract_archive(download_root=str(source), **archive), note)
    elif missing:
        raise lacks(missing)
    for name, md5 in expected.items():
        check(folder / name, md5)
    splits = {split: dataset(source, train=split == "train") for split in ("train", "test")}
    return {name: Images(split.data, np.array(split.targets)) for name, split in splits.items()}, splits["train"].classes


def check(path: Path, md5: str) -> None:
    """Refuses a file whose MD5 is not the official one."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}", BAD_DATA) from None
    if found != md5:
        raise UserError(
            f"{path} is damaged or another file: MD5 {found}, the official one is {md5}; "
            "remove it and put the original there, or give the same command with --download",
            BAD_DATA,
        )


def lacks(missing: Sequence[Path]) -> UserError:
    """The error for files that a source lacks: the first by its place, the others by name."""
    first, *others = missing
    more = f" (nor {', '.join(path.name for path in others)})" if others else ""
    return UserError(f"{first} not found{more}; put it there, or let torchvision fetch it: add --download", BAD_DATA)


def fetch(what: str, fetching: Callable[[], object], note: Callable[[str], None]) -> None:
    """Runs torchvision's download; what hinders it is one message."""
    note(f"{what}: fetched by torchvision")
    try:
        with redirect_stdout(sys.stderr):  # results alone go to stdout
            fetching()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{what} could not be fetched: {str(error).strip().splitlines()[-1]}; "
            "fetch it on a machine with a network and copy the files here",
            BAD_DATA,
        ) from None
