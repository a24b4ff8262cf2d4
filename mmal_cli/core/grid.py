"""Grid files: datasets x regimes x query methods x modality dropout x training paradigms x seeds, the cells of one table."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from mmal_cli.core import files, plugins, tuned
from mmal_cli.core.errors import WRONG_USE
from mmal_cli.core.manifest import NAME, Strict, check
from mmal_cli.core.paradigms import ST, Paradigm
from mmal_cli.core.place import InRegime
from mmal_cli.core.pretrained import ROOT
from mmal_cli.core.settings import main_variant

GRIDS = "grids"
QUICK = "_quick.yaml"  # in grids/, not listed
T = TypeVar("T")


def _once_each(values: list[T]) -> list[T]:
    if twice := [value for number, value in enumerate(values) if value in values[:number]]:
        raise ValueError(f"{twice[0]} is there twice, expected each once")
    return values


Several = Annotated[list[T], Field(min_length=1), AfterValidator(_once_each)]
Dropping = bool | Literal["protocol"]  # "protocol": what the dataset's protocol says, whatever overlays do
Seed = Annotated[int, Field(ge=0)]


class Override(Strict):
    """What one dataset has in place of the grid's own lists."""

    regimes: Several[str] | None = None
    qms: Several[str] | None = None
    moddrop: Several[Dropping] | None = None
    paradigms: Several[Paradigm] | None = None
    seeds: Several[Seed] | None = None


class Grid(Strict):
    """One file of grids/, or a path."""

    datasets: dict[Annotated[str, Field(pattern=NAME)], str | None] = Field(min_length=1)  # name -> folder
    regimes: Several[str]
    qms: Several[str]  # names, or files of one's own
    moddrop: Several[Dropping] = ["protocol"]
    paradigms: Several[Paradigm] = [ST]
    pretrained: str = str(ROOT)  # where paradigm self-sl finds <dataset>/seed-<k>
    seeds: Several[Seed] = [0, 1, 2]
    overlays: list[str] = Field([], alias="with")
    assignments: list[str] = Field([], alias="set")
    tuned: str | None = None  # a folder of tuned files: <dataset>-<regime>.yaml comes before the overlays, where there is one
    cells: dict[str, Override] = {}  # dataset -> what is otherwise there

    @model_validator(mode="after")
    def _overrides_are_of_datasets(self) -> Self:
        if strange := [name for name in self.cells if name not in self.datasets]:
            raise ValueError(f"cells names {strange[0]!r}, expected one of the datasets: {', '.join(self.datasets)}")
        return self

    def of(self, dataset: str) -> "Grid":
        """The grid as it is for one dataset."""
        own = self.cells.get(dataset, Override())
        return self.model_copy(update={key: value for key, value in own if value is not None})

    def tuned_file(self, of: InRegime) -> Path | None:
        """The tuned file that such a cell takes; None without one."""
        return None if self.tuned is None else tuned.find(Path(self.tuned), of)

    def without(self, names: Collection[str]) -> "Grid":
        """The grid without some of its datasets."""
        left = {name: folder for name, folder in self.datasets.items() if name not in names}
        cells = {name: own for name, own in self.cells.items() if name not in names}
        return self.model_copy(update={"datasets": left, "cells": cells})

    def folders(self, root: Path) -> dict[str, Path]:
        """Where the datasets lie: as the grid says, otherwise in `<root>/<name>`."""
        return {name: root / name if folder is None else Path(folder) for name, folder in self.datasets.items()}


class Quick(Strict):
    """`grids/_quick.yaml`: which dataset stands in for which, and what else the scale quick has in place of a grid's own."""

    datasets: dict[str, str]
    seeds: Several[Seed]
    overlays: list[str] = Field(alias="with")
    assignments: list[str] = Field(alias="set")


def load(name: str, scale: Literal["paper", "quick"] = "paper") -> Grid:
    """A grid by its name in grids/, or by a path, at a scale.

    Raises:
        UserError: unknown, not there, or not a grid; names the first wrong key.
    """
    path = plugins.find(GRIDS, name, "grid", ".yaml")
    grid = check(Grid, files.read_yaml(path, code=WRONG_USE), str(path) if "/" in name else f"{GRIDS}/{path.name}")
    return grid if scale == "paper" else _quick(grid)


def _quick(grid: Grid) -> Grid:
    """The grid small: stand-ins take the place of its datasets, with their modality dropout; few seeds, short trainings."""
    quick = check(Quick, files.read_yaml(plugins.PACKAGE / GRIDS / QUICK), f"{GRIDS}/{QUICK}")
    cells = {}
    for name in grid.datasets:
        own = grid.cells.get(name, Override())
        drops = [main_variant(name) if drop == "protocol" else drop for drop in own.moddrop or grid.moddrop]
        changed = {"moddrop": list(dict.fromkeys(drops)), "seeds": quick.seeds}
        cells[quick.datasets.get(name, name)] = own.model_copy(update=changed)
    return grid.model_copy(
        update={
            "datasets": {quick.datasets.get(name, name): folder for name, folder in grid.datasets.items()},
            "cells": cells,
            "overlays": [*grid.overlays, *(name for name in quick.overlays if name not in grid.overlays)],
            "assignments": [*quick.assignments, *grid.assignments],
        }
    )
