"""The cells of a grid: which there are, and what their folders say."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import mean

from mmal_cli.cell import Cell, Refused, identity_of, must_be_of
from mmal_cli.core import datasets, plugins, pretrained, running, shards
from mmal_cli.core.errors import BAD_DATA, UserError, lines
from mmal_cli.core.grid import Grid
from mmal_cli.core.manifest import Dataset, Run
from mmal_cli.core.paradigms import SELF_SL, ST
from mmal_cli.core.place import Place, regime_order
from mmal_cli.core.protocol import Settings
from mmal_cli.core.settings import main_variant, resolve
from mmal_cli.engines import Work, threads
from mmal_cli.runs import place_of


def places(grid: Grid) -> list[Place]:
    """The place of every cell, from the grid alone; in the order in which they are run."""
    found = []
    for name in grid.datasets:
        own = grid.of(name)
        drops = dict.fromkeys(main_variant(name) if drop == "protocol" else drop for drop in own.moddrop)
        found += [
            Place(dataset=name, regime=regime, moddrop=drop, paradigm=paradigm, qm=qm, seed=seed)
            for regime in own.regimes
            for paradigm in own.paradigms
            for drop in drops
            for qm in own.qms
            for seed in own.seeds
        ]
    return found


def expand(grid: Grid, root: Path, out: Path, device: str, deterministic: bool = False) -> list[Work]:
    """Every cell of the grid with all that running it takes.

    Args:
        root: where the datasets lie that the grid gives no folder.
        out: the folder of all runs.
        device: what will be trained on, `cpu` or `cuda`: models are shared within it.
        deterministic: whether the same run is to give the same bits on a GPU too.

    Raises:
        UserError: datasets or pretrained encoders that are not there, all of them in one message; an unknown name; a setting
            that is wrong; two query methods with one name.

    Cost: about 10 ms for each (variant, regime, method), and importing torch.
    """
    folders = grid.folders(root)
    _taught(grid, folders)
    works: dict[Path, Work] = {}
    count = threads() if device == "cpu" else None
    for place, cell in cells(grid, datasets.read_all(folders), places(grid)):
        folder = cell.folder(out)
        if folder in works:
            raise UserError(f"two query methods of the grid are called {plugins.label(place.qm)!r}; give one another name")
        command, first = al_run(folders[place.dataset], place, grid), _first(cell, folder, device, count, deterministic)
        command += " --deterministic" * deterministic
        works[folder] = Work(cell, folders[place.dataset], out, command, first, count, deterministic)
    return list(works.values())


def cells(grid: Grid, read: Mapping[str, Dataset], some: Iterable[Place]) -> Iterator[tuple[Place, Cell]]:
    """Some of the grid's cells with their settings; `read` has their datasets by name."""
    resolved: dict[tuple, Settings] = {}
    for place in some:
        begun = begun_with(place, grid)
        key = *place.row, begun
        if key not in resolved:
            plugins.find("queries", place.qm, "query method")
            asked = overlays(place, grid), grid.assignments, place.moddrop, place.paradigm, begun
            resolved[key], _ = resolve(read[place.dataset], place.regime, place.qm, *asked)
        yield place, Cell(read[place.dataset], place.qm, place.regime, place.seed, resolved[key])


def _first(cell: Cell, folder: Path, device: str, count: int | None, deterministic: bool) -> Path:
    """Where the cell's first model lies, or will; also checks its query method."""
    from mmal_cli import first
    from mmal_cli.method import load_method

    needs = load_method(cell.qm, cell.settings.query_options).needs
    dropout = cell.settings.model.mc_dropout if "passes" in needs else 0.0
    return folder.parents[1] / first.FOLDER / first.name(cell, dropout, device, count, deterministic)


def overlays(place: Place, grid: Grid) -> list[str]:
    """A cell's `--with`: its tuned file if the grid names a folder of them that has one, then the grid's overlays."""
    found = grid.tuned_file(place)
    return [*([str(found)] if found else []), *grid.overlays]


def begun_with(place: Place, grid: Grid) -> Path | None:
    """The pretrained encoders of a cell; a seed has its own."""
    return pretrained.folder(place.dataset, place.seed, Path(grid.pretrained)) if place.paradigm == SELF_SL else None


def _taught(grid: Grid, folders: Mapping[str, Path]) -> None:
    """Refuses a grid whose pretrained encoders are not all there."""
    begun = {folder: place for place in places(grid) if (folder := begun_with(place, grid))}
    missing = {folder: place for folder, place in begun.items() if not (folder / pretrained.RECORD).exists()}
    if missing:
        made = (f"{folder}; make it by: {_pretrain(folders[of.dataset], of, folder, grid)}" for folder, of in missing.items())
        raise UserError(f"pretrained encoders are not there: {lines(made)}", BAD_DATA)


