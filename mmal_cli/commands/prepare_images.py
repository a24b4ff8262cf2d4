"""`mmal prepare-images`: a dataset of one modality, for the protocol of unimodal active learning."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import official, show
from mmal_cli.core.errors import UserError

if TYPE_CHECKING:
    from mmal_cli.core.manifest import Dataset

STAGE = 1.4
CIFAR = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
SIZE, CIFAR_SIZE = 224, 32

Source = Annotated[
    Path,
    typer.Argument(metavar="SOURCE", help="Folder of CIFAR, ISIC 2019, or with a folder for each class; it is not changed."),
]
Layout = Annotated[
    Literal["auto", "cifar10", "cifar100", "isic2019", "folders"],
    typer.Option(metavar="NAME", help="What SOURCE is: cifar10, cifar100, isic2019, folders, or auto: as it looks."),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Of the dataset, picks its protocol; default: by the layout.")]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS", help="Height and width of images from files; default: 224. CIFAR's have 32.", min=32, max=512
    ),
]
LongTail = Annotated[
    int | None,
    typer.Option(metavar="TIMES", help="How much rarer the last class is than the first: 50 for CIFAR-10-LT.", min=2),
]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder to make; default: data/NAME.")]
Download = Annotated[bool, typer.Option("--download", help="Let torchvision fetch CIFAR into SOURCE (170 MB).")]
Jobs = Annotated[int | None, typer.Option(metavar="N", help="Processes; default: one a core. No image depends on it.", min=1)]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]


def prepare_images(
    source: Source,
    layout: Layout = "auto",
    name: Name = None,
    size: Size = None,
    long_tail: LongTail = None,
    out: Out = None,
    download: Download = False,
    jobs: Jobs = None,
    force: Force = False,
    progress: show.Progress = "auto",
) -> None:
    """Make a dataset of images alone: CIFAR-10 (long-tailed too), CIFAR-100, ISIC 2019, MIO-TCD, or any folders."""
    from data_recipes.images import layouts, recipe, sources
    from data_recipes.workers import cores, processes
    from mmal_cli.core.build import build
    from mmal_cli.core.datasets import gaps

    found = layouts.find(source) if layout == "auto" else layout
    show.note(f"{source} has the layout {found}: {layouts.SHOWN[found]}")
    name = name or _name(source, found, long_tail)
    _check(name, found, size, download)
    out, size = out or Path("data", name), size or SIZE
    with processes(jobs or cores()) as in_order:
        if found in CIFAR:
            splits, class_names = official.cifar(source, CIFAR[found], download, show.note)
            size, content, notes = CIFAR_SIZE, sources.InMemory(splits), []
        else:
            listing = layouts.listing(source, found)
            class_names, notes = listing.class_names, listing.notes
            with show.progress("reading", "files", progress) as bar:
                content = sources.OnDisk(source, listing, size, in_order, bar)
        images = recipe.Images(name, found, class_names, size, long_tail, content)
        head, plans, packages = recipe.head(images), recipe.plans(images), ("torchvision",) if found in CIFAR else ()
        with show.progress(name, "images", progress) as bar:
            options = {"command": _command(images), "force": force, "on_progress": bar, "packages": packages}
            dataset, made = build(out, head, plans, **options)
    if dataset.name != name:
        raise UserError(f"{out} holds the same images as the dataset {dataset.name}; choose another --out, or --force")
    if not made:
        show.note(f"already done: {out}")
    for note in (*notes, *dataset.notes, *gaps(dataset)):
        show.note(f"note: {note}")
    show.table("", ["class", *dataset.splits], _rows(dataset))
    show.result(out)


def _rows(dataset: Dataset) -> list[list[str]]:
    """How many images of each class there are, then what else there is to count."""
    from mmal_cli.core.manifest import RESERVED

    counts = [dataset.counts[split] for split in dataset.splits]
    rows = [[name, *(f"{of['classes'][n]:,}" for of in counts)] for n, name in enumerate(dataset.class_names)]
    if (reserved := counts[0].get(RESERVED)) is not None:
        rows.append([RESERVED, f"{reserved:,}", ""])
    for kind, before in (("dropped", "left out: "), ("noted", "")):
        names = sorted({name for of in counts for name in of.get(kind, {})})
        rows += [[f"{before}{name}", *(f"{of.get(kind, {}).get(name, 0):,}" for of in counts)] for name in names]
    return rows


def _check(name: str, layout: str, size: int | None, download: bool) -> None:
    """Refuses what would have no effect, or would fail after hours."""
    from mmal_cli.core.manifest import NAME

    if not re.fullmatch(NAME, name):
        raise UserError(f"--name {name!r} is to have letters, digits, _ and - alone, since it becomes part of paths")
    if layout in CIFAR and size not in (None, CIFAR_SIZE):
        raise UserError(f"--size {size} is for images from files: CIFAR's have {CIFAR_SIZE} px")
    if download and layout not in CIFAR:
        raise UserError(f"--download fetches CIFAR alone; what {layout} is read from has to be there")


def _name(source: Path, layout: str, long_tail: int | None) -> str:
    if layout == "folders":
        raise UserError(f"{source} has no name of its own; give the dataset one, such as: --name miotcd")
    return layout if long_tail is None else f"{layout}-lt"


def _command(images) -> str:
    """A manifest holds no paths."""
    words = ["mmal", "prepare-images", "SOURCE", "--layout", images.layout, "--name", images.name, "--size", str(images.size)]
    return shlex.join(words + ([] if images.long_tail is None else ["--long-tail", str(images.long_tail)]))
