"""`mmal aulc`: areas under the learning curves of finished runs, per run and over seeds."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import formats, show, show_stats
from mmal_cli.formats import marked

if TYPE_CHECKING:
    from mmal_cli.core.manifest import Run
    from mmal_cli.core.place import Place
    from mmal_cli.core.tables import AulcRow, AulcTable, Spread, TableDataset
    from mmal_cli.grid_runs import Picked
    from mmal_cli.runs import Runs

STAGE = 3.0
DECIMALS = 10  # as in ranks: float noise makes no method the best
Area = Literal["aulc", "aulc_from_zero", "aubc"]


def aulc(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or of some of them.", show_default=False)],
    metric: Annotated[
        Literal["balanced_accuracy", "accuracy"], typer.Option(help="Height of the curve.")
    ] = "balanced_accuracy",
    area: Annotated[Area, typer.Option(help="Which area the table shows; the file holds all three.")] = "aulc",
    by: Annotated[
        str | None, typer.Option(metavar="KEY", help="Tell runs apart by this setting too, for instance model.fusion.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Only the cells of this grid; those not run stay empty.")
    ] = None,
    scale: Annotated[Literal["paper", "quick"], typer.Option(help="Of the grid, as in sweep.")] = "paper",
    data_root: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the grid's datasets lie, which tell its settings.")
    ] = Path("data"),
    out: Annotated[Path, typer.Option(help="Where the table is written.")] = Path("results/aulc.yaml"),
    format: show.Format = "rich",
    json: Annotated[bool, typer.Option("--json", help="The file's content: --format json.")] = False,
) -> None:
    """Measure areas under learning curves: mean and sd over seeds, per modality subset.

    aulc: trapezoid over the N measured cycles, range [0, N-1].
    aulc_from_zero: with a zero put first. aubc: aulc / (N-1).
    The file holds plain values; the shown table says what is times ten.
    """
    import time

    from mmal_cli.analysis import apart
    from mmal_cli.analysis import aulc as areas
    from mmal_cli.core import tables
    from mmal_cli.core.errors import UserError
    from mmal_cli.runs import find

    started = time.monotonic()
    if by and grid:
        raise UserError("--by tells apart what a grid takes for one cell; give --by KEY or --grid NAME")
    found = find(runs)
    _name_unfinished(found)
    found.need_one(runs)
    picked = _of_grid(found, runs, grid, scale, data_root) if grid else None
    records = picked.runs if picked else {str(folder): run for folder, run in found.finished.items()}
    records = apart.by(records, by) if by else records
    options = {"--by": by, "--grid": grid} | ({"--scale": scale, "--data-root": data_root} if grid else {})
    words = [str(word) for pair in options.items() if pair[1] for word in pair]
    table = _table(runs, records, metric, words, started, picked)
    for warning in areas.unlike(records):
        show.note(f"warning: {warning}")
    tables.save(table, out)
    show.note(f"{out} written")
    _print(table, area, len(found.unfinished), picked.wanted if picked else [], "json" if json else format)


def _table(
    runs: Path, records: Mapping[str, Run], metric: str, words: Sequence[str], started: float, picked: Picked | None
) -> AulcTable:
    """The content of `aulc.yaml`; `words` are the options that say which runs, and how they are told apart."""
    from mmal_cli.analysis import aulc as areas
    from mmal_cli.core import files, manifest, tables
    from mmal_cli.core.errors import BAD_DATA

    identity = {"kind": "aulc", "metric": metric, "runs": sorted(run.id for run in records.values())}
    identity |= {"by": words[1]} if words[:1] == ["--by"] else {}
    command = shlex.join(["mmal", "aulc", str(runs), "--metric", metric, *words])
    content = {
        "id": files.identity(identity),
        "metric": metric,
        "datasets": areas.datasets(records),
        "rows": areas.rows(records, metric),
        "made": manifest.made(started, command, ()) | ({"not_run": picked.not_run} if picked else {}),
    }
    return manifest.check(tables.AulcTable, content, str(runs), BAD_DATA)


def _of_grid(found: Runs, runs: Path, name: str, scale: Literal["paper", "quick"], root: Path) -> Picked:
    """The grid's runs; those that are none though they lie in their place are named on stderr."""
    from mmal_cli.core import grid
    from mmal_cli.core.errors import BAD_DATA, UserError
    from mmal_cli.grid_runs import pick

    picked = pick(found.finished, grid.load(name, scale), root)
    for why in picked.others.values():
        show.note(f"left out: {why}")
    for folder in picked.unknown:
        show.note(f"{folder} is not there: the settings of its runs are not compared with the grid's (--data-root)")
    if not picked.runs:
        raise UserError(f"{runs} holds no finished run of grid {name}; run it: mmal sweep {name} --scale {scale}", BAD_DATA)
    return picked


