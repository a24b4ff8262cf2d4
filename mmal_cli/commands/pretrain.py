"""`mmal pretrain`: teaches encoders without labels, for runs that begin with them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmal_cli import show
from mmal_cli.commands.al_run import Assignments, Data, Gpu, Seed, With
from mmal_cli.core.errors import UserError

if TYPE_CHECKING:
    from mmal_cli.core.pretrained import Pretrained

STAGE = 2.05
LARGE = 128  # pixels of a side from which on the recipe is simclr-large

RecipeName = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="How (mmal ls pretrainings), or your own YAML file; default: by the size."),
]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="In place of the recipe's.", min=1)]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder to make; default: pretrained/<dataset>/seed-<N>.")]


def pretrain(
    data: Data = None,
    seed: Seed = 0,
    recipe: RecipeName = None,
    epochs: Epochs = None,
    gpu: Gpu = "auto",
    overlays: With = None,
    assignments: Assignments = None,
    out: Out = None,
    progress: show.Progress = "auto",
) -> None:
    """Teach the encoders of images without labels, by SimCLR, for al-run --pretrained.

    Encoders are those of the dataset's protocol; --with and --set change them as in
    al-run, and are to be the same there. Goes on where it was interrupted.
    """
    from mmal_cli.core import datasets, plugins, pretrained, settings
    from mmal_cli.core.files import read_yaml
    from mmal_cli.core.manifest import check
    from mmal_cli.core.pretrained import RECIPES, Recipe

    folder = datasets.choose(data)
    dataset = datasets.read(folder)
    resolved, _ = settings.resolve(dataset, "low", "random", overlays or (), assignments or ())
    sides = [max(m.shape[1:]) for m in dataset.modalities if m.kind == "image"]
    name = recipe or ("simclr-large" if max(sides, default=0) >= LARGE else "simclr")
    path = plugins.find(RECIPES, name, "recipe", ".yaml")
    read = read_yaml(path)
    if not isinstance(read, dict):
        raise UserError(f"{path} holds {type(read).__name__}, expected the settings of a recipe")
    taken = check(Recipe, read | ({"epochs": epochs} if epochs else {}), str(path) if "/" in name else f"{RECIPES}/{path.name}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in al-run

    from mmal_cli.device import choose_device
    from mmal_cli.pretraining.folder import pretrain as learn

    out = out or pretrained.folder(dataset.name, seed)
    words = ["mmal", "pretrain", "--data", folder, "--seed", seed, "--recipe", name, *(["--epochs", epochs] if epochs else [])]
    words += [word for one in overlays or () for word in ("--with", one)]
    words += [word for text in assignments or () for word in ("--set", text)]
    with show.several(f"pretrain {dataset.name}", "epochs", progress) as bars:
        found, ran = learn(dataset, folder, resolved, taken, seed, out, choose_device(gpu), shlex.join(map(str, words)), bars)
    if not ran:
        show.note(f"already done: {out}")
    _print(found)
    show.result(out)


def _print(found: Pretrained) -> None:
    """Loss and probe at a few epochs of each modality."""
    for name, weights in found.modalities.items():
        last = len(weights.epochs)
        shown = sorted({1, *(round(last * part / 5) for part in range(1, 6))} - {0})
        rows = [[str(k), f"{weights.epochs[k - 1].loss:.3f}", f"{weights.epochs[k - 1].probe:.3f}"] for k in shown]
        foot = "Probe: accuracy on train of a linear classifier that learns beside the encoder and changes nothing in it."
        show.table(f"{name}: {weights.encoder}", ["epoch", "loss", "probe"], rows, foot)
