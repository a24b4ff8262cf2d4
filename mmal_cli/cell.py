"""One cell of a grid: a dataset, a query method, a regime and a seed with their settings; its identity and its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mmal_cli.core import files, plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Run
from mmal_cli.core.paradigms import ST
from mmal_cli.core.place import Place
from mmal_cli.core.pretrained import RECORD, Pretrained
from mmal_cli.core.protocol import Model, Settings

# Of settings.train, what came after the first records: left out where it is as it was then, so that these keep their identity.
LATER = {"schedule": "cosine", "class_weights": False, "checkpoint": "best"}
_sha256 = cache(files.sha256)  # once for all cells of a process


class Refused(UserError):
    """A run's folder holds another configuration."""


@dataclass(frozen=True)
class Cell:
    """One cell: everything that a run's numbers depend on, but the device and the number of threads."""

    dataset: Dataset
    qm: str
    regime: str
    seed: int
    settings: Settings

    @cached_property
    def content(self) -> dict[str, Any]:
        """What run.yaml shows and the identity hashes; pretrained weights and files of the user's own by sha256, no paths."""
        settings = self.settings.model_dump(mode="json")
        model, train, paradigm = settings["model"], settings["train"], self.settings.paradigm
        if not settings["shrink"]:
            del settings["shrink"]
        for key in [key for key, value in LATER.items() if train[key] == value]:
            del train[key]
        if not train["fixmatch"]["enabled"]:
            del train["fixmatch"]
        if folder := model.pop("start"):
            model["start"] = _begun_with(Path(folder))
        named = {"qm": self.qm, "fusion": model["fusion"]} | {f"encoders.{k}": v for k, v in model["encoders"].items()}
        model["fusion"] = plugins.label(model["fusion"])
        model["encoders"] = {key: plugins.label(name) for key, name in model["encoders"].items()}
        weights = pretrained(self.settings.model)
        for key in weights:
            _forget_folder(model["encoder_options"], model["encoders"][key])
        content = {
            "dataset": self.dataset.name,
            "qm": plugins.label(self.qm),
            "regime": self.regime,
            "seed": self.seed,
            "moddrop": self.settings.train.moddrop.enabled,
            "settings": settings,
            "own_files": {role: plugins.fingerprint(name) for role, name in named.items() if name.endswith(".py")},
        }
        return content | ({"weights": weights} if weights else {}) | ({"paradigm": paradigm} if paradigm != ST else {})

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
                **({"restricted": True} if d.restricted else {}),
            }
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Equal for equal runs."""
        return {"config": self.content, "dataset_id": self.dataset.id}

    def folder(self, out: Path) -> Path:
        """`<out>/<dataset>/<regime>/<qm>[-<paradigm>][-nomoddrop]/seed-<k>`."""
        return out / self.place.folder / f"seed-{self.seed}"

    @property
    def place(self) -> Place:
        """In the grid."""
        settings = self.settings
        return Place(
            dataset=self.dataset.name,
            regime=self.regime,
            paradigm=settings.paradigm,
            moddrop=settings.train.moddrop.enabled,
            qm=plugins.label(self.qm),
            seed=self.seed,
        )


def identity_of(run: Run) -> dict[str, Any]:
    """Of a finished run: equal to `Cell.identity` if it is of that cell and made with its settings."""
    return {"config": run.config, "dataset_id": run.inputs.get("dataset", {}).get("id")}


def must_be_of(cell: Cell, place: Path, found: Mapping[str, Any]) -> None:
    """Raises Refused where the identity found at a place is not the cell's; names what differs."""
    if said := files.difference(place, found, cell.identity):
        raise Refused(f"{said}; choose another --out, or remove that run's folder")


def pretrained(model: Model) -> dict[str, dict[str, str]]:
    """sha256 of the files that encoders start from, by their key in model.encoders; nothing for those that start random."""
    found = {}
    for key, name in model.encoders.items():
        module = plugins.load("encoders", name, "encoder", must_have="Encoder")
        if hasattr(module, "pretrained"):
            options = model.encoder_options.get(plugins.label(name), {})
            try:
                found[key] = {part: _sha256(path.resolve()) for part, path in module.pretrained(**options).items()}
            except TypeError as error:
                raise UserError(f"{name}: {error} (options: {options})") from error
    return found


def _begun_with(folder: Path) -> dict[str, str]:
    """sha256 of the weights of a folder of `mmal pretrain`, by modality."""
    return {name: one.sha256 for name, one in Pretrained.read(folder / RECORD).modalities.items()}


def _forget_folder(options: dict[str, dict[str, Any]], encoder: str) -> None:
    """Takes away where pretrained weights lie: their sha256 says which they are."""
    left = {key: value for key, value in options.pop(encoder, {}).items() if key != "folder"}
    if left:
        options[encoder] = left
