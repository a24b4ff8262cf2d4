"""HDF5 files: shards of samples, streamed out and read a split at a time, and a run's cycles; the only h5py."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.interrupt import interruptible
from mmal_cli.core.manifest import UNLABELLED, Dataset, Shard

CHUNK_BYTES = 65_536  # of an array that may shrink; a larger sample is a chunk by itself


@dataclass(frozen=True)
class Samples:
    """Some samples in memory.

    Attributes:
        inputs: modality -> (n, *shape), bytes as on disk; zero where the modality is absent.
        present: (n, M) bool, columns in the manifest's order of modalities.
        label: (n,) int64; -1 in the split `unlabelled`, and nowhere else.
        id: (n,) str, or utf-8 bytes of one width in all chunks of a split.
        factors: name -> (n,) what is known of how a sample was made; may be empty.
        group: (n,) int64, where samples belong together (a patient's): validation and pool never share a group.
        reserved: (n,) bool, of train: where a sample may serve validation alone, and validation comes from these alone.
        dropped: what was left out between these samples, reason -> how many.
        noted: what is worth a line in the manifest, property -> how many of these samples have it.
    """

    inputs: Mapping[str, np.ndarray]
    present: np.ndarray
    label: np.ndarray
    id: np.ndarray
    factors: Mapping[str, np.ndarray]
    group: np.ndarray | None = None
    reserved: np.ndarray | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)

    def columns(self) -> dict[str, np.ndarray]:
        """Name in the shard -> array."""
        return {
            **{f"inputs/{name}": array for name, array in self.inputs.items()},
            "present": self.present,
            "label": self.label,
            "id": self.id if self.id.dtype.kind == "S" else np.char.encode(self.id, "utf-8"),
            **{f"factors/{name}": array for name, array in self.factors.items()},
            **({} if self.group is None else {"group": self.group}),
            **({} if self.reserved is None else {"reserved": self.reserved}),
        }


@contextmanager
def _opened(path: Path | io.BytesIO, mode: str) -> Iterator[Any]:
    """An HDF5 file; a Ctrl-C while it is open is raised when it is closed, since h5py's own callbacks could lose it."""
    import h5py

    with interruptible() as check:
        with h5py.File(path, mode) as file:
            yield file
        check()


def write_shard(
    path: Path,
    identity: Mapping[str, Any],
    chunks: Iterator[Samples],
    count: int,
    size: int,
    on_samples: Callable[[int], None],
    exact: bool = True,
) -> None:
    """Streams `count` samples, about `size` bytes, into one shard; memory is one chunk.

    Without `exact` there may be fewer; the attribute `mmal` then says how many were asked, dropped and noted. The room is
    asked for first, since HDF5 met by a full disk may crash at exit instead of raising.
    """
    import h5py

    with files.atomic(path) as part:
        with part.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        with h5py.File(part, "w") as file:
            tally = {"asked": count, "dropped": Counter(), "noted": Counter()}
            kept = _stream(file, _counted(chunks, tally), count, exact, on_samples)
            assert kept == count or not exact, f"{path} got {kept} samples instead of {count}"
            file.attrs["mmal"] = json.dumps({**identity, **({} if exact else tally)})


def _counted(chunks: Iterator[Samples], tally: Mapping[str, Any]) -> Iterator[Samples]:
    for chunk in chunks:
        tally["dropped"].update(chunk.dropped)
        tally["noted"].update(chunk.noted)
        yield chunk


def _stream(file, chunks: Iterator[Samples], count: int, exact: bool, on_samples: Callable[[int], None]) -> int:
    """Writes chunk after chunk into arrays of `count` rows, which shrink to what came; returns how many came."""
    at, columns = 0, {}
    for chunk in chunks:
        columns, n = chunk.columns(), len(chunk.label)
        if n and not len(file):
            _create(file, columns, count, exact)
        for name, array in columns.items() if n else ():
            assert array.dtype == file[name].dtype, f"{name} turns from {file[name].dtype} to {array.dtype}"
            file[name][at : at + n] = array
        at += n
        on_samples(at)
    if not exact:
        if not len(file):
            _create(file, columns, count, exact)
        for name in _names(file):
            file[name].resize(at, axis=0)
    return at


def _create(file, columns: Mapping[str, np.ndarray], count: int, exact: bool) -> None:
    for name, array in columns.items():
        shape, row = (count, *array.shape[1:]), array.dtype.itemsize * int(np.prod(array.shape[1:]))
        shrinks = {} if exact else {"maxshape": shape, "chunks": (max(1, min(count, CHUNK_BYTES // row)), *shape[1:])}
        file.create_dataset(name, shape, array.dtype, **shrinks)


def read_head(path: Path) -> tuple[dict[str, Any], int] | None:
    """The identity that a shard was written with and its number of samples; None if it is no whole shard."""
    with suppress(OSError, KeyError), _opened(path, "r") as file:
        return json.loads(file.attrs["mmal"]), len(file["label"])
    return None


def read_presence(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """label (n,), present (n, M) and reserved (n,) of a shard."""
    with _opened(path, "r") as file:
        label = file["label"][()]
        return label, file["present"][()], file["reserved"][()] if "reserved" in file else np.zeros(len(label), dtype=bool)


def read_rows(path: Path, rows: Sequence[int]) -> dict[str, np.ndarray]:
    """Array by its name in the shard -> (n, ...), some rows of it, each read by itself."""
    with _opened(path, "r") as file:
        return {name: np.stack([file[name][row] for row in rows]) for name in _names(file)}


def read_attributes(path: Path) -> dict[str, Any] | None:
    """What a file says of itself, its arrays unread; None if it is no whole file."""
    with suppress(OSError, KeyError), _opened(path, "r") as file:
        return json.loads(file.attrs["mmal"])
    return None


def read_split(folder: Path, dataset: Dataset, split: str) -> Samples:
    """Reads a split whole, after checking every shard against the sha256 in the manifest. Memory: the split, once."""
    columns: dict[str, np.ndarray] = {}
    start, count = 0, dataset.splits[split].samples
    for shard in dataset.splits[split].shards:
        _check_intact(folder, shard, dataset)
        with _opened(folder / shard.file, "r") as file:
            _check_columns(file, folder, shard, dataset, split)
            for name in _names(file) if shard.samples else ():
                source = file[name]
                if name not in columns:
                    columns[name] = np.empty((count, *source.shape[1:]), source.dtype)
                source.read_direct(columns[name], dest_sel=np.s_[start : start + shard.samples])
        start += shard.samples
    return Samples(
        inputs={m.name: columns[f"inputs/{m.name}"] for m in dataset.modalities},
        present=columns["present"],
        label=columns["label"],
        id=np.char.decode(columns["id"], "utf-8"),
        factors={name[8:]: array for name, array in columns.items() if name.startswith("factors/")},
        group=columns.get("group"),
        reserved=columns.get("reserved"),
    )


def intact(folder: Path, shard: Shard) -> bool:
    """Whether a shard is there and as its manifest says."""
    return (folder / shard.file).exists() and files.sha256(folder / shard.file) == shard.sha256


def _check_intact(folder: Path, shard: Shard, dataset: Dataset) -> None:
    """Refuses a shard that is missing, truncated or edited, and says how to make it again."""
    path = folder / shard.file
    helps = dataset.again(folder)
    if not path.exists():
        raise UserError(f"{path} not found, {folder / 'dataset.yaml'} expects it{helps}", BAD_DATA)
    found = files.sha256(path)
    if found != shard.sha256:
        raise UserError(
            f"{path} is damaged or edited: sha256 {found[:12]}..., the manifest has {shard.sha256[:12]}...{helps}", BAD_DATA
        )


def _check_columns(file, folder: Path, shard: Shard, dataset: Dataset, split: str) -> None:
    """Refuses a manifest that does not describe its shard: names, shapes, dtypes and labels."""
    n = shard.samples
    expected = {f"inputs/{m.name}": f"{m.dtype} {(n, *m.shape)}" for m in dataset.modalities}
    expected |= {"present": f"bool {(n, len(dataset.modalities))}", "label": f"int64 {(n,)}"}
    found = {name: f"{file[name].dtype} {file[name].shape}" for name in _names(file)}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, expected {said}" for name, said in expected.items() if found.get(name) != said
    ]
    wrong += [f"{name} has {len(file[name])} samples, expected {n}" for name in found if len(file[name]) != n]
    if not wrong:
        label = file["label"][()]
        low, high = (-1, -1) if split == UNLABELLED else (0, dataset.classes - 1)
        outside = label[(label < low) | (label > high)]
        wrong = [f"label has {outside[0]}, expected {low} to {high}"] if len(outside) else []
    if wrong:
        helps = f"undo the edit of {folder / 'dataset.yaml'}{dataset.again(folder, force=True)}"
        raise UserError(f"{folder / shard.file} is not as its manifest says: {wrong[0]}; {helps}", BAD_DATA)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Writes a small HDF5 file whole (a cycle): arrays by name, attributes as JSON."""
    whole = io.BytesIO()  # made in memory, since HDF5 met by a full disk may crash at exit instead of raising
    with _opened(whole, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs["mmal"] = json.dumps(attributes)
    with files.atomic(path) as part:
        part.write_bytes(whole.getbuffer())


def read_arrays(path: Path, only: Collection[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_arrays` wrote: all of it, or the arrays of these names."""
    try:
        with _opened(path, "r") as file:
            return {name: file[name][()] for name in only or _names(file)}, json.loads(file.attrs["mmal"])
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and give the same command again", BAD_DATA) from None


def _names(file) -> list[str]:
    """Paths of all arrays in a file."""
    import h5py

    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found
