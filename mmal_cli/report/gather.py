"""All that the page shows, from records: rows of AULC, variants of datasets, ranks, diagnostics."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmal_cli.analysis import aulc, diagnostics, figures
from mmal_cli.analysis.diagnostics import Reading
from mmal_cli.core import files, manifest
from mmal_cli.core.errors import BAD_DATA
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.tables import NO_MODDROP, AulcRow, AulcTable, Place, Published, TableDataset
from mmal_cli.report import overlap, published
from mmal_cli.report.overlap import Overlap
from mmal_cli.report.ranking import Ranking, rank
from mmal_cli.runs import Runs

METRIC = "balanced_accuracy"
Key = tuple[str, str, int]  # regime, qm, seed: a place within a variant


@dataclass(frozen=True)
class Variant:
    """One dataset with or without modality dropout.

    Attributes:
        rows: one for each regime and method.
        runs: (regime, qm, seed) -> record.
        readings: likewise, diagnostics of all cycles.
        chance: balanced accuracy of a guess, where the number of classes is known.
        printed: (regime, qm) -> the paper's row, where there is one.
        differs: (regime, qm) -> what tells the runs from the paper's; empty where they may be compared.
        overlaps: regime -> pairs of methods, where the cycles are on disk.
    """

    name: str
    moddrop: bool
    dataset: TableDataset
    rows: list[AulcRow]
    runs: dict[Key, Run]
    readings: dict[Key, list[Reading]]
    modalities: list[str]
    chance: float | None
    printed: dict[tuple[str, str], AulcRow]
    differs: dict[tuple[str, str], list[str]]
    overlaps: dict[str, list[Overlap]]

    @property
    def title(self) -> str:
        """`synergy, moddrop off`."""
        return f"{self.name}, moddrop {'on' if self.moddrop else 'off'}"

    @property
    def key(self) -> str:
        """For names of files and anchors."""
        return re.sub(r"[^A-Za-z0-9_-]", "-", self.name) + ("" if self.moddrop else NO_MODDROP)

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


def gather(found: Runs, root: Path) -> Material:
    """Reads what the records say and, for overlaps, the cycles beside them.

    Args:
        root: the folder where they were found; the page does not say where that is.

    Raises:
        UserError: damaged or contradicting records, as for `mmal aulc`; a damaged cycle.
    """
    records = {str(folder): run for folder, run in found.finished.items()}
    content = {
        "id": files.identity({"kind": "report", "runs": sorted(run.id for run in records.values())}),
        "metric": METRIC,
        "datasets": aulc.datasets(records),
        "rows": aulc.rows(records, METRIC),
        "made": {},
    }
    table = manifest.check(AulcTable, content, "runs", BAD_DATA)
    places = {folder: check(Place, run.config, f"{folder} config", BAD_DATA) for folder, run in found.finished.items()}
    values = published.read()
    keys = dict.fromkeys((row.dataset, row.moddrop) for row in table.rows)
    return Material(
        variants=[_variant(*key, table, found.finished, places, values.as_aulc()) for key in keys],
        methods=sorted({row.qm for row in table.rows}),
        seeds=sorted({place.seed for place in places.values()}),
        ranking=rank(table),
        published=values,
        unfinished=len(found.unfinished),
        unlike=aulc.unlike({str(folder.relative_to(root)): run for folder, run in found.finished.items()}),
    )


def _variant(
    name: str, moddrop: bool, table: AulcTable, finished: Mapping[Path, Run], places: Mapping[Path, Place], printed: AulcTable
) -> Variant:
    folders = {
        (place.regime, place.qm, place.seed): folder
        for folder, place in places.items()
        if (place.dataset, place.moddrop) == (name, moddrop)
    }
    runs = {key: finished[folder] for key, folder in folders.items()}
    rows = [row for row in table.rows if (row.dataset, row.moddrop) == (name, moddrop)]
    some = next(iter(runs.values()))
    differs: dict[tuple[str, str], list[str]] = {}
    for (regime, qm, _), run in runs.items():
        differs.setdefault((regime, qm), published.differs(run, printed))  # seeds of a row are alike
    return Variant(
        name=name,
        moddrop=moddrop,
        dataset=table.datasets[name],
        rows=rows,
        runs=runs,
        readings={key: list(diagnostics.read(run, METRIC)) for key, run in runs.items()},
        modalities=some.inputs["dataset"].get("modalities", []),
        chance=diagnostics.chance(some),
        printed={(row.regime, row.qm): row for row in printed.rows if (row.dataset, row.moddrop) == (name, moddrop)},
        differs=differs,
        overlaps={regime: _overlaps(regime, folders, runs) for regime in figures.regimes(rows)},
    )


def _overlaps(regime: str, folders: Mapping[Key, Path], runs: Mapping[Key, Run]) -> Sequence[Overlap]:
    asked: dict[str, dict[int, overlap.Asked]] = {}
    if len({key[1] for key in folders if key[0] == regime}) > 1:  # else nothing is read
        for (of, qm, seed), folder in folders.items():
            if of == regime and (found := overlap.read(folder, len(runs[of, qm, seed].cycles))):
                asked.setdefault(qm, {})[seed] = found
    return overlap.pairs(asked)
