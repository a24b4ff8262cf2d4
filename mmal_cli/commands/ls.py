"""`mmal ls`: what there is to choose from, and what has been made."""

import ast
import re
from pathlib import Path
from typing import Annotated

import typer

from mmal_cli import show

STAGE = 4.1
DATA, RUNS = Path("data"), Path("runs")
FOLDERS = {  # what -> folder seen from the package, suffix
    "qms": ("queries", ".py"),
    "encoders": ("encoders", ".py"),
    "fusions": ("fusions", ".py"),
    "protocols": ("protocols", ".yaml"),
    "pretrainings": ("pretrainings", ".yaml"),
    "grids": ("grids", ".yaml"),
    "tunings": ("tunings", ".yaml"),
    "settings": ("../data_recipes/quint/settings", ".yaml"),
}
KNOWN = [*FOLDERS, "datasets", "runs"]


def ls(what: Annotated[str, typer.Argument(help=f"One of: {', '.join(KNOWN)}.", show_default=False)]) -> None:
    """List query methods, encoders, fusions, protocols, pretrainings, grids, tunings, settings, datasets or runs."""
    from mmal_cli.core.errors import unknown

    if what in FOLDERS:
        _names(*FOLDERS[what])
    elif what == "datasets":
        _datasets()
    elif what == "runs":
        _runs()
    else:
        raise unknown("list", what, KNOWN)


def _names(folder: str, suffix: str) -> None:
    """Names and what they are; on a terminal the sentences are wrapped beside the names."""
    import shutil
    import sys
    import textwrap

    from mmal_cli.core import plugins

    found = {name: first_sentence(plugins.PACKAGE / folder / f"{name}{suffix}") for name in plugins.names(folder, suffix)}
    indent = 2 + max(map(len, found), default=0)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    for name, sentence in found.items():
        show.result(textwrap.fill(sentence, width, initial_indent=name.ljust(indent), subsequent_indent=" " * indent))
    if not found:
        show.note(f"{folder} is empty")


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, or of the comment a YAML file begins with; nothing is imported."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    else:
        text = "\n".join(line[1:] for line in re.match(r"(#.*\n)*", text)[0].splitlines())
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)[0]  # "et al. 2020" ends no sentence


def _datasets() -> None:
    """The complete dataset folders, and those without a manifest."""
    from mmal_cli.core import datasets
    from mmal_cli.core.errors import UserError

    folders = sorted(path for path in DATA.glob("*") if path.is_dir() and any(path.iterdir()))
    rows = []
    for folder in folders:
        if not (folder / datasets.MANIFEST).exists():
            rows.append([str(folder), "not complete", *[""] * 5])
            continue
        try:
            found = datasets.read(folder)
        except UserError as error:
            show.note(str(error))
            rows.append([str(folder), "not readable", *[""] * 5])
            continue
        modalities = " ".join(f"{m.name}{'*' if m.name == found.weak else ''}" for m in found.modalities)
        sizes = [str(found.splits[split].samples) if split in found.splits else "-" for split in ("train", "test")]
        rows.append([str(folder), found.name, found.id, modalities, str(found.classes), *sizes])
    if rows:
        show.table("", ["folder", "name", "id", "modalities", "classes", "train", "test"], rows, "* the weak modality")
    else:
        show.note(f"no dataset under {DATA}/; make one, for instance: mmal gen-quint --setting synergy")


def _runs() -> None:
    """How many runs of each method folder are finished."""
    from collections import Counter

    from mmal_cli import runs
    from mmal_cli.core.place import regime_order

    found = runs.find(RUNS) if RUNS.exists() else runs.Runs({}, [])
    finished = Counter(folder.parent for folder in found.finished)
    unfinished = Counter(folder.parent for folder in found.unfinished)
    folders = sorted(
        finished | unfinished, key=lambda folder: (folder.parts[:-2], regime_order(folder.parent.name), folder.name)
    )
    rows = [[str(folder), str(finished[folder]), str(unfinished[folder])] for folder in folders]
    if rows:
        show.table("", ["folder", "finished", "unfinished"], rows)
    else:
        show.note(f"no run under {RUNS}/; make one, for instance: mmal al-run --qm random --regime low")
