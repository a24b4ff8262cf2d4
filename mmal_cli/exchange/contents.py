"""What a zip of runs holds: run folders below `runs/`, models below `weights/`, and `export.yaml`, a list with every sha256."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mmal_cli.core.manifest import Manifest, Strict
from mmal_cli.core.running import RECORD

METRIC = "balanced_accuracy"  # that runs must have to stand in tables
EXPORT = "export.yaml"
ROOT, WEIGHTS = "runs", "weights"
SUFFIX = ".safetensors"
PART = r"[A-Za-z0-9_+-][A-Za-z0-9_.+ -]*"  # of a path: no .., nothing hidden, no separator
FOLDER = rf"^{PART}/{PART}/{PART}/seed-[0-9]+$"


class Packed(Strict):
    """One file."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Member(Packed):
    """One file of a run's folder."""

    file: str = Field(pattern=r"^(run\.yaml|cycle-[0-9]{2,}\.h5)$")


class Weights(Packed):
    """The first cycle's model of a run, `run` its folder, and of others beside it."""

    file: str = Field(pattern=rf"^[0-9a-f]{{12}}\{SUFFIX}$")
    run: str = Field(pattern=FOLDER)

    @property
    def folder(self) -> str:
        """`<dataset>/<regime>`."""
        return "/".join(self.run.split("/")[:2])

    @property
    def name(self) -> str:
        """In the zip."""
        return f"{WEIGHTS}/{self.folder}/{self.file}"


class Exported(Strict):
    """One run; `folder` is that below all runs, the record the last of its files."""

    folder: str = Field(pattern=FOLDER)
    id: str
    restricted: bool = False
    files: list[Member]

    @model_validator(mode="after")
    def _record_is_last(self) -> Self:
        names = [member.file for member in self.files]
        if names[-1:] != [RECORD] or len(set(names)) < len(names):
            raise ValueError(f"{self.folder} has files {names}, expected each once and {RECORD} last")
        return self

    def name(self, member: Member) -> str:
        """Of a file, in the zip."""
        return f"{ROOT}/{self.folder}/{member.file}"


class Export(Manifest):
    """`export.yaml`, written last; it says nothing of where, when and by whom."""

    kind: Literal["export"] = "export"
    mmal: str
    runs: list[Exported] = Field(min_length=1)
    weights: list[Weights] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        folders, models = [run.folder for run in self.runs], self.weights or []
        for what, names in (("runs", folders), ("weights", [model.name for model in models])):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} name one twice")
        if strange := {model.run for model in models} - set(folders):
            raise ValueError(f"weights name {min(strange)}, which is not among the runs")
        return self
