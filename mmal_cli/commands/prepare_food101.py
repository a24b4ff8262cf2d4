"""`mmal prepare-food101`: photographs of dishes beside texts, from either layout in which UPMC Food-101 is passed on."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mmal_cli import show

STAGE = 1.3

Source = Annotated[Path, typer.Argument(help="Folder that holds images/ and texts/ or texts_txt/; nothing in it is changed.")]
Out = Annotated[Path, typer.Option(help="Folder to make.")]
Seed = Annotated[int, typer.Option(help="Of the order of the samples in each split.", min=0)]
Size = Annotated[int, typer.Option(help="Height and width of the images in pixels.", min=32, max=512)]
Text = Annotated[
    Literal["titles", "pages"] | None, typer.Option(help="Titles or whole pages; default: titles where there are both.")
]
MaxTokens = Annotated[int, typer.Option(help="Where a text is cut, in word pieces; MiniLM's own limit is 256.", min=8, max=512)]
MiniLM = Annotated[Path | None, typer.Option("--minilm", help="Folder of all-MiniLM-L6-v2; default: wherever it is found.")]
Download = Annotated[bool, typer.Option("--download", help="Let the Hugging Face hub fetch all-MiniLM-L6-v2 (90 MB).")]
Jobs = Annotated[int | None, typer.Option(help="Processes; default: one for each core. The images do not depend on it.", min=1)]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]


def prepare_food101(
    source: Source,
    out: Out = Path("data/food101"),
    seed: Seed = 0,
    size: Size = 224,
    text: Text = None,
    max_tokens: MaxTokens = 256,
    minilm: MiniLM = None,
    download: Download = False,
    jobs: Jobs = None,
    force: Force = False,
    progress: show.Progress = "auto",
) -> None:
    """Make the Food-101 dataset: photographs of dishes beside the titles or pages that they were found with."""
    from data_recipes.food101 import layouts, recipe
    from data_recipes.workers import cores, processes
    from mmal_cli.core import minilm as weights
    from mmal_cli.core.build import build
    from mmal_cli.core.datasets import gaps

    layout = layouts.find(source, text)
    show.note(f"{source} has the layout {layout}: {layouts.SHOWN[layout]}")
    folder = weights.find(str(minilm) if minilm else None, download)
    asked = {"size": size, "seed": seed}
    with processes(jobs or cores()) as in_order:
        with show.progress("reading", "files", progress) as bar:
            vocabulary = weights.vocabulary(folder)
            food = recipe.read(source, layout, folder, max_tokens, in_order, bar, vocabulary=vocabulary, **asked)
        options = {"text": layout, "max-tokens": max_tokens, **asked}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        command = shlex.join(["mmal", "prepare-food101", "SOURCE", *words])  # a manifest holds no paths
        with show.progress("food101", "images", progress) as bar:
            head, plans, packages = recipe.head(food), recipe.plans(food, in_order), ("tokenizers",)
            dataset, made = build(out, head, plans, command=command, force=force, on_progress=bar, packages=packages)
    if not made:
        show.note(f"already done: {out}")
    for note in (*food.notes, *gaps(dataset)):
        show.note(f"note: {note}")
    show.table("", ["", *dataset.splits], _rows({split: dataset.counts[split] for split in dataset.splits}))
    show.result(out)


def _rows(counts: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """What became of the files: a row for each thing that happened, a column for each split."""

    def row(name: str, values: Sequence[int]) -> list[str]:
        return [name, *(f"{value:,}" for value in values)]

    def rows(kind: str, before: str) -> list[list[str]]:
        names = sorted({name for found in counts.values() for name in found[kind]})
        return [row(f"  {before}{name}", [found[kind].get(name, 0) for found in counts.values()]) for name in names]

    return [
        row("images", [found["images"] for found in counts.values()]),
        row("texts", [found["texts"] for found in counts.values()]),
        *rows("unmatched", "left out: "),
        *rows("dropped", "left out: "),
        row("samples", [sum(found["classes"]) for found in counts.values()]),
        *rows("noted", ""),
    ]
