"""The tables that analysis makes, as YAML: AULC and ranks of our runs, and the values that the paper prints."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Manifest, Strict, check
from mmal_cli.core.paradigms import Paradigm
from mmal_cli.core.place import InRegime
from mmal_cli.core.rank_stats import Stats


class DatasetRead(BaseModel):
    """What a table needs to know of the dataset that a run read; other keys of the record are ignored."""

    name: str
    id: str
    weak: str | None = None
    ceiling: dict[str, float] = Field({})


class Spread(Strict):
    """A mean over seeds. What is not defined is left out: the `sd` (ddof 1) of one seed, the `values` of a printed mean."""

    mean: float
    sd: float | None = None
    values: tuple[float, ...] = ()  # unrounded, in the order of the row's seeds


class Measures(Strict):
    """The areas under one learning curve; the aubc of a single cycle is not defined and left out."""

    aulc: Spread
    aulc_from_zero: Spread | None = None
    aubc: Spread | None = None
    curves: tuple[tuple[float, ...], ...] = ()  # the metric in each cycle, for each of the row's seeds


class AulcRow(InRegime, Strict):
    """All seeds of one (variant, regime, qm); `command` made the first of them."""

    qm: str
    cycles: int | None = None
    labels: tuple[int, ...] = ()  # of each cycle; with the curves, or neither
    seeds: tuple[int, ...] = ()
    runs: tuple[str, ...] = ()
    qm_sha256: str | None = None  # of a method that is a file of one's own
    command: str | None = None
    subsets: dict[str, Measures] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_value_per_seed(self) -> Self:
        for subset, areas in self.subsets.items():
            where = f"{self.dataset} {self.regime} {self.qm}"
            for area in ("aulc", "aulc_from_zero", "aubc"):
                found = getattr(areas, area)
                if found and len(found.values) != len(self.seeds):
                    raise ValueError(f"{where}, {area} of {subset} has {len(found.values)} values for {len(self.seeds)} seeds")
            points, expected = [len(curve) for curve in areas.curves], [len(self.labels)] * len(self.seeds)
            if points and points != expected:
                raise ValueError(f"{where}, curves of {subset} have {points} points, labels and seeds say {expected}")
        return self


class TableDataset(Strict):
    """What a table knows of a dataset; `moddrop` is the variant of its main comparison, where the table itself says so."""

    id: str | None = None
    weak: str | None = None
    ceiling: dict[str, float] = Field({})
    moddrop: bool | None = None

    def factor(self, subset: str) -> float:
        """What a value is shown times: 1 / ceiling of a partially predictive subset, as the paper does (x10), otherwise 1."""
        ceiling = self.ceiling.get(subset, 1.0)
        return 1 / ceiling if 0 < ceiling < 1 else 1.0


class AulcTable(Manifest):
    """`aulc.yaml`: plain values (never times ten) of one metric."""

    kind: Literal["aulc"] = "aulc"
    metric: str
    datasets: dict[str, TableDataset]
    rows: list[AulcRow]
    made: dict[str, Any]

    @model_validator(mode="after")
    def _every_dataset_has_rows(self) -> Self:
        if wrong := sorted(self.datasets.keys() ^ {row.dataset for row in self.rows}):
            raise ValueError(f"{wrong[0]} has no rows, or no entry under datasets; expected both")
        return self

    def of(self, paradigms: Collection[Paradigm]) -> Self:
        """The rows of some training paradigms; an error where there are none."""
        rows = [row for row in self.rows if row.paradigm in paradigms]
        if not rows:
            have = ", ".join(dict.fromkeys(row.paradigm for row in self.rows))
            raise UserError(f"the table has no rows of paradigm {' or '.join(paradigms)}; it has {have}")
        names = {row.dataset for row in rows}
        datasets = {name: of for name, of in self.datasets.items() if name in names}
        return self.model_copy(update={"rows": rows, "datasets": datasets})


class RankBlock(InRegime, Strict):
    """The ranks of one (variant, regime); 1 is the highest score, ties share the average of their places."""

    weak: str
    seeds: list[int]  # none where the scores are printed means
    scores: dict[str, float]
    ranks: dict[str, float]
    smallest: float | None = None  # difference of two scores that this number of seeds can show (docs/protocol.md)


class RankTable(Manifest):
    """`rank.yaml`: ranks per block and their sums per regime, as in the paper's Table 3; lower is better."""

    kind: Literal["rank"] = "rank"
    source: str  # id of the table that was ranked
    metric: str
    methods: list[str]
    own_files: dict[str, str] = {}  # qm -> sha256, of those that are files of one's own
    blocks: list[RankBlock]
    sums: dict[str, dict[str, float]]
    stats: Stats | None = None  # with --stats
    made: dict[str, Any]


