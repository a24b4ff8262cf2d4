"""`mmal al-run`: one active-learning run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmal_cli import show
from mmal_cli.core.paradigms import Paradigm

if TYPE_CHECKING:
    import torch

    from mmal_cli.cell import Cell
    from mmal_cli.core.running import Running

STAGE = 2.1

QueryMethod = Annotated[
    str, typer.Option("--qm", metavar="NAME|FILE", help="Query method (mmal ls qms), or your own .py file.")
]
Regime = Annotated[str, typer.Option(metavar="NAME", help="Label regime: low, mid or high.")]
Data = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Dataset folder; without it the one under ./data.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The one integer that all chance of the run comes from.", min=0)]
Dropping = Annotated[
    bool | None, typer.Option("--moddrop/--no-moddrop", metavar="", help="Modality dropout; default: the protocol's.")
]
Training = Annotated[
    Paradigm | None,
    typer.Option(
        "--paradigm", help="Labels alone, pretrained encoders, or the pool too; default: st, or as --pretrained has it."
    ),
]
Pretrained = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Of mmal pretrain: encoders begin with its weights in every cycle.")
]
Gpu = Annotated[str, typer.Option(metavar="auto|none|N", help="A GPU if there is one, the CPU, or the GPU of this number.")]
With = Annotated[
    list[str] | None, typer.Option("--with", metavar="NAME|FILE", help="Overlay: quick, or a YAML file; may be repeated.")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as train.lr=0.01; may be repeated.")
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the settings and where each comes from, and stop.")]


def al_run(
    qm: QueryMethod,
    regime: Regime,
    data: Data = None,
    seed: Seed = 0,
    moddrop: Dropping = None,
    paradigm: Training = None,
    pretrained: Pretrained = None,
    gpu: Gpu = "auto",
    overlays: With = None,
    assignments: Assignments = None,
    out: Out = Path("runs"),
    print_config: PrintConfig = False,
    deterministic: show.Deterministic = False,
    progress: show.Progress = "auto",
) -> None:
    """Run active learning once: one dataset, one query method, one regime, one seed."""
    from mmal_cli.cell import Cell
    from mmal_cli.core import datasets, plugins, settings

    folder = datasets.choose(data)
    dataset = datasets.read(folder)
    plugins.find("queries", qm, "query method")
    asked = overlays or (), assignments or (), moddrop, paradigm, pretrained
    resolved, sources = settings.resolve(dataset, regime, qm, *asked)
    if print_config:
        _print(resolved.model_dump(mode="json"), sources)
        return

    words = ["mmal", "al-run", "--data", folder, "--qm", qm, "--regime", regime, "--seed", seed, *chosen(*asked)]
    command = shlex.join(map(str, words)) + " --deterministic" * deterministic
    cell = Cell(dataset, qm, regime, seed, resolved)
    if dataset.restricted:
        show.note(f"{dataset.name} is restricted: what its agreement says of the data holds for this run's folder too")
    _train(cell, folder, out, gpu, command, deterministic, progress)
    show.result(cell.folder(out))


def _train(cell: Cell, data: Path, out: Path, gpu: str, command: str, deterministic: bool, progress: str) -> None:
    """Runs the cell behind a bar, or says that it is done."""
    from mmal_cli.core import plugins

    # Threads that spin while they wait make two busy cores ten times slower than one (docs/decisions.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from mmal_cli import device as devices

    device, name = devices.choose_device(gpu), f"{cell.dataset.name} {cell.regime} {plugins.label(cell.qm)} seed {cell.seed}"
    with (
        devices.deterministic(deterministic),
        show.progress(name, "epochs", progress) as bar,
    ):
        ran = _run(cell, data, out, device, command, bar)
    if not ran:
        show.note(f"already done: {cell.folder(out)}")


def _run(cell: Cell, data: Path, out: Path, device: torch.device, command: str, bar: Callable[[int, int], None]) -> bool:
    """Runs the cell in its folder, which nobody else then does; whether anything had to be run."""
    from secrets import token_hex

    from mmal_cli.core import running
    from mmal_cli.core.errors import UserError
    from mmal_cli.loop import run_active_learning

    folder, helps = cell.folder(out), f"see how far it is: mmal status {out}, or wait for its end"
    if (folder / running.RECORD).exists():
        return run_active_learning(cell, data, out, device, command)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with (
        without_empty(made),
        running.claimed(folder, token_hex(4), "al-run", cell.settings.budget.cycles, cell.settings.train.epochs) as claim,
    ):
        if claim is None:
            raise UserError(f"{folder} is being run by another {_who(running.read(folder))}; {helps}")

        def on_progress(done: int, total: int) -> None:
            claim.progress(done, total)
            bar(done, total)

        try:
            ran = run_active_learning(cell, data, out, device, command, on_progress)
        except running.Lost:
            raise UserError(f"{folder} was taken over by another {_who(running.read(folder))}; {helps}") from None
    (folder / running.ERROR).unlink(missing_ok=True)
    return ran


@contextmanager
def without_empty(folders: Sequence[Path]) -> Iterator[None]:
    """Removes at the end those that hold nothing: a run that could not begin leaves no trace."""
    try:
        yield
    finally:
        with suppress(OSError):
            for folder in folders:
                folder.rmdir()


def _who(said: Running | None) -> str:
    return "al-run" if said and said.engine == "al-run" else "sweep"


def chosen(
    overlays: Sequence[str],
    assignments: Sequence[str],
    moddrop: bool | None,
    paradigm: Paradigm | None,
    pretrained: Path | None,
) -> list:
    """What was typed of the settings; --gpu and --out are not part of what a run is."""
    words = [word for name in overlays for word in ("--with", name)]
    words += [word for text in assignments for word in ("--set", text)]
    words += [] if moddrop is None else ["--moddrop" if moddrop else "--no-moddrop"]
    words += [] if paradigm is None else ["--paradigm", paradigm]
    return words + ([] if pretrained is None else ["--pretrained", pretrained])


def _print(settings: dict, sources: dict[str, str]) -> None:
    from mmal_cli.core.files import flatten

    rows = [(key, str(value), sources[key]) for key, value in flatten(settings).items()]
    show.table("", ("key", "value", "from"), rows, left=3)