def _name_unfinished(found: Runs) -> None:
    """Says on stderr what is left out and how to go on with it."""
    from mmal_cli.runs import resume

    for folder in found.unfinished:
        helps = resume(folder, found.finished)
        show.note(f"{folder} is not finished and left out" + (f"; go on by: {helps}" if helps else ""))


def _print(table: AulcTable, area: Area, unfinished: int, wanted: Sequence[Place], format: show.FormatName) -> None:
    if format in ("csv", "json") and (not_run := sum(len(row["seeds"]) for row in table.made.get("not_run", []))):
        show.note(f"{not_run} of the grid's {len(wanted)} cells have not run")
    if format == "json":
        from json import dumps

        from mmal_cli.core.tables import content

        show.result(dumps(content(table), indent=2))
    elif format == "csv":
        columns, *lines = formats.areas(table, area)
        show.table("", columns, lines, format="csv")
    else:
        variants = {row.variant: row for row in table.rows}
        for variant, row in variants.items():
            rows = [row for row in table.rows if row.variant == variant]
            own = [place for place in wanted if place.variant == variant]
            _print_one(rows, table.datasets[row.dataset], area, table.metric, own, format)
        for title, cells in Counter(place.title for place in wanted if place.variant not in variants).items():
            show.paragraph(f"{title}: none of its {cells} cells has run.", format)
        if unfinished:
            said = f"{unfinished} unfinished {'run' if unfinished == 1 else 'runs'} left out (named on stderr)."
            show.paragraph(said, format)


def _print_one(
    rows: Sequence[AulcRow],
    dataset: TableDataset,
    area: Area,
    metric: str,
    wanted: Sequence[Place],
    format: show.FormatName,
) -> None:
    """The table of one variant; cells of the grid that have not run are empty and counted."""
    from mmal_cli.core import own_files

    subsets = list(dict.fromkeys(subset for row in rows for subset in row.subsets))
    title = f"{rows[0].title}: {area} of {metric.replace('_', ' ')}"
    head = ["regime", "qm", "seeds", *(_head(subset, dataset) for subset in subsets)]
    foot = [_foot(rows, subsets, dataset, area), _smallest(rows, subsets, dataset, area), own_files.foot(own_files.of(rows))]
    not_run = len(wanted) - sum(len(row.seeds) for row in rows)
    if wanted and not_run:
        foot.append(f"{not_run} of the grid's {len(wanted)} cells have not run.")
    lines = list(_lines(rows, subsets, dataset, area, [(place.regime, place.qm) for place in wanted]))
    show.table(f"{title}, mean ± sd", head, lines, "\n".join(filter(None, foot)), left=2, format=format)
    if format == "rich":
        show.result("")


def _head(subset: str, dataset: TableDataset) -> str:
    factor = dataset.factor(subset)
    text = subset + (" (weak)" if subset == dataset.weak else "") + (f" x{factor:.3g}" if factor != 1 else "")
    return marked(text, italic=subset == dataset.weak)


