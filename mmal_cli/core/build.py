"""Makes a dataset folder shard by shard: finds it done, goes on with it, mends it, or refuses another's."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmal_cli.core import files, shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.interrupt import interruptible
from mmal_cli.core.manifest import Dataset, Modality, Shard, SplitFiles, check, made

SHARD_BYTES = 1_000_000_000
PACKAGES = ("numpy", "h5py", "pillow")
SHARDS = "*-[0-9][0-9][0-9][0-9][0-9].h5"


@dataclass(frozen=True)
class Plan:
    """A split to be made: `chunks(start, stop)` yields its samples start..stop-1 in order, a few hundred at a time.

    Without `exact` it may leave some out, where only their making shows that they cannot be used; each chunk says why. It
    yields a chunk even if nothing is left of it.
    """

    samples: int
    chunks: Callable[[int, int], Iterator[shards.Samples]]
    exact: bool = True


def build(
    folder: Path,
    head: Mapping[str, Any],
    plans: Mapping[str, Plan],
    *,
    command: str,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    shard_bytes: int = SHARD_BYTES,
    packages: tuple[str, ...] = (),
) -> tuple[Dataset, bool]:
    """Makes a dataset folder, or goes on with one, or finds it done.

    Args:
        folder: where; another dataset in it is an error unless `force`.
        head: fields of `Dataset` without id, splits and made; `recipe` is the identity.
        plans: split -> how to make it.
        command: the command that makes this dataset, for messages and the manifest.
        on_progress: called with (samples done, samples in all).
        shard_bytes: a shard holds as many whole samples as fit; the samples do not depend on it.
        packages: whose versions the manifest names beside numpy's, h5py's and pillow's.

    Returns:
        The manifest, and whether anything had to be made.
    """
    started = time.monotonic()
    draft = {**head, "id": files.identity(_identity(head["recipe"])), "splits": {}, "made": {}}
    draft = check(Dataset, draft, f"dataset {head['name']!r}")  # what is wrong ends here, not after hours of work
    if force:
        _clear(folder)
    found = _finished(folder, head["recipe"])
    if found:
        return found, False
    for stale in folder.glob(f"{SHARDS}.*.part"):  # of a build that was killed; two at a time in one folder are not meant
        stale.unlink(missing_ok=True)
    total, done, splits = sum(plan.samples for plan in plans.values()), 0, {}
    if draft.restricted:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    with interruptible() as pause:
        for split, plan in plans.items():
            of_split = []
            for path, start, stop in _shards_of(folder, split, plan.samples, head["modalities"], shard_bytes):

                def on_samples(n: int, before: int = done) -> None:
                    pause()
                    on_progress(before + n, total)

                of_split.append(_shard(path, head, plan, start, stop, on_samples))
                done += stop - start
            splits[split] = SplitFiles(samples=sum(shard.samples for shard in of_split), shards=of_split)
    counts = {**draft.counts, **{split: _counts(folder, draft, split, splits) for split in plans if not plans[split].exact}}
    info = made(started, command, (*PACKAGES, *packages))
    dataset = draft.model_copy(update={"splits": splits, "counts": counts, "made": info})
    dataset.write(folder / "dataset.yaml")
    return dataset, True


def _shards_of(folder: Path, split: str, samples: int, modalities: Sequence[Mapping[str, Any]], shard_bytes: int):
    """Path, first sample and end of every shard of a split."""
    size = max(1, shard_bytes // _sample_bytes(modalities))
    for number, start in enumerate(range(0, samples, size)):
        yield folder / f"{split}-{number:05d}.h5", start, min(start + size, samples)


def _shard(path: Path, head: Mapping[str, Any], plan: Plan, start: int, stop: int, on_samples: Callable[[int], None]) -> Shard:
    """Writes one shard, or keeps a whole one of an interrupted build."""
    identity, count = _identity(head["recipe"]), stop - start
    found = shards.read_head(path) if path.exists() else None
    if found:
        _same(path, found[0]["recipe"], head["recipe"])
    if not found or found[0].get("asked", found[1]) != count:
        size = count * _sample_bytes(head["modalities"])
        shards.write_shard(path, identity, plan.chunks(start, stop), count, size, on_samples, plan.exact)
        found = shards.read_head(path)
    on_samples(count)
    return Shard(file=path.name, samples=found[1], sha256=files.sha256(path))


def _counts(folder: Path, draft: Dataset, split: str, splits: Mapping[str, SplitFiles]) -> dict[str, Any]:
    """What became of a split whose recipe left samples out, read from its shards, beside what the recipe says itself."""
    tally = {name: Counter() for name in ("present", "dropped", "noted")}
    classes = np.zeros(draft.classes, dtype=np.int64)
    for shard in splits[split].shards:
        label, present, reserved = shards.read_presence(folder / shard.file)
        classes += np.bincount(label[~reserved], minlength=draft.classes)
        names = ("+".join(m.name for m, has in zip(draft.modalities, row, strict=True) if has) for row in present)
        tally["present"].update(names)
        written = shards.read_attributes(folder / shard.file)
        for name in ("dropped", "noted"):
            tally[name].update(written[name])
    if not classes.any():
        why = ", ".join(f"{reason}: {n}" for reason, n in sorted(tally["dropped"].items()))
        raise UserError(f"{folder}: no sample of {split} can be used ({why or 'there are none'})", BAD_DATA)
    found = {"classes": classes.tolist(), **{name: dict(sorted(counter.items())) for name, counter in tally.items()}}
    return {**draft.counts.get(split, {}), **found}


def _finished(folder: Path, recipe: Mapping[str, Any]) -> Dataset | None:
    """The manifest of a folder that is complete and intact; harmed shards are removed, so that they are made again."""
    manifest = folder / "dataset.yaml"
    if not manifest.exists():
        return None
    found = Dataset.read(manifest)
    _same(folder, found.recipe, recipe)
    harmed = [s for split in found.splits.values() for s in split.shards if not shards.intact(folder, s)]
    if not harmed:
        return found
    manifest.unlink()
    for shard in harmed:
        (folder / shard.file).unlink(missing_ok=True)
    return None


def _identity(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "dataset", "recipe": recipe}


def _same(place: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    files.must_match(place, found, asked, "choose another --out, or --force to make it anew")


def _sample_bytes(modalities: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of the inputs of one sample."""
    checked = [Modality.model_validate(modality) for modality in modalities]
    return sum(np.dtype(m.dtype).itemsize * int(np.prod(m.shape)) for m in checked)


def _clear(folder: Path) -> None:
    """Removes a dataset's own files, manifest first, and nothing else."""
    for path in [folder / "dataset.yaml", *folder.glob(SHARDS)]:
        path.unlink(missing_ok=True)
