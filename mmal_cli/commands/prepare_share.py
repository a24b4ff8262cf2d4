"""`mmal prepare-share`: pairs CIFAR-10 with MNIST, read by torchvision from files whose MD5s are the official ones."""

import gzip
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import official, show
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

    photographs, class_names = official.cifar(source, "CIFAR10", download, show.note)
    content = share.Share(photographs, _mnist(source, download), class_names, seed)
    command = shlex.join(["mmal", "prepare-share", "SOURCE", "--seed", str(seed)])  # a manifest holds no paths
    with show.progress("share", "pairs", progress) as bar:
        head, plans, packages = share.head(content), share.plans(content), ("torchvision",)
        _, made = build(out, head, plans, command=command, force=force, on_progress=bar, packages=packages)
    if not made:
        show.note(f"already done: {out}")
    show.result(out)


def _mnist(source: Path, download: bool) -> dict:
    """Split -> digits, from unpacked files or, where there are none, from the packed ones."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    from data_recipes.arrays import Images

    folder = source / "MNIST" / "raw"
    packed = dict(MNIST.resources)
    missing = [
        folder / f"{name}[.gz]" for name in UNPACKED if not any((folder / f"{name}{end}").is_file() for end in ("", ".gz"))
    ]
    if missing and download:
        official.fetch("MNIST", lambda: MNIST(source, download=True), show.note)
    elif missing:
        raise official.lacks(missing)
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
        official.check(folder / name, UNPACKED[name])
        yield folder / name
        return
    official.check(folder / f"{name}.gz", packed[f"{name}.gz"])
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