def _lines(
    rows: Sequence[AulcRow], subsets: Sequence[str], dataset: TableDataset, area: Area, wanted: Sequence[tuple[str, str]]
) -> Iterator[list[str]]:
    """The table's rows, with an empty line between regimes and their names said once; a regime's best is bold."""
    from mmal_cli.core.place import regime_order

    last = None
    best = {(regime, subset): _best(rows, regime, subset, area) for regime in {r.regime for r in rows} for subset in subsets}
    found = {(row.regime, row.qm): row for row in rows}
    for regime, qm in sorted({*found, *wanted}, key=lambda key: (regime_order(key[0]), key[1])):
        if last not in (None, regime):
            yield [""] * (3 + len(subsets))
        said, last = "" if regime == last else regime, regime
        row = found.get((regime, qm))
        cells = [""] * len(subsets)
        for number, subset in enumerate(subsets if row else ()):
            of = getattr(row.subsets[subset], area) if subset in row.subsets else None
            is_best = of is not None and round(of.mean, DECIMALS) == best[regime, subset]
            cells[number] = marked(_spread(of, dataset.factor(subset)), is_best, subset == dataset.weak)
        yield [said, qm, str(len(row.seeds) if row else 0), *cells]


def _best(rows: Sequence[AulcRow], regime: str, subset: str, area: Area) -> float | None:
    """The highest mean of a regime's methods; None where there is no choice."""
    found = [getattr(row.subsets[subset], area) for row in rows if row.regime == regime and subset in row.subsets]
    means = [round(spread.mean, DECIMALS) for spread in found if spread is not None]
    return max(means) if len(means) > 1 else None


def _spread(found: Spread | None, factor: float) -> str:
    """`5.87 ± 1.77`; dashes for what is not defined (the sd of one seed, the aubc of one cycle)."""
    if found is None:
        return "-"
    sd = f"{'-':<4}" if found.sd is None else f"{found.sd * factor:.2f}"
    return f"{found.mean * factor:.2f} ± {sd}"


def _foot(rows: Sequence[AulcRow], subsets: Sequence[str], dataset: TableDataset, area: Area) -> str:
    """What one must know to read the numbers: the range, and what is shown times something."""
    cycles = sorted({row.cycles for row in rows if row.cycles})
    tops = dict.fromkeys(_top(number, area) for number in cycles)
    notes = [f"Range 0 to {' or '.join(f'{top:g}' for top in tops)} (cycles: {' or '.join(map(str, cycles))})."]
    if scaled := [f"{subset} x{dataset.factor(subset):.3g}" for subset in subsets if dataset.factor(subset) != 1]:
        notes.append(f"Partially predictive, shown times 1 / ceiling: {', '.join(scaled)}; the file holds plain values.")
    return " ".join(notes)


def _smallest(rows: Sequence[AulcRow], subsets: Sequence[str], dataset: TableDataset, area: Area) -> str:
    """The smallest difference that the seeds can show, of the weak modality or else of every subset, as the table shows it."""
    from mmal_cli.analysis.power import paired, smallest_difference

    found = {}
    for regime in dict.fromkeys(row.regime for row in rows):
        for subset in [dataset.weak] if dataset.weak in subsets else subsets:
            of = {row.qm: row.subsets.get(subset) for row in rows if row.regime == regime}
            spreads = {qm: getattr(areas, area) for qm, areas in of.items() if areas}
            if not all(spreads.values()) or len(spreads) < len(of):
                continue
            seeds = {row.qm: row.seeds for row in rows if row.regime == regime}
            scores = paired({qm: dict(zip(seeds[qm], spread.values, strict=True)) for qm, spread in spreads.items()})
            value = smallest_difference(scores)
            value = None if value is None else value * dataset.factor(subset)
            found[f"{regime} {subset}"] = show_stats.Smallest(value, len(scores), _top(max(row.cycles for row in rows), area))
    return show_stats.smallest(found)


def _top(cycles: int, area: Area) -> float:
    """The end of an area's range."""
    return {"aulc": cycles - 1, "aulc_from_zero": cycles - 0.5, "aubc": 1}[area]
