"""Which finished runs are cells of a grid: those at its places and, where its datasets are there to tell, of its settings."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmal_cli.cell import identity_of
from mmal_cli.core import datasets, files, plugins
from mmal_cli.core.grid import Grid
from mmal_cli.core.manifest import Run
from mmal_cli.sweep import cells, places

KEY = ("dataset", "moddrop", "regime", "qm", "seed")


@dataclass(frozen=True)
class Picked:
    """The runs by their folders.

    Attributes:
        wanted: the `KEY` of every cell of the grid.
        others: runs at the grid's places that are of other settings or other data: folder -> what differs.
        unknown: folders of datasets that are not there, so that the settings of their runs are not compared.
    """

    runs: Mapping[str, Run]
    wanted: list[tuple]
    others: Mapping[str, str]
    unknown: list[Path]

    @property
    def not_run(self) -> list[dict[str, Any]]:
        """The grid's cells that have not run, row by row with their seeds."""
        ran = {_key(run.config) for run in self.runs.values()}
        seeds: dict[tuple, list[int]] = defaultdict(list)
        for key in self.wanted:
            if key not in ran:
                seeds[key[:-1]].append(key[-1])
        return [dict(zip(KEY, row, strict=False)) | {"seeds": of} for row, of in seeds.items()]


def pick(finished: Mapping[Path, Run], grid: Grid, root: Path) -> Picked:
    """Takes the grid's runs out of all; `root` is where the datasets lie that the grid gives no folder."""
    wanted = [_key(place.model_dump() | {"qm": plugins.label(place.qm)}) for place in places(grid)]
    found = {str(folder): run for folder, run in finished.items() if _key(run.config) in wanted}
    ran = {run.config["dataset"] for run in found.values()}
    folders = {name: folder for name, folder in grid.folders(root).items() if name in ran}
    unknown = {name: folder for name, folder in folders.items() if not (folder / datasets.MANIFEST).exists()}
    read = datasets.read_all({name: folder for name, folder in folders.items() if name not in unknown})
    asked = {_key(cell.content): cell for _, cell in cells(grid.without(grid.datasets.keys() - read.keys()), read)}
    others = {}
    for folder, run in found.items():
        cell = asked.get(_key(run.config))
        if cell and (said := files.difference(Path(folder), identity_of(run), cell.identity)):
            others[folder] = said
    runs = {folder: run for folder, run in found.items() if folder not in others}
    return Picked(runs, wanted, others, list(unknown.values()))


def _key(config: Mapping[str, Any]) -> tuple:
    return tuple(config[name] for name in KEY)
