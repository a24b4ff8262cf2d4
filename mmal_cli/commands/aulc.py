"""`mmal aulc`: areas under the learning curves of finished runs, per run and over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import show

if TYPE_CHECKING:
    from mmal_cli.core.tables import AulcRow, AulcTable, Spread, TableDataset
    from mmal_cli.runs import Runs

STAGE = 3.0
Area = Literal["aulc", "aulc_from_zero", "aubc"]


def aulc(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or of some of them.", show_default=False)],
    metric: Annotated[
        Literal["balanced_accuracy", "accuracy"], typer.Option(help="Height of the curve.")
    ] = "balanced_accuracy",
    area: Annotated[Area, typer.Option(help="Which area the table shows; the file holds all three.")] = "aulc",
    out: Annotated[Path, typer.Option(help="Where the table is written.")] = Path("results/aulc.yaml"),
    json: Annotated[bool, typer.Option("--json", help="Print the file's content as JSON, no table.")] = False,
) -> None:
    """Measure areas under learning curves: mean and sd over seeds, per modality subset.

    aulc: trapezoid over the N measured cycles, range [0, N-1].
    aulc_from_zero: with a zero put first. aubc: aulc / (N-1).
    The file holds plain values; the shown table says what is times ten.
    """
    import time

    from mmal_cli.analysis import aulc as areas
    from mmal_cli.core import files, manifest, tables
    from mmal_cli.core.errors import BAD_DATA, UserError
    from mmal_cli.runs import find

    started = time.monotonic()
    found = find(runs)
    _name_unfinished(found)
    if not found.finished:
        raise UserError(f"{runs} holds no finished run (with run.yaml), {len(found.unfinished)} unfinished", BAD_DATA)
    records = {str(folder): run for folder, run in found.finished.items()}
    content = {
        "id": files.identity({"kind": "aulc", "metric": metric, "runs": sorted(run.id for run in records.values())}),
        "metric": metric,
        "datasets": areas.datasets(records),
        "rows": areas.rows(records, metric),
        "made": manifest.made(started, f"mmal aulc RUNS --metric {metric}", ()),
    }
    table = manifest.check(tables.AulcTable, content, str(runs), BAD_DATA)
    for warning in areas.unlike(records):
        show.note(f"warning: {warning}")
    tables.save(table, out)
    show.note(f"{out} written")
    _print(table, area, len(found.unfinished), json)


def _name_unfinished(found: Runs) -> None:
    """Says on stderr what is left out and how to go on with it."""
    from mmal_cli.runs import resume

    for folder in found.unfinished:
        helps = resume(folder, found.finished)
        show.note(f"{folder} is not finished and left out" + (f"; go on by: {helps}" if helps else ""))


def _print(table: AulcTable, area: Area, unfinished: int, as_json: bool) -> None:
    if as_json:
        from json import dumps

        from mmal_cli.core.tables import content

        show.result(dumps(content(table), indent=2))
        return
    for name, moddrop in dict.fromkeys((row.dataset, row.moddrop) for row in table.rows):
        rows = [row for row in table.rows if (row.dataset, row.moddrop) == (name, moddrop)]
        _print_one(rows, table.datasets[name], area, table.metric)
    if unfinished:
        show.result(f"{unfinished} unfinished {'run' if unfinished == 1 else 'runs'} left out (named on stderr).")


def _print_one(rows: Sequence[AulcRow], dataset: TableDataset, area: Area, metric: str) -> None:
    """The table of one dataset, with or without modality dropout."""
    subsets = list(dict.fromkeys(subset for row in rows for subset in row.subsets))
    title = f"{rows[0].dataset}, moddrop {'on' if rows[0].moddrop else 'off'}: {area} of {metric.replace('_', ' ')}"
    head = ["regime", "qm", "seeds", *(_head(subset, dataset) for subset in subsets)]
    lines, foot = list(_lines(rows, subsets, dataset, area)), _foot(rows, subsets, dataset, area)
    show.table(f"{title}, mean ± sd", head, lines, foot, left=2)
    show.result("")


def _head(subset: str, dataset: TableDataset) -> str:
    factor = dataset.factor(subset)
    return subset + (" (weak)" if subset == dataset.weak else "") + (f" x{factor:.3g}" if factor != 1 else "")


def _lines(rows: Sequence[AulcRow], subsets: Sequence[str], dataset: TableDataset, area: Area) -> Iterator[list[str]]:
    """The table's rows, with an empty line between regimes and their names said once."""
    last = None
    for row in rows:
        if last not in (None, row.regime):
            yield [""] * (3 + len(subsets))
        regime, last = "" if row.regime == last else row.regime, row.regime
        found = [getattr(row.subsets[subset], area) if subset in row.subsets else None for subset in subsets]
        shown = [_spread(spread, dataset.factor(subset)) for spread, subset in zip(found, subsets, strict=True)]
        yield [regime, row.qm, str(len(row.seeds)), *shown]


def _spread(found: Spread | None, factor: float) -> str:
    """`5.87 ± 1.77`; dashes for what is not defined (the sd of one seed, the aubc of one cycle)."""
    if found is None:
        return "-"
    sd = f"{'-':<4}" if found.sd is None else f"{found.sd * factor:.2f}"
    return f"{found.mean * factor:.2f} ± {sd}"


def _foot(rows: Sequence[AulcRow], subsets: Sequence[str], dataset: TableDataset, area: Area) -> str:
    """What one must know to read the numbers: the range, and what is shown times something."""
    cycles = sorted({row.cycles for row in rows if row.cycles})
    tops = {"aulc": [n - 1 for n in cycles], "aulc_from_zero": [n - 0.5 for n in cycles], "aubc": [1]}[area]
    notes = [f"Range 0 to {' or '.join(f'{top:g}' for top in tops)} (cycles: {' or '.join(map(str, cycles))})."]
    if scaled := [f"{subset} x{dataset.factor(subset):.3g}" for subset in subsets if dataset.factor(subset) != 1]:
        notes.append(f"Partially predictive, shown times 1 / ceiling: {', '.join(scaled)}; the file holds plain values.")
    return " ".join(notes)
