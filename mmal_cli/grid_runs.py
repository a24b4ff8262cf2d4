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
from mmal_cli.core.place import Place
from mmal_cli.core.pretrained import RECORD
from mmal_cli.sweep import begun_with, cells, places


@dataclass(frozen=True)
class Picked:
    """The runs by their folders.

    Attributes:
        wanted: the place of every cell of the grid.
        others: runs at the grid's places that are of other settings or other data: folder -> what differs.
        unknown: folders of datasets and pretrained encoders that are not there: the settings of their runs are not compared.
    """

    runs: Mapping[str, Run]
    wanted: list[Place]
    others: Mapping[str, str]
    unknown: list[Path]

    @property
    def not_run(self) -> list[dict[str, Any]]:
        """The grid's cells that have not run, row by row with their seeds."""
        ran = {Place.model_validate(run.config) for run in self.runs.values()}
        rows: dict[str, list[Place]] = defaultdict(list)
        for place in self.wanted:
            if place not in ran:
                rows[place.folder].append(place)
        return [some[0].model_dump(exclude={"seed"}) | {"seeds": [place.seed for place in some]} for some in rows.values()]


def pick(finished: Mapping[Path, Run], grid: Grid, root: Path) -> Picked:
    """Takes the grid's runs out of all; `root` is where the datasets lie that the grid gives no folder."""
    wanted = [place.model_copy(update={"qm": plugins.label(place.qm)}) for place in places(grid)]
    among, at = set(wanted), {str(folder): Place.model_validate(run.config) for folder, run in finished.items()}
    found = {str(folder): run for folder, run in finished.items() if at[str(folder)] in among}
    ran = {run.config["dataset"] for run in found.values()}
    folders = {name: folder for name, folder in grid.folders(root).items() if name in ran}
    unknown = {name: folder for name, folder in folders.items() if not (folder / datasets.MANIFEST).exists()}
    read = datasets.read_all({name: folder for name, folder in folders.items() if name not in unknown})
    begun = {folder for place in places(grid) if (folder := begun_with(place, grid)) and place.dataset in read}
    untaught = {folder for folder in begun if not (folder / RECORD).exists()}
    known = [place for place in places(grid) if place.dataset in read and begun_with(place, grid) not in untaught]
    asked = {cell.place: cell for _, cell in cells(grid, read, known)}
    others = {}
    for folder, run in found.items():
        cell = asked.get(at[folder])
        if cell and (said := files.difference(Path(folder), identity_of(run), cell.identity)):
            others[folder] = said
    runs = {folder: run for folder, run in found.items() if folder not in others}
    return Picked(runs, wanted, others, [*unknown.values(), *sorted(untaught)])
