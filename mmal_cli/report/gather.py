"""All that the page shows, from records: rows of AULC, variants of datasets, ranks, diagnostics."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmal_cli.analysis import apart, aulc, diagnostics, figures
from mmal_cli.analysis.diagnostics import Reading
from mmal_cli.core import files, manifest, place
from mmal_cli.core.errors import BAD_DATA
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.place import Place
from mmal_cli.core.tables import AulcRow, AulcTable, Published, TableDataset
from mmal_cli.report import overlap, published
from mmal_cli.report.overlap import Overlap
from mmal_cli.report.published import Beside
from mmal_cli.report.ranking import Ranking, rank
from mmal_cli.runs import Runs

METRIC = "balanced_accuracy"
Key = tuple[str, str, int]  # regime, qm, seed: a place within a variant


@dataclass(frozen=True)
class Variant:
    """One way to train on a dataset.

    Attributes:
        at: which.
        rows: one for each regime and method.
        runs: (regime, qm, seed) -> record.
        readings: likewise, diagnostics of all cycles.
        chance: balanced accuracy of a guess, where the number of classes is known.
        printed: (regime, qm) -> the paper's row, where there is one.
        beside: (regime, qm) -> what tells the runs from the paper's.
        overlaps: regime -> pairs of methods, where the cycles are on disk.
    """

    at: place.Variant
    dataset: TableDataset
    rows: list[AulcRow]
    runs: dict[Key, Run]
    readings: dict[Key, list[Reading]]
    modalities: list[str]
    chance: float | None
    printed: dict[tuple[str, str], AulcRow]
    beside: dict[tuple[str, str], Beside]
    overlaps: dict[str, list[Overlap]]

    @property
    def title(self) -> str:
        """`synergy, moddrop off`."""
        return self.at.title

    @property
    def key(self) -> str:
        """For names of files and anchors."""
        return re.sub(r"[^A-Za-z0-9_-]", "-", self.at.dataset) + self.at.suffix

    @property
    def regimes(self) -> list[str]:
        """Low, mid, high, then others."""
        return figures.regimes(self.rows)

    @property
    def levels(self) -> dict[str, float]:
        """Subset -> chance, as the figures show it."""
        if self.chance is None:
            return {}
        return {subset: self.chance * self.dataset.factor(subset) for subset in figures.subsets(self.rows)}


@dataclass(frozen=True)
class Material:
    """All of it; `unlike` are warnings about methods that stand in one table with different settings."""

    variants: list[Variant]
    methods: list[str]
    seeds: list[int]
    ranking: Ranking
    published: Published
    unfinished: int
    unlike: list[str]


def gather(found: Runs, root: Path, by: str | None = None) -> Material:
    """Reads what the records say and, for overlaps, the cycles beside them.

    Args:
        root: the folder where they were found; the page does not say where that is.
        by: a setting whose value becomes part of the method's name, `analysis.apart`.

    Raises:
        UserError: damaged or contradicting records, as for `mmal aulc`; a damaged cycle.
    """
    finished = apart.by(found.finished, by) if by else found.finished
    records = {str(folder): run for folder, run in finished.items()}
    content = {
        "id": files.identity({"kind": "report", "runs": sorted(run.id for run in records.values())}),
        "metric": METRIC,
        "datasets": aulc.datasets(records),
        "rows": aulc.rows(records, METRIC),
        "made": {},
    }
    table = manifest.check(AulcTable, content, "runs", BAD_DATA)
    places = {folder: check(Place, run.config, f"{folder} config", BAD_DATA) for folder, run in finished.items()}
    values = published.read()
    ways = {row.variant: place.Variant.model_validate(row.model_dump()) for row in table.rows}.values()
    return Material(
        variants=[_variant(way, table, finished, places, values.as_aulc()) for way in ways],
        methods=sorted({row.qm for row in table.rows}),
        seeds=sorted({found.seed for found in places.values()}),
        ranking=rank(table),
        published=values,
        unfinished=len(found.unfinished),
        unlike=aulc.unlike({str(folder.relative_to(root)): run for folder, run in finished.items()}),
    )


def _variant(
    at: place.Variant, table: AulcTable, finished: Mapping[Path, Run], places: Mapping[Path, Place], printed: AulcTable
) -> Variant:
    folders = {(found.regime, found.qm, found.seed): folder for folder, found in places.items() if found.variant == at.variant}
    runs = {key: finished[folder] for key, folder in folders.items()}
    columns = next((list(row.subsets) for row in printed.rows if row.dataset == at.dataset), [])
    rows = [_in_order(row, columns) for row in table.rows if row.variant == at.variant]
    overlaps = {regime: _overlaps(regime, folders, runs) for regime in figures.regimes(rows)}
    some = next(iter(runs.values()))
    first = {key[:2]: run for key, run in reversed(runs.items())}  # of a row: its seeds are alike
    return Variant(
        at=at,
        dataset=table.datasets[at.dataset],
        rows=rows,
        runs=runs,
        readings={key: _readings(run, overlap.readings(overlaps[key[0]], *key[1:], run)) for key, run in runs.items()},
        modalities=some.inputs["dataset"].get("modalities", []),
        chance=diagnostics.chance(some),
        printed={(row.regime, row.qm): row for row in printed.rows if row.variant == at.variant},
        beside={key: published.beside(run, printed) for key, run in first.items()},
        overlaps=overlaps,
    )


def _in_order(row: AulcRow, columns: Sequence[str]) -> AulcRow:
    """Its subsets in the order of the paper's table, where it has all of them."""
    if row.subsets.keys() != set(columns):
        return row
    return row.model_copy(update={"subsets": {subset: row.subsets[subset] for subset in columns}})


def _readings(run: Run, overlaps: Iterable[Reading]) -> list[Reading]:
    """Cycle by cycle."""
    return sorted([*diagnostics.read(run, METRIC), *overlaps], key=lambda reading: reading.cycle)


def _overlaps(regime: str, folders: Mapping[Key, Path], runs: Mapping[Key, Run]) -> Sequence[Overlap]:
    asked: dict[str, dict[int, overlap.Asked]] = {}
    if len({key[1] for key in folders if key[0] == regime}) > 1:  # else nothing is read
        for (of, qm, seed), folder in folders.items():
            if of == regime and (found := overlap.read(folder, len(runs[of, qm, seed].cycles))):
                asked.setdefault(qm, {})[seed] = found
    return overlap.pairs(asked)
