"""Runs into one zip: cleaned, audited, then written whole; the same runs give the same bytes."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmal_cli import __version__
from mmal_cli.analysis import aulc
from mmal_cli.core import files, shards
from mmal_cli.core.errors import BAD_DATA, UserError, lines
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.place import Place
from mmal_cli.core.running import RECORD
from mmal_cli.exchange import audit, clean
from mmal_cli.exchange.contents import EXPORT, FOLDER, METRIC, ROOT, Export, Exported, Member, Weights
from mmal_cli.runs import Runs

if TYPE_CHECKING:
    from mmal_cli.exchange.weights import Model

SHOWN = 10  # findings of a message


@dataclass(frozen=True)
class Leaving:
    """One run on its way out: where it lies, what leaves of its record, and which files of cycles go with it."""

    source: Path
    folder: str
    record: Run
    cycles: list[Path]

    @property
    def restricted(self) -> bool:
        """Whether it comes from restricted data."""
        return clean.restricted(self.record)


def leaving(found: Runs, cycles: bool) -> list[Leaving]:
    """What may leave of finished runs, sorted by folder; with `cycles` files of cycles too, where all are there.

    Raises:
        UserError: runs that could not stand in one table, a record of restricted data that is more than aggregates.
    """
    records = {str(folder): run for folder, run in found.finished.items()}
    aulc.rows(records, METRIC)
    aulc.datasets(records)
    chosen = []
    for source, run in found.finished.items():
        place = check(Place, run.config, f"{source / RECORD} config", BAD_DATA)
        paths = [source / f"cycle-{number:02d}.h5" for number in range(len(run.cycles))]
        whole = cycles and not clean.restricted(run) and all(path.exists() for path in paths)
        folder = f"{place.folder}/seed-{place.seed}"
        if not re.fullmatch(FOLDER, folder):
            raise UserError(f"{source / RECORD} names a place {folder!r}, expected letters, digits and . _ + -", BAD_DATA)
        chosen.append(Leaving(source, folder, clean.record(source, run), paths if whole else []))
    return sorted(chosen, key=lambda run: run.folder)


def must_be_clean(
    runs: Collection[Leaving], logits: bool, allowed: Collection[str] = (), models: Collection[Model] = ()
) -> None:
    """Raises UserError, naming file, key and what was found, where anything that would be written may not leave.

    Args:
        allowed: findings that only look so; of restricted data names alone, which may be ordinary words.
    """
    names, found = audit.people_and_machines(), {}
    for run in runs:
        seed = str(run.record.config["seed"])  # may be a date
        for path, content in _contents(run, logits):
            for one in audit.findings(str(path), content if isinstance(content, dict) else content[0] | content[1], names):
                if one.found != seed and not (one.found in allowed and (one.what in names or not run.restricted)):
                    found[one] = None  # once
    for model in models:
        told = audit.findings(str(model.path), {"weights": model.names}, names)
        found |= dict.fromkeys(one for one in told if one.found not in allowed)
    if found:
        shown = [str(one) for one in found]
        more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
        helps = "leave these runs out, or make them again without; what only looks so: --allow TEXT (of restricted data: names)"
        raise UserError(lines(["this may not leave, so nothing was written:", *shown[:SHOWN], *more, helps]), BAD_DATA)


def _contents(run: Leaving, logits: bool) -> Iterator[tuple[Path, Any]]:
    """The file that something comes from, and what is written of it: of cycles arrays and attributes."""
    for number, path in enumerate(run.cycles):
        yield path, clean.cycle(path, run.record, number, logits)
    yield run.source / RECORD, run.record.model_dump(mode="json", exclude_none=True)


def write(
    runs: Collection[Leaving],
    out: Path,
    logits: bool,
    models: Collection[Model] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Export:
    """Writes the zip over an older export, and over nothing else. Time: each file of a cycle read and copied twice."""
    _must_be_ours(out)
    exported = []
    with files.atomic(out) as part, zipfile.ZipFile(part, "w") as archive, TemporaryDirectory() as scratch:
        for number, run in enumerate(runs):
            on_progress(number, len(runs))
            exported.append(_write_run(archive, run, logits, Path(scratch)))
        folders = {run.source: run.folder for run in runs}
        weights = [_write_model(archive, model, folders[model.source], Path(scratch)) for model in models]
        content = {"runs": exported} | ({"weights": weights} if weights else {})
        plain = {key: [one.model_dump(mode="json") for one in of] for key, of in content.items()}
        export = Export(id=files.identity({"kind": "export"} | plain), mmal=__version__, **content)
        export.write(Path(scratch) / EXPORT)
        _add(archive, EXPORT, Path(scratch) / EXPORT)
    on_progress(len(runs), len(runs))
    return export


def _write_run(archive: zipfile.ZipFile, run: Leaving, logits: bool, scratch: Path) -> Exported:
    members = []
    for path, content in _contents(run, logits):
        made = scratch / path.name
        if path.name == RECORD:
            run.record.write(made)
        else:
            shards.write_arrays(made, *content)
        member = Member(file=path.name, bytes=made.stat().st_size, sha256=files.sha256(made))
        _add(archive, f"{ROOT}/{run.folder}/{path.name}", made)
        members.append(member)
    return Exported(folder=run.folder, id=run.record.id, restricted=run.restricted, files=members)


def _write_model(archive: zipfile.ZipFile, model: Model, run: str, scratch: Path) -> Weights:
    made = scratch / model.file
    made.write_bytes(model.packed())
    packed = {"bytes": made.stat().st_size, "sha256": files.sha256(made)}
    weights = Weights(run=run, file=made.name, **packed)
    _add(archive, weights.name, made)
    made.unlink()
    return weights


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """A file with a fixed date and mode; YAML is compressed, numbers hardly could be."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, path.stat().st_size
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".yaml") else zipfile.ZIP_STORED
    with archive.open(info, "w") as target, path.open("rb") as source:
        shutil.copyfileobj(source, target)


def _must_be_ours(out: Path) -> None:
    if not out.exists():
        return
    ours = False
    with suppress(zipfile.BadZipFile, OSError):
        if out.is_file():  # a device or a pipe may have no end
            with zipfile.ZipFile(out) as archive:
                ours = EXPORT in archive.namelist()
    if not ours:
        raise UserError(f"{out} is not an older export; choose another --out")
