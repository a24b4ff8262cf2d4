"""The YAML that folders are known by: models of datasets and runs, read and written nowhere else."""

import difflib
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmal_cli import __version__
from mmal_cli.core import files, record
from mmal_cli.core.errors import BAD_DATA, WRONG_USE, UserError

FORMAT = 1
NAME = r"^[A-Za-z0-9_-]+$"  # names become parts of paths
RESERVED = "reserved for validation"  # in counts.train of a dataset that has such samples
UNLABELLED = "unlabelled"  # the split of samples whose label nobody has said; it is -1 in their shards
SHOWN = 60  # characters of what was found that a message shows
T = TypeVar("T", bound=BaseModel)


class Strict(BaseModel):
    """A frozen value that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(Strict):
    """One named input: `shape` is that of one sample, `dtype` that of the bytes on disk.

    Tokens have shape (2, L), row 0 the ids, row 1 the mask (1 real, 0 padding); `vocabulary` is the id of the tokenizer's.
    """

    name: str = Field(pattern=NAME)
    kind: Literal["image", "vector", "series", "tokens"]
    shape: tuple[int, ...]
    dtype: str
    vocabulary: str | None = None


class Shard(Strict):
    """One HDF5 file of a split."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]+\.h5$")
    samples: int
    sha256: str


class SplitFiles(Strict):
    """The shards of a split, in order."""

    samples: int
    shards: list[Shard]


class Manifest(Strict):
    """The head that all manifests share. A subclass names its `kind` and the command that makes it."""

    format: int = FORMAT
    kind: str
    id: str

    @classmethod
    def read(cls, path: Path, helps: str = "") -> Self:
        """Reads and checks a manifest; `helps` is the command that would make it."""
        raw = files.read_yaml(path, helps)
        kind = cls.model_fields["kind"].default
        if not isinstance(raw, dict) or raw.get("kind") != kind:
            found = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
            raise UserError(f"{path} holds {found!r}, expected kind {kind!r}", BAD_DATA)
        if raw.get("format") != FORMAT:
            raise UserError(
                f"{path} has format {raw.get('format')!r}, this mmal {__version__} reads format {FORMAT}; "
                "make it again, or use the mmal that wrote it",
                BAD_DATA,
            )
        return check(cls, raw, str(path), BAD_DATA)

    def write(self, path: Path) -> None:
        """Writes the manifest whole; by then everything that it speaks of is on disk."""
        files.write_text(path, files.dump_yaml(self.model_dump(mode="json", exclude_none=True)))


class Dataset(Manifest):
    """`dataset.yaml`: what a dataset folder holds. Its existence means that the folder is complete."""

    kind: Literal["dataset"] = "dataset"
    name: str = Field(pattern=NAME)
    recipe: dict[str, Any]
    modalities: list[Modality]
    classes: int
    class_names: list[str]
    targets: list[str]
    ceiling: dict[str, float] = {}
    weak: str | None = None
    splits: dict[str, SplitFiles]
    counts: dict[str, Any]
    notes: list[str] = []
    made: dict[str, Any]
    restricted: bool = False

    @classmethod
    def read(cls, path: Path, helps: str = "") -> Self:
        """Reads a manifest and checks that it agrees with itself."""
        found = super().read(path, helps)
        if wrong := found._contradiction():
            raise UserError(f"{path}: {wrong}; undo that edit{found.again(path.parent, force=True)}", BAD_DATA)
        return found

    def again(self, folder: Path, force: bool = False) -> str:
        """How to make the folder again, as the end of a message; `force` where its manifest is wrong, not its shards."""
        if not (command := self.made.get("command")):
            return ""
        words = f"make it again: {command} --out {folder}"
        return f"; or {words} --force" if force else f"; {words}"

    def _contradiction(self) -> str | None:
        names = [modality.name for modality in self.modalities]
        if not names or len(set(names)) < len(names):
            return f"modalities are {names}, expected one or more, all different"
        if len(self.class_names) != self.classes:
            return f"class_names has {len(self.class_names)} names, expected {self.classes} as classes says"
        if self.weak not in (None, *names):
            return f"weak is {self.weak!r}, expected one of {', '.join(names)}"
        if not {"train", "test"} <= self.splits.keys():
            return f"splits are {list(self.splits)}, expected train and test"
        for name, split in self.splits.items():
            if split.samples != (inside := sum(shard.samples for shard in split.shards)):
                return f"splits.{name}.samples is {split.samples}, expected {inside}, the sum of its shards"
        return None


