"""`mmal prepare-share`: pairs CIFAR-10 with MNIST, read by torchvision from files whose MD5s are the official ones."""

import gzip
import hashlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import show
from mmal_cli.core.errors import BAD_DATA, UserError

STAGE = 1.1

# torchvision knows the MD5s of the packed files alone; these are what the official packed files unpack to
UNPACKED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SPLITS = {"train": "train", "test": "t10k"}  # split -> how MNIST's files call it

Source = Annotated[
    Path, typer.Argument(help="Folder that holds cifar-10-batches-py/ and MNIST/raw/; nothing in it is changed.")
]
Out = Annotated[Path, typer.Option(help="Folder to make.")]
Seed = Annotated[int, typer.Option(help="Of the pairing: which digit goes with which photograph, and their order.", min=0)]
Download = Annotated[bool, typer.Option("--download", help="Let torchvision fetch into SOURCE what it lacks (about 180 MB).")]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]


def prepare_share(
    source: Source,
    out: Out = Path("data/share"),
    seed: Seed = 0,
    download: Download = False,
    force: Force = False,
    progress: show.Progress = "auto",
) -> None:
    """Make the Share dataset: CIFAR-10 photographs paired with MNIST digits, class by class."""
    from data_recipes import share
    from mmal_cli.core.build import build

    photographs, class_names = _cifar10(source, download)
    content = share.Share(photographs, _mnist(source, download), class_names, seed)
    command = shlex.join(["mmal", "prepare-share", "SOURCE", "--seed", str(seed)])  # a manifest holds no paths
    with show.progress("share", "pairs", progress) as bar:
        head, plans, packages = share.head(content), share.plans(content), ("torchvision",)
        _, made = build(out, head, plans, command=command, force=force, on_progress=bar, packages=packages)
    if not made:
        show.note(f"already done: {out}")
    show.result(out)


def _cifar10(source: Path, download: bool) -> tuple[dict, list[str]]:
    """Split -> photographs, and the names of the classes. The files are pickles: none is opened before its MD5 is right."""
    import numpy as np
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    from data_recipes.share import Images

    folder = source / CIFAR10.base_folder
    expected = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    missing = [folder / name for name in expected if not (folder / name).is_file()]
    if missing and download:
        archive = {"url": CIFAR10.url, "filename": CIFAR10.filename, "md5": CIFAR10.tgz_md5}
        _fetch("CIFAR-10", lambda: download_and_extract_archive(download_root=str(source), **archive))
    elif missing:
        raise _lacks(missing)
    for name, md5 in expected.items():
        _check(folder / name, md5)
    splits = {split: CIFAR10(source, train=split == "train") for split in SPLITS}
    photographs = {split: Images(read.data, np.array(read.targets)) for split, read in splits.items()}
    return photographs, splits["train"].classes


def _mnist(source: Path, download: bool) -> dict:
    """Split -> digits, from unpacked files or, where there are none, from the packed ones."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    from data_recipes.share import Images

    folder = source / "MNIST" / "raw"
    packed = dict(MNIST.resources)
    missing = [
        folder / f"{name}[.gz]" for name in UNPACKED if not any((folder / f"{name}{end}").is_file() for end in ("", ".gz"))
    ]
    if missing and download:
        _fetch("MNIST", lambda: MNIST(source, download=True))
    elif missing:
        raise _lacks(missing)
    found = {}
    for split, prefix in SPLITS.items():
        with _unpacked(folder, f"{prefix}-images-idx3-ubyte", packed) as images:
            pixels = read_image_file(str(images)).numpy()
        with _unpacked(folder, f"{prefix}-labels-idx1-ubyte", packed) as labels:
            found[split] = Images(pixels, read_label_file(str(labels)).numpy())
    return found


@contextmanager
def _unpacked(folder: Path, name: str, packed: dict[str, str]) -> Iterator[Path]:
    """A checked, unpacked MNIST file: the one that is there, or a temporary one, since torchvision reads no packed files."""
    if (folder / name).is_file():
        _check(folder / name, UNPACKED[name])
        yield folder / name
        return
    _check(folder / f"{name}.gz", packed[f"{name}.gz"])
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, name)
        try:
            with gzip.open(folder / f"{name}.gz") as content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
        except OSError as error:
            raise UserError(
                f"{folder / name}.gz could not be unpacked in {temporary}: {error.strerror or error}", BAD_DATA
            ) from None
        yield path


def _check(path: Path, md5: str) -> None:
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


def _lacks(missing: list[Path]) -> UserError:
    """The error for files that SOURCE lacks: the first by its place, the others by name."""
    first, *others = missing
    more = f" (nor {', '.join(path.name for path in others)})" if others else ""
    return UserError(f"{first} not found{more}; put it there, or let torchvision fetch it: add --download", BAD_DATA)


def _fetch(what: str, fetch: Callable[[], object]) -> None:
    """Runs torchvision's download; what hinders it is one message."""
    show.note(f"{what}: fetched by torchvision")
    try:
        with redirect_stdout(sys.stderr):  # results alone go to stdout
            fetch()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{what} could not be fetched: {str(error).strip().splitlines()[-1]}; "
            "fetch it on a machine with a network and copy the files here",
            BAD_DATA,
        ) from None
