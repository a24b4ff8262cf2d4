"""`mmal gen-quint`: makes a QuintFeatures dataset from a setting."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import show
from mmal_cli.core.errors import UserError

STAGE = 1.0

SettingName = Annotated[
    str | None, typer.Option("--setting", help="missing, unique, synergy, or the path of your own YAML file.")
]
Train = Annotated[int, typer.Option(help="Samples to train, validate and ask from.", min=1)]
Test = Annotated[int, typer.Option(help="Samples to test on; none of their modalities is ever absent.", min=1)]
Size = Annotated[int, typer.Option(help="Height and width of the images in pixels, a multiple of 16.")]
Seed = Annotated[int, typer.Option(help="The one integer that all chance comes from.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Folder to make; default: data/ and the setting's name.")]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]
Jobs = Annotated[int | None, typer.Option(help="Processes; default: one for each core. The images do not depend on it.", min=1)]
Preview = Annotated[Path | None, typer.Option(help="Only draw a labelled sheet of all shapes and textures into this PNG file.")]


def gen_quint(
    setting: SettingName = None,
    train: Train = 60_000,
    test: Test = 10_000,
    size: Size = 64,
    seed: Seed = 0,
    out: Out = None,
    force: Force = False,
    jobs: Jobs = None,
    preview: Preview = None,
    progress: show.Progress = "auto",
) -> None:
    """Make a QuintFeatures dataset: images of shapes, textures and colours in several modalities."""
    from data_recipes.quint import recipe
    from data_recipes.quint.setting import Setting, load, names
    from data_recipes.workers import cores, processes
    from mmal_cli.core.build import build

    if setting is None and preview is None:
        raise UserError(f"gen-quint needs --setting: {', '.join(names())} or the path of a YAML file; or --preview PATH.png")
    name, content = load(setting) if setting else ("preview", Setting(modalities=["a"], label=["a.shape"]))
    quint = recipe.Quint(content, {"train": train, "test": test}, size, seed)
    if preview:
        _draw(preview, quint)
        return
    folder = out or Path("data") / name
    with show.progress(name, "samples", progress) as bar, processes(jobs or cores()) as in_order:
        head, plans = recipe.head(name, quint), recipe.plans(quint, in_order)
        _, made = build(folder, head, plans, command=_command(setting, quint), force=force, on_progress=bar)
    if not made:
        show.note(f"already done: {folder}")
    show.result(folder)


def _command(setting: str, quint) -> str:
    """The command that makes this dataset; a user's own file without its folder, as a manifest holds no paths."""
    given = {"setting": Path(setting).name, **quint.samples, "size": quint.size, "seed": quint.seed}
    return shlex.join(["mmal", "gen-quint", *(str(word) for key, value in given.items() for word in (f"--{key}", value))])


def _draw(path: Path, quint) -> None:
    from data_recipes.quint.preview import sheet
    from mmal_cli.core import files

    if path.suffix.lower() != ".png":
        raise UserError(f"--preview {path}: expected a name that ends in .png")
    with files.atomic(path) as part:
        sheet(quint.setting.picture, quint.size, quint.seed).save(part, format="png")
    show.result(path)
