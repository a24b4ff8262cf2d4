"""One cell of a grid: a dataset, a query method, a regime and a seed with their settings; its identity and its folder."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmal_cli.core import plugins
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.settings import Settings


@dataclass(frozen=True)
class Cell:
    """One cell: everything that a run's numbers depend on, but the device."""

    dataset: Dataset
    qm: str
    regime: str
    seed: int
    settings: Settings

    @cached_property
    def content(self) -> dict[str, Any]:
        """What run.yaml shows and the identity hashes; files of the user's own by name and sha256, no paths."""
        settings = self.settings.model_dump(mode="json")
        model = settings["model"]
        named = {"qm": self.qm, "fusion": model["fusion"]} | {f"encoders.{k}": v for k, v in model["encoders"].items()}
        model["fusion"] = plugins.label(model["fusion"])
        model["encoders"] = {key: plugins.label(name) for key, name in model["encoders"].items()}
        return {
            "dataset": self.dataset.name,
            "qm": plugins.label(self.qm),
            "regime": self.regime,
            "seed": self.seed,
            "moddrop": self.settings.train.moddrop.enabled,
            "settings": settings,
            "own_files": {role: plugins.fingerprint(name) for role, name in named.items() if name.endswith(".py")},
        }

    @property
    def inputs(self) -> dict[str, Any]:
        """What was read: enough of the dataset that tables need no other file."""
        d = self.dataset
        return {
            "dataset": {
                "name": d.name,
                "id": d.id,
                "classes": d.classes,
                "modalities": [m.name for m in d.modalities],
                "weak": d.weak,
                "ceiling": d.ceiling,
            }
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Equal for equal runs."""
        return {"config": self.content, "dataset_id": self.dataset.id}

    def folder(self, out: Path) -> Path:
        """`<out>/<dataset>/<regime>/<qm>[-nomoddrop]/seed-<k>`."""
        suffix = "" if self.settings.train.moddrop.enabled else "-nomoddrop"
        return out / self.dataset.name / self.regime / f"{plugins.label(self.qm)}{suffix}" / f"seed-{self.seed}"
