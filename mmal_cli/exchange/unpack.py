"""Runs of a zip into a folder of runs: everything is checked before anything is written, and nothing is written over."""

import hashlib
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmal_cli.analysis import aulc
from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.place import Place
from mmal_cli.exchange import clean
from mmal_cli.exchange.contents import EXPORT, METRIC, Export, Exported, Packed
from mmal_cli.runs import Runs, find

TIMES = 100  # as large as the zip all files in it are at most: text is packed 10 to 20 times
MOST, MOST_YAML = 2**30, 2**25  # bytes of a file
MOST_TOKENS, DEPTH = 2**21, 50  # of a YAML file: as many as the list of thousands of runs with all files of cycles has
OPEN = yaml.BlockMappingStartToken | yaml.BlockSequenceStartToken | yaml.FlowMappingStartToken | yaml.FlowSequenceStartToken
CLOSED = yaml.BlockEndToken | yaml.FlowMappingEndToken | yaml.FlowSequenceEndToken
MACHINE = {"seconds", "peak_memory_mb", "asked", "deterministic"}  # of a cycle; not what was measured, or not always there


@dataclass(frozen=True)
class Plan:
    """What an import does: runs that are new, and runs that are there already with the folders where they are."""

    new: list[Exported]
    there: dict[Path, Exported]


@contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Export]]:
    """A zip and its list, after every name, size and sha256 was checked; what is damaged is a UserError (exit 3)."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; pack it by: mmal export {path} --out results.zip", BAD_DATA)
    if not path.is_file():
        raise UserError(f"{path} not found; make one by: mmal export RUNS --out {path.name}", BAD_DATA)
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            export = _checked(archive, path)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"{path} is damaged, or not made by mmal export ({error}); have it sent again", BAD_DATA) from None
        yield archive, export


def _checked(archive: zipfile.ZipFile, path: Path) -> Export:
    infos = {info.filename: info for info in archive.infolist()}
    for info in archive.infolist():
        _must_be_plain(path, info)
    if len(infos) < len(archive.infolist()):
        raise UserError(f"{path} holds two files of one name; it was not made by mmal export", BAD_DATA)
    total, most = sum(info.file_size for info in infos.values()), TIMES * path.stat().st_size
    if total > most:
        raise UserError(f"{path} would unpack to {total:,} bytes, expected {most:,} at most, {TIMES} times its size", BAD_DATA)
    if EXPORT not in infos:
        raise UserError(f"{path} has no {EXPORT}; make it by: mmal export RUNS --out {path.name}", BAD_DATA)
    export = Export.read(_plain_yaml(archive, EXPORT))
    listed: dict[str, Packed] = {run.name(member): member for run in export.runs for member in run.files}
    listed |= {model.name: model for model in export.weights or ()}
    folders = {name for name in infos if name.endswith("/")}
    if other := sorted(listed.keys() ^ (infos.keys() - folders - {EXPORT})):
        found = f"lacks {other[0]}, which is" if other[0] in listed else f"holds {other[0]}, which is not"
        raise UserError(f"{path} {found} in its {EXPORT}; have it sent again", BAD_DATA)
    for name, member in listed.items():
        _must_be_whole(archive, name, member)
    return export


def _must_be_plain(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuses a name that leads out of the folder, and a file larger than any of its kind."""
    name = info.orig_filename
    if name.startswith(("/", "~")) or re.search(r"(^|[/\\])\.\.([/\\]|$)|\\|:|[\x00-\x1f\x7f-\x9f]", name):
        raise UserError(
            f"{path} holds {name!r}, a path that leads out of its folder, or no plain name; nothing was imported", BAD_DATA
        )
    most = MOST_YAML if name.endswith(".yaml") else MOST
    if info.file_size > most:
        raise UserError(f"{path}: {name} has {info.file_size:,} bytes, expected {most:,} at most", BAD_DATA)


def _plain_yaml(archive: zipfile.ZipFile, name: str) -> zipfile.Path:
    """The place of a YAML file as mmal export writes it: others could unfold without end, or fill the memory."""
    place, depth = zipfile.Path(archive, name), 0
    try:
        for number, token in enumerate(yaml.scan(place.read_bytes(), files.Loader)):
            depth += isinstance(token, OPEN) - isinstance(token, CLOSED)
            if isinstance(token, yaml.AliasToken | yaml.TagToken) or depth > DEPTH or number > MOST_TOKENS:
                found = "aliases or tags" if isinstance(token, yaml.AliasToken | yaml.TagToken) else "too much in it"
                raise UserError(f"{place} has {found}, which mmal export never writes", BAD_DATA)
    except yaml.YAMLError as error:
        raise UserError(f"{place} is not a YAML file: {str(error).splitlines()[0]}", BAD_DATA) from None
    return place


def _must_be_whole(archive: zipfile.ZipFile, name: str, member: Packed) -> None:
    size = archive.getinfo(name).file_size
    with archive.open(name) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, digest) != (member.bytes, member.sha256):
        raise UserError(
            f"{archive.filename}: {name} is damaged or edited: {size} bytes, sha256 {digest[:12]}..., its {EXPORT} has "
            f"{member.bytes}, {member.sha256[:12]}...; have it sent again",
            BAD_DATA,
        )


