"""`mmal card`: what a dataset holds, as a page in Markdown."""

from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import show

STAGE = 4.2

Data = Annotated[
    Path | None, typer.Argument(metavar="DATA", help="Dataset folder; without it the one under ./data.", show_default=False)
]
Sheet = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Also draw six samples into a picture; not of restricted data.")
]


def card(data: Data = None, sheet: Sheet = None) -> None:
    """Print a dataset's card: counts, classes, modalities, splits, what was left out, in Markdown."""
    from mmal_cli import dataset_card
    from mmal_cli.core import datasets

    folder = datasets.choose(data)
    dataset = datasets.read(folder)
    text = dataset_card.text(folder, dataset)
    if sheet is not None:
        _draw(folder, dataset, sheet)
        text += f"\n![Six samples of {dataset.name}]({sheet.name})\n"
    show.result(text.rstrip("\n"))


def _draw(folder: Path, dataset, path: Path) -> None:
    from mmal_cli import sheet
    from mmal_cli.core import files
    from mmal_cli.core.errors import UserError

    if path.suffix.lower() != ".png":
        raise UserError(f"--sheet {path}: expected a name that ends in .png")
    page = sheet.draw(folder, dataset)
    with files.atomic(path) as part:
        page.save(part, "PNG")
    show.note(f"drawn: {path}")