class PublishedTable(Strict):
    """One table of the paper: regime -> qm -> (mean, sd) for each column; partially predictive columns are times ten."""

    table: int
    dataset: str
    moddrop: bool
    columns: list[str] = Field(min_length=1)
    aulc: dict[str, dict[str, list[tuple[float, float]]]]

    @model_validator(mode="after")
    def _one_value_per_column(self) -> Self:
        for regime, methods in self.aulc.items():
            for qm, values in methods.items():
                if len(values) != len(self.columns):
                    found = f"{len(values)} values for {len(self.columns)} columns"
                    raise ValueError(f"table {self.table} {regime} {qm} has {found}")
        return self


class PublishedRanks(Strict):
    """Table 3 of the paper: what was ranked, and the sums."""

    weak_modality: dict[str, str]
    moddrop: dict[str, bool]
    low: dict[str, float] = Field({})
    mid: dict[str, float] = Field({})
    high: dict[str, float] = Field({})


class Published(Strict):
    """The paper's AULC tables and rank sums."""

    tables: list[PublishedTable]
    rank_sums: PublishedRanks | None = None

    def as_aulc(self) -> AulcTable:
        """The printed means as an AULC table: rows without seeds, weak modalities and variants as in Table 3."""
        weak = self.rank_sums.weak_modality if self.rank_sums else {}
        variant = self.rank_sums.moddrop if self.rank_sums else {}
        rows = [row for table in self.tables for row in _printed_rows(table)]
        return AulcTable(
            id=files.identity(self.model_dump(mode="json")),
            metric="balanced_accuracy",
            datasets={k: TableDataset(weak=weak.get(k), moddrop=variant.get(k)) for k in sorted({row.dataset for row in rows})},
            rows=rows,
            made={"source": "published tables"},
        )


def _printed_rows(table: PublishedTable) -> list[AulcRow]:
    return [
        AulcRow(
            dataset=table.dataset,
            regime=regime,
            moddrop=table.moddrop,
            qm=qm,
            subsets={
                column: Measures(aulc=Spread(mean=mean, sd=sd))
                for column, (mean, sd) in zip(table.columns, values, strict=True)
            },
        )
        for regime, methods in table.aulc.items()
        for qm, values in methods.items()
    ]


def is_published(raw: Any) -> bool:
    """Whether a YAML file holds published tables: it has a list of `tables` and no head."""
    return isinstance(raw, dict) and "tables" in raw and "kind" not in raw


def read_aulc(path: Path, paradigms: Collection[Paradigm] = ()) -> AulcTable:
    """Reads aulc.yaml, or published values as if they were one; which of the two it is, the content says.

    Args:
        paradigms: whose rows are kept; without any those of all.
    """
    raw = files.read_yaml(path, "mmal aulc RUNS")
    published = is_published(raw)
    table = check(Published, raw, str(path), BAD_DATA).as_aulc() if published else AulcTable.read(path, "mmal aulc RUNS")
    return table.of(paradigms) if paradigms else table


def save(table: Manifest, path: Path) -> None:
    """Writes a table over an older one of its kind, and over nothing else: runs grow, so a table is made again and again."""
    if path.exists():
        raw = files.read_yaml(path)
        found = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
        if found != table.kind:
            raise UserError(f"{path} is not an older {table.kind} table (its kind is {found!r}); choose another --out")
    table.write(path)


def content(table: Manifest) -> dict[str, Any]:
    """What the YAML holds, for --json."""
    return table.model_dump(mode="json", exclude_none=True)
