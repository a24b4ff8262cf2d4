"""`mmal tune`: the settings that the first model of a regime learns best with, from a grid."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmal_cli import show
from mmal_cli.commands.al_run import Assignments, Data, Dropping, Gpu, Pretrained, Regime, Training, With, chosen
from mmal_cli.core.errors import UserError
from mmal_cli.formats import marked

if TYPE_CHECKING:
    from mmal_cli.core.tuned import Point, RunnerUp, Tuned
    from mmal_cli.tune import Search

STAGE = 2.0

Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Default: tuned/<dataset>-<regime>[-<paradigm>].yaml.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Write over another search's result; trainings that fit are kept.")]


def tune(
    regime: Regime,
    data: Data = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Train each point on seeds 0 to N-1.", min=1)] = 3,
    grid: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What to try (mmal ls tunings), or your own YAML file.")
    ] = "paper",
    moddrop: Dropping = None,
    paradigm: Training = None,
    pretrained: Pretrained = None,
    gpu: Gpu = "auto",
    overlays: With = None,
    assignments: Assignments = None,
    out: Out = None,
    force: Force = False,
    json: Annotated[bool, typer.Option("--json", help="Print the file's content.")] = False,
    progress: show.Progress = "auto",
) -> None:
    """Search a grid of settings for the best first model of a regime.

    Each point is trained on the starting budget as al-run trains its first
    model, on several seeds; the best mean validation balanced accuracy wins.
    Give the result to al-run by --with. Goes on point by point.
    """
    from mmal_cli.core import datasets

    folder = datasets.choose(data)
    dataset = datasets.read(folder)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in al-run

    from mmal_cli import tune as search
    from mmal_cli.core.tuned import file_name
    from mmal_cli.device import choose_device

    asked = overlays or (), assignments or (), moddrop, paradigm, pretrained
    plan = search.plan(dataset, regime, grid, range(seeds), *asked)
    path = out or Path("tuned", file_name(dataset.name, regime, plan.settings[0].paradigm))
    if path.suffix != ".yaml":
        raise UserError(f"--out {path} does not end in .yaml, as al-run's --with expects")
    _name_fixed(plan)
    words = ["mmal", "tune", "--data", folder, "--regime", regime, "--seeds", seeds, "--grid", grid, *chosen(*asked)]
    command = shlex.join(map(str, words))
    with show.progress(f"tune {dataset.name} {regime}", "epochs", progress) as bar:
        found, ran = search.run_search(plan, folder, path, choose_device(gpu), command, force, bar)
    if not ran:
        show.note(f"already done: {path}")
    _print(found, path, json)


def _name_fixed(plan: Search) -> None:
    for key, value in plan.fixed.items():
        show.note(f"{plan.dataset.name} has no images: {key} stays {value}, no other value is tried")


def _print(found: Tuned, path: Path, json: bool) -> None:
    """Points, best first, then how far the winner is from the runner-up, then the path."""
    from json import dumps

    from mmal_cli.core.tables import content
    from mmal_cli.core.tuned import ranked

    if json:
        show.note(path)
        show.result(dumps(content(found), indent=2))
        return
    points = ranked(found.points)
    columns = ["rank", *found.grid, "mean ± sd", *(f"seed {seed}" for seed in found.seeds)]
    rows = [_row(number, point) for number, point in enumerate(points, start=1)]
    title = f"{found.dataset}, regime {found.regime}: best balanced validation accuracy on the starting budget"
    foot = [f"winner     {_said(points[0].settings)}"]
    if found.runner_up:
        foot += [f"runner-up  {_said(found.runner_up.settings)}", _difference(found.runner_up, len(found.seeds))]
    foot += [f"diverged   {_said(point.settings)}: {point.diverged}" for point in points if point.diverged]
    show.table(title, columns, rows, "\n".join(foot))
    show.result(path)


def _row(number: int, point: Point) -> list[str]:
    scores = ["diverged" if score is None else f"{score:.3f}" for score in point.scores]
    whole = point.mean is not None
    cells = [*map(_value, point.settings.values()), _spread(point.mean, point.sd) if whole else "diverged", *scores]
    return [str(number) if whole else "-", *(marked(cell, bold=number == 1) for cell in cells)]


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in settings.items())


def _spread(mean: float, sd: float | None) -> str:
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def _difference(second: RunnerUp, seeds: int) -> str:
    """The winner's lead on the same seeds, and whether it is more than that lead varies (ddof 1)."""
    lead = second.difference
    if lead.sd is None:
        return f"difference {_spread(lead.mean, None)} over 1 seed: its spread takes two or more"
    verdict = "within its spread" if lead.mean <= lead.sd else "beyond its spread"
    return f"difference {_spread(lead.mean, lead.sd)} over {seeds} seeds: {verdict}"