class Asked(Strict):
    """What a query was, counted: `present` and `pool_present` by the modalities that samples have (`a+b`; `none`).

    The pool is that before the query; `classes` counts the true labels of what was asked, class by class.
    """

    present: dict[str, int]
    pool_present: dict[str, int]
    classes: list[int]


class Cycle(Strict):
    """One finished cycle as run.yaml shows it; `metrics` is subset -> metric -> value. The last one asks nothing."""

    number: int
    labels: int
    best_epoch: int
    validation: dict[str, float]
    metrics: dict[str, dict[str, float]]
    seconds: dict[str, float]
    peak_memory_mb: float
    asked: Asked | None = None  # records of an older mmal have none either
    deterministic: bool | None = None  # True where that was asked for


class Run(Manifest):
    """`run.yaml`: one finished run; tables are made from it alone."""

    kind: Literal["run"] = "run"
    config: dict[str, Any]
    inputs: dict[str, Any]
    cycles: list[Cycle]
    made: dict[str, Any]

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if wrong := record.contradiction(self.config, self.inputs, self.made):
            raise ValueError(wrong)
        return self


def check(model: type[T], raw: Any, place: str, code: int = WRONG_USE) -> T:
    """Validates `raw` against a model; the error names the first wrong key, its nearest known name and the place."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{place}: {explain(error, model)}", code) from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first thing that is wrong."""
    # that a key is misspelt comes before that the right one is missing
    misspelt = (one for one in error.errors() if one["type"] == "extra_forbidden" and len(one["loc"]) == 1)
    first, keys = next(misspelt, error.errors()[0]), {(key,) for key in _keys(model)}
    branches = [one for one in error.errors() if one["loc"][:-1] == first["loc"][:-1] and one["loc"][-1:] not in keys]
    if len(branches) > 1 and first in branches:  # of one value that may be of several kinds
        said = list(dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in branches))
        first = first | {"loc": first["loc"][:-1], "msg": " or: ".join(said)}
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        last = str(first["loc"][-1])
        near = difflib.get_close_matches(last, sorted(_keys(model) - {last}), n=1)  # it may be right in another place
        return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    said = "expected keys and values" if first["type"] == "model_type" else first["msg"].removeprefix("Value error, ")
    of_all = first["type"] == "value_error" and not where  # a whole manifest is not shown
    found = "" if first["type"] == "missing" or of_all else f" (found {_shown(first['input'])})"
    return (f"{where}: " if where else "") + said + found


def _shown(value: Any) -> str:
    """The value, or its type where the value would fill a page."""
    text = repr(value)
    return type(value).__name__ if isinstance(value, dict | list) or len(text) > SHOWN else text


def _keys(model: type[BaseModel]) -> set[str]:
    """All key names of a model and of the models inside it."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= _keys(inner)
    return found


def made(started: float, command: str, packages: tuple[str, ...]) -> dict[str, Any]:
    """How something was made: versions, the command as typed (with the paths it names), seconds; never a host name."""
    return {
        "mmal": __version__,
        "command": command,
        "seconds": round(time.monotonic() - started, 1),
        "versions": {name: _version(name) for name in packages},
    } | _commit()


def _commit() -> dict[str, str]:
    """The commit of mmal's own checkout, with a + if its code was changed since; nothing for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or not shutil.which("git"):
        return {}
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "mmal_cli", "data_recipes"], capture_output=True, check=False
    )
    return {"commit": head.stdout.strip() + ("+" if changed.returncode else "")} if head.returncode == 0 else {}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
