"""Finished runs that nobody trained: run.yaml as al-run writes it, with curves that a test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmal_cli.core.manifest import Cycle, Run
from mmal_cli.core.place import Place

CEILING = {"a": 0.1, "b": 0.1, "a+b": 1.0}


def record(
    curves: Mapping[str, Sequence[float]],
    dataset: str = "share",
    qm: str = "random",
    regime: str = "low",
    seed: int = 0,
    moddrop: bool = True,
    settings: Mapping | None = None,
    weak: str | None = "b",
    ceiling: Mapping[str, float] | None = None,
    data_id: str = "0123456789ab",
    command: str = "",
    paradigm: str = "st",
    sha256: str | None = None,
) -> Run:
    """A record; curves: subset -> balanced accuracy per cycle (accuracy is half of it)."""
    cycles = [
        Cycle(
            number=number,
            labels=50 * (number + 1),
            best_epoch=1,
            validation={"balanced_accuracy": 0.5},
            metrics={
                s: {"balanced_accuracy": c[number], "accuracy": c[number] / 2, "nll": 1.0, "ece": 0.1}
                for s, c in curves.items()
            },
            seconds={"train": 1.0},
            peak_memory_mb=1.0,
        )
        for number in range(len(next(iter(curves.values()))))
    ]
    read = {
        "name": dataset,
        "id": data_id,
        "classes": 10,
        "modalities": ["a", "b"],
        "weak": weak,
        "ceiling": dict(ceiling or {}),
    }
    if weak is None:
        del read["weak"]
    return Run(
        id=f"{seed:012x}",
        config={
            "dataset": dataset,
            "qm": qm,
            "regime": regime,
            "seed": seed,
            "moddrop": moddrop,
            "settings": dict(settings or {"train": {"lr": 0.1}}),
            "own_files": {"qm": sha256} if sha256 else {},
        }
        | ({} if paradigm == "st" else {"paradigm": paradigm}),
        inputs={"dataset": read},
        cycles=cycles,
        made={"command": command or f"mmal al-run --data data/{dataset} --qm {qm} --regime {regime} --seed {seed}"},
    )


def folder_of(root: Path, run: Run) -> Path:
    """Of a run, below `root`."""
    place = Place.model_validate(run.config)
    return root / place.folder / f"seed-{place.seed}"


def write(root: Path, *runs: Run) -> None:
    """Writes run folders."""
    for run in runs:
        run.write(folder_of(root, run) / "run.yaml")


def grid(scores: Mapping[tuple[str, str, bool], Mapping[str, Sequence[float]]], **more) -> list[Run]:
    """Runs of (dataset, regime, moddrop) -> qm -> aulc of the weak modality for seeds 0, 1, ...; each curve has two points."""
    return [
        record({"a": [0.5, 0.5], "b": [0.0, 2 * score]}, dataset, qm, regime, seed, moddrop, **more)
        for (dataset, regime, moddrop), methods in scores.items()
        for qm, values in methods.items()
        for seed, score in enumerate(values)
    ]


def words(text: str) -> str:
    """The text without its layout."""
    return " ".join(text.split())
