"""What the runs cost, and how the page and the runs were made; no host, no user, no path."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from mmal_cli.core.manifest import Run
from mmal_cli.report.gather import Material, Variant
from mmal_cli.report.markup import EMPTY, Row, number, paragraph, section, table

PARTS = ("train", "test", "query")


def costs(material: Material) -> str:
    """Seconds of each part, trainings, peak memory, devices; a table for each dataset and variant."""
    lead = paragraph(
        "Of one run, mean over seeds. Not counted is the first cycle's training: its model is trained once for all methods "
        "with the same dropout, and the others read it. Peak memory is the device's, of the largest cycle of all seeds."
    )
    return section("costs", "Costs", lead, *(_table(variant) for variant in material.variants))


def _table(variant: Variant) -> str:
    groups: dict[str, list[Row]] = {regime: [] for regime in variant.regimes}
    first = dict.fromkeys(variant.regimes, 0.0)
    for row in variant.rows:
        runs = [variant.runs[row.regime, row.qm, seed] for seed in row.seeds]
        parts = [_seconds(runs, part) for part in PARTS]
        known = [value for value in parts if value is not None]
        memory = max(cycle.peak_memory_mb for run in runs for cycle in run.cycles)
        cells = [number(value, "z,.1f") for value in (*parts, sum(known) if known else None)]
        devices = ", ".join(sorted({str(run.made["device"]) for run in runs if "device" in run.made}))
        groups[row.regime].append([row.qm, number(row.cycles - 1, "d"), *cells, number(memory, ",.0f"), devices])
        first[row.regime] += sum(run.cycles[0].seconds.get("train", 0.0) for run in runs)
    columns = ["method", "trainings", *(f"{part}, s" for part in PARTS), "all, s", "peak memory, MB", "device"]
    shared = ", ".join(f"{regime} {seconds:,.1f} s" for regime, seconds in first.items())
    foot = [f"First cycle's training, all runs together: {shared}."]
    return table(f"Costs of {variant.title}", columns, groups, foot)


def _seconds(runs: Sequence[Run], part: str) -> float | None:
    """Of a run, mean over runs, without the first cycle's training; None where no record has this part."""
    if not any(part in cycle.seconds for run in runs for cycle in run.cycles):
        return None
    return fmean(sum(cycle.seconds.get(part, 0.0) for cycle in run.cycles[part == "train" :]) for run in runs)


def made(material: Material, info: Mapping[str, Any]) -> str:
    """Command and versions of the page, and those of the runs, each once."""
    runs = [run for variant in material.variants for run in variant.runs.values()]
    counts: dict[tuple[str, ...], int] = {}
    for run in runs:
        versions = ", ".join(f"{name} {found}" for name, found in sorted(run.made.get("versions", {}).items()))
        keys = (f"mmal {run.made.get('mmal', 'unknown')}", run.made.get("commit", ""), versions, run.made.get("device", ""))
        counts[keys] = counts.get(keys, 0) + 1
    rows: list[Row] = [[*(text or EMPTY for text in keys), number(count, "d")] for keys, count in sorted(counts.items())]
    versions = ", ".join(f"{name} {found}" for name, found in info["versions"].items())
    commit = f", commit {info['commit']}" if "commit" in info else ""
    return section(
        "made",
        "How it was made",
        paragraph(f"This page: {info['command']}, mmal {info['mmal']}{commit}, {versions}."),
        table("Versions that made the runs", ["mmal", "commit", "versions", "device", "runs"], {"": rows}),
        paragraph("What is measured, and what the paper leaves open, stands in docs/protocol.md of mmal."),
    )