def _pretrain(data: Path, place: Place, folder: Path, grid: Grid) -> str:
    """The mmal pretrain whose encoders a cell can begin with."""
    words = ["mmal", "pretrain", "--data", str(data), "--seed", str(place.seed), "--out", str(folder)]
    return shlex.join([*words, *_settings(place, grid)])


def _settings(place: Place, grid: Grid) -> list[str]:
    """--with and --set of a cell."""
    words = [word for name in overlays(place, grid) for word in ("--with", name)]
    return words + [word for text in grid.assignments for word in ("--set", text)]


def untuned(grid: Grid) -> list[str]:
    """What the grid's folder of tuned files has none for: `share low`, `share low without modality dropout`."""
    if grid.tuned is None:
        return []
    kinds = {place.block: place for place in places(grid)}.values()
    without = {True: "", False: " without moddrop"}
    return [f"{kind.name} {kind.regime}{without[kind.moddrop]}" for kind in kinds if not grid.tuned_file(kind)]


def al_run(data: Path, place: Place, grid: Grid) -> str:
    """The al-run that makes the same run."""
    words = ["mmal", "al-run", "--data", str(data), "--qm", place.qm, "--regime", place.regime, "--seed", str(place.seed)]
    words += _settings(place, grid)
    words += ["--moddrop" if place.moddrop else "--no-moddrop"]
    words += ["--paradigm", place.paradigm] * (place.paradigm != ST)
    words += ["--pretrained", str(begun)] if (begun := begun_with(place, grid)) else []
    return shlex.join(words)


@dataclass(frozen=True)
class Seen:
    """A cell and what its folder says.

    Attributes:
        refused: why it cannot be run there: the folder belongs to another configuration.
        damaged: why it cannot be told what ran there: the record cannot be read.
        seconds: of a cycle, where it is done: the mean of those whose model was trained there.
    """

    work: Work
    found: running.Found
    refused: str = ""
    damaged: str = ""
    seconds: float = nan

    @property
    def open(self) -> bool:
        """Whether it is still to be run."""
        return self.found.state != "done" and not (self.refused or self.damaged)


def see(work: Work) -> Seen:
    """Looks into a cell's folder, and whether what lies there is of this cell."""
    folder, found, seconds = work.folder, running.look(work.folder), nan
    try:
        if found.state == "done":
            run = Run.read(folder / running.RECORD)
            must_be_of(work.cell, folder, identity_of(run))
            seconds = mean(sum(cycle.seconds.values()) for cycle in run.cycles[1:] or run.cycles)
        elif found.cycles and (said := shards.read_attributes(folder / "cycle-00.h5")):
            must_be_of(work.cell, folder / "cycle-00.h5", said["identity"])
    except Refused as error:
        return Seen(work, found, refused=str(error))
    except UserError as error:
        return Seen(work, found, damaged=str(error))
    return Seen(work, found, seconds=seconds)


@dataclass(frozen=True)
class Row:
    """The cells of one (dataset, regime, method with its variant), by folder."""

    dataset: str
    regime: str
    method: str
    cells: Mapping[Path, running.Found]

    def count(self, state: running.State) -> int:
        """How many cells are in a state."""
        return sum(found.state == state for found in self.cells.values())


def rows(cells: Mapping[Path, running.Found]) -> list[Row]:
    """Run folders by row, sorted by dataset, then low, mid, high, then method."""
    grouped = defaultdict(dict)
    for folder, found in cells.items():
        *_, dataset, regime, method, _ = folder.resolve().parts
        grouped[dataset, regime_order(regime), method][folder] = found
    return [Row(dataset, order[1], method, grouped[dataset, order, method]) for dataset, order, method in sorted(grouped)]


def merged(rows: Sequence[Row]) -> list[Row]:
    """One row for all methods of a (dataset, regime); their names are gone, their number stays."""
    grouped = defaultdict(list)
    for row in rows:
        grouped[row.dataset, row.regime].append(row)
    return [
        Row(*key, f"{len(some)} methods", {folder: found for row in some for folder, found in row.cells.items()})
        for key, some in grouped.items()
    ]


def in_folder(root: Path, grid: Grid | None = None) -> dict[Path, running.Found]:
    """The cells under a folder of runs, from what it holds alone; with a grid those of the grid, begun or not."""
    if grid is not None:
        named = [place.model_copy(update={"qm": plugins.label(place.qm)}) for place in places(grid)]
        return {folder: running.look(folder) for folder in (root / p.folder / f"seed-{p.seed}" for p in named)}
    folders = sorted(folder for folder in [root, *root.rglob("seed-*")] if folder.is_dir() and place_of(folder))
    found = {folder: running.look(folder) for folder in folders if any(folder.iterdir())}
    return {folder: one if one.state != "todo" else running.Found("part", 0) for folder, one in found.items()}
