"""Datasets on disk: HDF5 shards written as they are made and read a split at a time; the only module that knows h5py."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset, Modality, Shard, SplitFiles, made

SHARD_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Samples:
    """Some samples in memory.

    Attributes:
        inputs: modality -> (n, *shape), bytes as on disk; zero where the modality is absent.
        present: (n, M) bool, columns in the manifest's order of modalities.
        label: (n,) int64.
        id: (n,) str.
        factors: name -> (n,) what is known of how a sample was made; may be empty.
    """

    inputs: Mapping[str, np.ndarray]
    present: np.ndarray
    label: np.ndarray
    id: np.ndarray
    factors: Mapping[str, np.ndarray]

    def columns(self) -> dict[str, np.ndarray]:
        """Name in the shard -> array."""
        return {
            **{f"inputs/{name}": array for name, array in self.inputs.items()},
            "present": self.present,
            "label": self.label,
            "id": np.char.encode(self.id, "utf-8"),
            **{f"factors/{name}": array for name, array in self.factors.items()},
        }


@dataclass(frozen=True)
class Plan:
    """A split to be made: `chunks(start, stop)` yields its samples start..stop-1 in order, a few hundred at a time."""

    samples: int
    chunks: Callable[[int, int], Iterator[Samples]]


def build(
    folder: Path,
    head: Mapping[str, Any],
    plans: Mapping[str, Plan],
    *,
    command: str,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[Dataset, bool]:
    """Makes a dataset folder, or goes on with one, or finds it done.

    Args:
        folder: where; another dataset in it is an error unless `force`.
        head: fields of `Dataset` without id, splits and made; `recipe` is the identity.
        plans: split -> how to make it.
        command: the command that makes this dataset, for messages and the manifest.
        on_progress: called with (samples done, samples in all).
        shard_bytes: a shard holds as many whole samples as fit; the samples do not depend on it.

    Returns:
        The manifest, and whether anything had to be made.
    """
    started = time.monotonic()
    identity = {"kind": "dataset", "recipe": head["recipe"]}
    manifest = folder / "dataset.yaml"
    if force:
        _clear(folder)
    if manifest.exists():
        found = Dataset.read(manifest)
        _same_recipe(folder, found.recipe, head["recipe"])
        if all(_intact(folder, shard) for split in found.splits.values() for shard in split.shards):
            return found, False
        manifest.unlink()
    total, done, splits = sum(plan.samples for plan in plans.values()), 0, {}
    modalities = [Modality.model_validate(m) for m in head["modalities"]]
    size = max(1, shard_bytes // sum(np.dtype(m.dtype).itemsize * int(np.prod(m.shape)) for m in modalities))
    for split, plan in plans.items():
        shards = []
        for number, start in enumerate(range(0, plan.samples, size)):
            path, stop = folder / f"{split}-{number:05d}.h5", min(start + size, plan.samples)
            if not _finished(path, identity, stop - start):
                chunks = plan.chunks(start, stop)
                _write(path, identity, chunks, stop - start, lambda n, base=done: on_progress(base + n, total))
            done += stop - start
            on_progress(done, total)
            shards.append(Shard(file=path.name, samples=stop - start, sha256=files.sha256(path)))
        splits[split] = SplitFiles(samples=plan.samples, shards=shards)
    packages = ("numpy", "h5py", "pillow")
    dataset = Dataset(**head, id=files.identity(identity), splits=splits, made=made(started, command, packages))
    dataset.write(manifest)
    return dataset, True


def read_split(folder: Path, dataset: Dataset, split: str) -> Samples:
    """Reads a split whole, after checking every shard against the sha256 in the manifest. Memory: the split, once."""
    import h5py

    columns: dict[str, np.ndarray] = {}
    start, count = 0, dataset.splits[split].samples
    for shard in dataset.splits[split].shards:
        check_intact(folder, shard, dataset)
        with h5py.File(folder / shard.file, "r") as file:
            for name in _names(file):
                source = file[name]
                if name not in columns:
                    columns[name] = np.empty((count, *source.shape[1:]), source.dtype)
                if shard.samples:
                    source.read_direct(columns[name], dest_sel=np.s_[start : start + shard.samples])
        start += shard.samples
    return Samples(
        inputs={m.name: columns[f"inputs/{m.name}"] for m in dataset.modalities},
        present=columns["present"],
        label=columns["label"],
        id=np.char.decode(columns["id"], "utf-8"),
        factors={name[8:]: array for name, array in columns.items() if name.startswith("factors/")},
    )


def check_intact(folder: Path, shard: Shard, dataset: Dataset) -> None:
    """Refuses a shard that is missing, truncated or edited, and says how to make it again."""
    path = folder / shard.file
    helps = f"make it again: {dataset.made['command']} --out {folder}"
    if not path.exists():
        raise UserError(f"{path} not found, {folder / 'dataset.yaml'} expects it; {helps}", BAD_DATA)
    found = files.sha256(path)
    if found != shard.sha256:
        raise UserError(
            f"{path} is damaged or edited: sha256 {found[:12]}..., the manifest has {shard.sha256[:12]}...; {helps}", BAD_DATA
        )


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Writes a small HDF5 file whole (a cycle): arrays by name, attributes as JSON."""
    import h5py

    with files.atomic(path) as part, _full_disk_is_an_os_error(), h5py.File(part, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs["mmal"] = json.dumps(attributes)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_arrays` wrote."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in _names(file)}, json.loads(file.attrs["mmal"])
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and give the same command again", BAD_DATA) from None


def _names(file) -> list[str]:
    """Paths of all arrays in a file."""
    import h5py

    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _write(path: Path, identity: Mapping[str, Any], chunks: Iterator[Samples], count: int, on_samples: Callable) -> None:
    """Streams chunks into one shard; memory is one chunk."""
    import h5py

    with files.atomic(path) as part, _full_disk_is_an_os_error(), h5py.File(part, "w") as file:
        at = 0
        for chunk in chunks:
            columns = chunk.columns()
            n = len(chunk.label)
            if at == 0:
                for name, array in columns.items():
                    file.create_dataset(name, (count, *array.shape[1:]), array.dtype)
            for name, array in columns.items():
                file[name][at : at + n] = array
            at += n
            on_samples(at)
        assert at == count, f"{path} got {at} samples instead of {count}"
        file.attrs["mmal"] = json.dumps(identity)


class _full_disk_is_an_os_error:
    """h5py reports a failed flush on closing as RuntimeError or ValueError; to us it is the disk's fault."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, RuntimeError | ValueError) and "h5" in repr(trace.tb_frame.f_globals.get("h5py", "")):
            raise OSError(None, str(error)) from error


def _finished(path: Path, identity: Mapping[str, Any], count: int) -> bool:
    """Whether a shard of an interrupted build can be kept; one of another recipe is an error."""
    if not path.exists():
        return False
    try:
        arrays = _head(path)
    except (OSError, KeyError):
        return False
    _same_recipe(path, arrays[0].get("recipe", {}), identity["recipe"])
    return arrays[1] == count


def _head(path: Path) -> tuple[dict[str, Any], int]:
    import h5py

    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["mmal"]), len(file["label"])


def _same_recipe(place: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    files.must_match(place, found, asked, "choose another --out, or --force to make it anew")


def _intact(folder: Path, shard: Shard) -> bool:
    return (folder / shard.file).exists() and files.sha256(folder / shard.file) == shard.sha256


def _clear(folder: Path) -> None:
    """Removes a dataset's own files, manifest first, and nothing else."""
    for path in [folder / "dataset.yaml", *folder.glob("*-[0-9][0-9][0-9][0-9][0-9].h5")]:
        path.unlink(missing_ok=True)
