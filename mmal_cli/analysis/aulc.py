"""Areas under learning curves, per run and over seeds; the x axis is the cycle, with unit spacing."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError, unknown
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.place import Place
from mmal_cli.core.tables import AulcRow, DatasetRead, Measures, Spread, TableDataset

START = "model.start"  # the encoders that a run began with: each seed may have its own


def aulc(curve: Sequence[float]) -> float:
    """Trapezoid over the N measured points, range [0, N - 1] for values in [0, 1]; 0 for a single point.

    The paper's tables hold this (docs/protocol.md, "AULC"); its text puts a zero first, see `aulc_from_zero`.
    fsum, so that curves with the same points in another order tie exactly when they should.
    """
    return math.fsum([curve[0] / 2, *curve[1:-1], curve[-1] / 2]) if len(curve) > 1 else 0.0


def aulc_from_zero(curve: Sequence[float]) -> float:
    """The same with ACC(0) = 0 put first, range [0, N - 1/2]: the formula of the paper's text."""
    return aulc([0.0, *curve])


def aubc(curve: Sequence[float]) -> float | None:
    """aulc / (N - 1), in [0, 1] (Lueth et al. 2023); None for a single point, which spans no interval."""
    return aulc(curve) / (len(curve) - 1) if len(curve) > 1 else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (ddof 1; None for one value)."""
    return Spread(mean=fmean(values), sd=stdev(values) if len(values) > 1 else None, values=list(values))


def measures(curves: Sequence[Sequence[float]]) -> Measures:
    """The three areas over seeds, and the curves themselves: one for each seed, all of the same length."""
    single = len(curves[0]) == 1

    def over_seeds(area: Callable[[Sequence[float]], float]) -> Spread:
        return spread([area(curve) for curve in curves])

    return Measures(
        aulc=over_seeds(aulc),
        aulc_from_zero=over_seeds(aulc_from_zero),
        aubc=None if single else over_seeds(aubc),
        curves=curves,
    )


def rows(records: Mapping[str, Run], metric: str) -> list[AulcRow]:
    """One row for each (dataset, regime, moddrop, qm), seeds in order.

    Args:
        records: place (the run's folder, for messages) -> record.
        metric: a key of each subset's metrics, for example balanced_accuracy.

    Raises:
        UserError: runs of one row differ in more than the seed, or share the seed; a metric is missing or not finite.
    """
    groups: dict[tuple, list[tuple[int, str]]] = defaultdict(list)
    for name, run in records.items():
        place = check(Place, run.config, f"{name} config", BAD_DATA)
        groups[place.row].append((place.seed, name))
    return [_row([name for _, name in sorted(groups[key])], records, metric) for key in sorted(groups)]


def _row(names: Sequence[str], records: Mapping[str, Run], metric: str) -> AulcRow:
    """One row of the runs with these names, in the order of their seeds."""
    first = records[names[0]]
    for earlier, name in itertools.pairwise(names):
        _must_belong_together(earlier, records[earlier], name, records[name])
    curves = {name: _curves(name, records[name], metric) for name in names}
    place = Place.model_validate(first.config)
    return AulcRow(
        **place.model_dump(exclude={"seed"}),
        cycles=len(first.cycles),
        labels=[cycle.labels for cycle in first.cycles],
        seeds=[records[name].config["seed"] for name in names],
        runs=[records[name].id for name in names],
        qm_sha256=first.config.get("own_files", {}).get("qm"),
        command=first.made.get("command"),
        subsets={subset: measures([curves[name][subset] for name in names]) for subset in curves[names[0]]},
    )


def _must_belong_together(a: str, run_a: Run, b: str, run_b: Run) -> None:
    """Refuses to average runs that differ in more than the seed."""
    if run_a.config["seed"] == run_b.config["seed"]:
        helps = "leave one of them out, or tell them apart by a setting: --by KEY of mmal aulc and mmal report"
        raise UserError(f"{a} and {b} are the same cell (seed {run_a.config['seed']}); {helps}", BAD_DATA)
    helps = f"it cannot be averaged with {a}; run one of them again with the settings of the other, or keep them apart"
    files.must_match(Path(b), _comparable(run_b), _comparable(run_a), helps)


def _comparable(run: Run) -> dict[str, Any]:
    """What must be the same for all seeds of a row; the encoders that a run began with may be its seed's own."""
    config = {key: value for key, value in run.config.items() if key != "seed"}
    settings = dict(config.get("settings", {}))
    if "start" in settings.get("model", {}):
        settings["model"] = settings["model"] | {"start": sorted(settings["model"]["start"])}
    return (
        config
        | {"settings": settings}
        | {
            "inputs": run.inputs,
            "cycles": len(run.cycles),
            "labels": [cycle.labels for cycle in run.cycles],
            "subsets": sorted(run.cycles[0].metrics if run.cycles else {}),
        }
    )


def _curves(name: str, run: Run, metric: str) -> dict[str, list[float]]:
    """subset -> the metric in each cycle."""
    if not run.cycles:
        raise UserError(f"{name}/run.yaml has no cycles", BAD_DATA)
    if [cycle.number for cycle in run.cycles] != list(range(len(run.cycles))):
        raise UserError(f"{name}/run.yaml has cycles {[cycle.number for cycle in run.cycles]}, expected 0, 1, 2, ...", BAD_DATA)
    return {
        subset: [_value(name, cycle.number, cycle.metrics, subset, metric) for cycle in run.cycles]
        for subset in run.cycles[0].metrics
    }


def _value(name: str, number: int, metrics: Mapping[str, Mapping[str, float]], subset: str, metric: str) -> float:
    found = metrics.get(subset, {})
    if metric not in found:
        raise unknown(f"metric in {name}, cycle {number}, subset {subset}:", metric, found)
    if not math.isfinite(found[metric]):
        raise UserError(f"{name}: cycle {number} has {metric} {found[metric]} for subset {subset}, expected a number", BAD_DATA)
    return found[metric]


def unlike(records: Mapping[str, Run]) -> list[str]:
    """Says which methods of one block were run with other settings, query options aside: legal, but not to pass unseen."""
    first: dict[tuple, tuple[str, dict[str, Any]]] = {}
    found: dict[tuple, str] = {}
    for name, run in records.items():
        place = check(Place, run.config, f"{name} config", BAD_DATA)
        settings = files.flatten({key: value for key, value in run.config["settings"].items() if key != "query_options"})
        begun = {key: settings.pop(key) for key in [key for key in settings if key.startswith(START)]}
        for scope, own in ((place.block, settings), ((place.block, place.seed), begun)):
            other, expected = first.setdefault(scope, (name, own))
            keys = [key for key in sorted(own.keys() | expected.keys()) if own.get(key) != expected.get(key)]
            if keys:
                found.setdefault(place.row, f"{name} and {other} stand in one table, but differ in {', '.join(keys)}")
    return list(found.values())


def datasets(records: Mapping[str, Run]) -> dict[str, TableDataset]:
    """What the runs say of the datasets they read; two runs that read different content under one name are an error."""
    found: dict[str, TableDataset] = {}
    seen: dict[str, str] = {}
    for name, run in records.items():
        read = check(DatasetRead, run.inputs.get("dataset"), f"{name} inputs.dataset", BAD_DATA)
        dataset = TableDataset(**read.model_dump(exclude={"name"}))
        seen.setdefault(read.name, name)
        if found.setdefault(read.name, dataset) != dataset:
            helps = f"it read other data than {seen[read.name]}, so the two cannot stand in one table"
            files.must_match(Path(name), dataset.model_dump(), found[read.name].model_dump(), helps)
    return found
