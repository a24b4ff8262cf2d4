"""`mmal report`: one HTML page of all finished runs, figures as PNG and PDF, diagnostics as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmal_cli import show

if TYPE_CHECKING:
    from mmal_cli.report.gather import Material

STAGE = 3.2
FORMS = ("html", "png", "pdf")
INDEX = "index.html"
SUMS, SUM = "mmal.sha256", r"^([0-9a-f]{64})  ([A-Za-z0-9_-]+\.(?:png|pdf))$"  # what was written into figures/, line by line


def report(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or of some of them.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the page; an older report there is written over.")] = Path("report"),
    by: Annotated[
        str | None, typer.Option(metavar="KEY", help="Tell runs apart by this setting too, for instance model.fusion.")
    ] = None,
    format: Annotated[str, typer.Option(metavar="LIST", help="Of html, png and pdf, with commas.")] = ",".join(FORMS),
) -> None:
    """Make an HTML page of all finished runs, with figures and tables beside the published ones.

    The page is one file without outside parts. figures/ has the paper's arrangement.
    An older report's figures that are not drawn again are removed.
    diagnostics.csv has Shapley values, gap, synergy, queries and their overlap.
    """
    from mmal_cli.runs import find

    forms = _forms(format)
    found = find(runs)
    found.need_one(runs)
    _must_be_ours(out)
    _need_matplotlib()
    from mmal_cli.report.gather import gather

    material = gather(found, runs, by)
    for warning in material.unlike:
        show.note(f"warning: {warning}")
    _write(material, out, forms, f"mmal report RUNS --by {by}" if by else "mmal report RUNS")


def _forms(text: str) -> list[str]:
    from mmal_cli.core.errors import unknown

    asked = [form.strip() for form in text.split(",")]
    for form in asked:
        if form not in FORMS:
            raise unknown("format", form, FORMS)
    return [form for form in FORMS if form in asked]


def _must_be_ours(out: Path) -> None:
    """Refuses to write over a page that no report made."""
    from mmal_cli.core.errors import UserError

    index = out / INDEX
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out")
    if index.exists() and b'content="mmal report"' not in index.read_bytes()[:2000]:
        raise UserError(f"{index} is not an older report; choose another --out")


def _need_matplotlib() -> None:
    from importlib.util import find_spec

    from mmal_cli.core.errors import UserError

    if find_spec("matplotlib") is None:
        helps = "in mmal's folder: .venv/bin/python -m pip install -e '.[report]'"
        raise UserError(f"mmal report draws with matplotlib, which is not installed; install it {helps}")


def _write(material: Material, out: Path, forms: list[str], command: str) -> None:
    """The files, each whole; the page last."""
    import time

    from mmal_cli.core import files, manifest
    from mmal_cli.report import page

    figures, drawn = out / "figures", [form for form in forms if form != "html"]
    written = {}
    for name, content in page.pictures(material, drawn) if drawn else ():
        with files.atomic(figures / name) as part:
            part.write_bytes(content)
        written[name] = files.sha256(figures / name)
    _replace_older(figures, written)
    if drawn:
        show.note(f"{figures} written ({len(material.variants)} figures: {', '.join(drawn)})")
    if "html" in forms:
        files.write_text(out / "diagnostics.csv", page.readings(material))
        info = manifest.made(time.monotonic(), command, ("numpy", "scipy", "matplotlib"))
        files.write_text(out / INDEX, page.page(material, info))
        show.result(out / INDEX)
    else:
        show.result(figures)


def _replace_older(figures: Path, written: Mapping[str, str]) -> None:
    """Removes figures of an older report that are not written now, but none that is not byte for byte as that report left it.

    Args:
        written: file name -> sha256; kept for the next report, in the form of sha256sum.
    """
    import re

    from mmal_cli.core import files

    sums = figures / SUMS
    older = re.findall(SUM, sums.read_text(encoding="utf-8"), re.MULTILINE) if sums.exists() else []
    for digest, name in older:
        path = figures / name
        if name not in written and path.is_file() and files.sha256(path) == digest:
            path.unlink()
            show.note(f"{path} of an older report removed")
    if written:
        files.write_text(sums, "".join(f"{digest}  {name}\n" for name, digest in written.items()))
    else:
        sums.unlink(missing_ok=True)