def planned(archive: zipfile.ZipFile, export: Export, out: Path) -> Plan:
    """What is new and what is there already.

    Raises:
        UserError: a run that is not what the zip says, could not be averaged with those that are there, or has the place of
            another one.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out")
    found = find(out) if out.exists() else Runs({}, [])
    places = {}
    for folder, run in found.finished.items():
        place = _place(run, str(folder))
        places[place.row, place.seed] = folder
    plan, records = Plan([], {}), {}
    for exported in export.runs:
        name = f"{archive.filename}: {exported.folder}"
        run = Run.read(_plain_yaml(archive, exported.name(exported.files[-1])))
        place = _place(run, name)
        if (expected := (f"{place.folder}/seed-{place.seed}", run.id)) != (exported.folder, exported.id):
            raise UserError(f"{name} has run {exported.id} in its {EXPORT}, expected {' '.join(expected)}", BAD_DATA)
        if clean.restricted(run) and (len(exported.files) > 1 or any(cycle.asked for cycle in run.cycles)):
            raise UserError(f"{name} is of restricted data and more than aggregate metrics, so it is not taken", BAD_DATA)
        if folder := places.get((place.row, place.seed)):
            _must_be_the_same(folder, found.finished[folder], name, run)
            plan.there[folder] = exported
        else:
            _must_be_free(archive, exported, out)
            plan.new.append(exported)
            records[name] = run
    _must_stand_together(found, records)
    return plan


def _place(run: Run, name: str) -> Place:
    return check(Place, run.config, f"{name} config", BAD_DATA)


def _must_be_the_same(folder: Path, there: Run, name: str, run: Run) -> None:
    """Refuses another run of the same seed; what does not tell of the numbers may differ."""
    a, b = files.flatten(_measured(there)), files.flatten(_measured(run))
    differ = [key for key in sorted(a.keys() | b.keys()) if repr(a.get(key)) != repr(b.get(key))]  # NaN is not equal to itself
    if differ:
        said = ", ".join(f"{key} (there {a.get(key)!r}, in the zip {b.get(key)!r})" for key in differ[:3])
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        helps = "nothing was imported, choose another --out"
        raise UserError(f"{name} is not the run of the same seed in {folder}: {said}{more}; {helps}", BAD_DATA)


def _measured(run: Run) -> dict[str, Any]:
    cycles = {str(cycle.number): cycle.model_dump(exclude=MACHINE) for cycle in run.cycles}
    return {"id": run.id, "config": run.config, "inputs": run.inputs, "cycles": cycles}


def _must_be_free(archive: zipfile.ZipFile, exported: Exported, out: Path) -> None:
    """Refuses a place where anything lies that is not of this run; an import that was interrupted left whole files of it."""
    folder, members = out / exported.folder, {member.file: member for member in exported.files}
    must_be_folders(folder, out)
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        of_it = path.name in members and files.sha256(path) == members[path.name].sha256
        if not of_it and path.suffix != ".part":
            raise UserError(
                f"{folder} holds {path.name} of another run, which {archive.filename} has too; nothing was imported: "
                "finish that run, remove its folder, or choose another --out",
                BAD_DATA,
            )


def must_be_folders(folder: Path, out: Path) -> None:
    """Refuses a file in the place of a folder, or of one that it lies in."""
    for path in (folder, *folder.parents[: len(folder.relative_to(out).parts)]):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, expected a folder; nothing was imported, choose another --out", BAD_DATA)


def _must_stand_together(found: Runs, records: Mapping[str, Run]) -> None:
    """Refuses runs that `mmal aulc` could not average with those that are there, or would warn of beside them, by its words."""
    rows = {_place(run, name).row for name, run in records.items()}
    names = {run.config["dataset"] for run in records.values()}
    there = {str(folder): run for folder, run in found.finished.items()}
    try:
        aulc.datasets({name: run for name, run in there.items() if run.config["dataset"] in names} | records)
        aulc.rows({name: run for name, run in there.items() if _place(run, name).row in rows} | records, METRIC)
    except UserError as error:
        raise UserError(f"{error}; nothing was imported, choose another --out", error.code) from None
    known = {*aulc.unlike(there), *aulc.unlike(records)}  # among those of one lab they are its own affair
    if apart := [text for text in aulc.unlike(there | records) if text not in known]:
        raise UserError(f"{apart[0]}; nothing was imported, choose another --out", BAD_DATA)


def write(
    archive: zipfile.ZipFile,
    new: Collection[Exported],
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes runs, of each the record last; what an interrupted import left whole is as it should be."""
    for number, run in enumerate(new):
        on_progress(number, len(new))
        for member in run.files:
            target = out / run.folder / member.file
            if not target.exists():
                with files.atomic(target) as part, archive.open(run.name(member)) as source, part.open("wb") as file:
                    shutil.copyfileobj(source, file)
    on_progress(len(new), len(new))
