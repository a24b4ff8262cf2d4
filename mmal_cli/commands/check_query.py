"""`mmal check-query`: whether a query method keeps to what a run relies on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmal_cli import show
from mmal_cli.core.errors import WRONG_USE, UserError

if TYPE_CHECKING:
    from mmal_cli.checking import Row

STAGE = 4.05
LEAST = 100  # samples of a pool
COLUMNS = ("check", "result", "detail")

Method = Annotated[str, typer.Argument(metavar="NAME|PATH", help="Query method, or your own .py file.", show_default=False)]
Option = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the method's query (may be repeated).")
]
Pools = Annotated[str, typer.Option(metavar="N,N,...|none", help="Pools that seconds and memory are measured at.")]


def check_query(
    method: Method,
    option: Option = None,
    pools: Pools = "1000,10000,100000",
    format: show.Format = "rich",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, no table: --format json.")] = False,
    progress: show.Progress = "auto",
) -> None:
    """Check a query method: sizes, chance, order, inputs, edge cases, GPU, growth.

    Exit code 0 if no check fails, 2 if one does. --pools none leaves out
    what takes longest; skipped checks say why.
    """
    from mmal_cli import checking
    from mmal_cli.core import plugins

    subject = checking.Subject(method, dict(map(_option, option or ())), _pools(pools))
    name, sha256 = subject.method.name, plugins.fingerprint(method)
    with show.progress(f"check {name}", "groups of checks", progress) as bar:
        rows = checking.run(subject, bar)
    _print(name, sha256, rows, "json" if json else format)
    if any(row.result == "FAIL" for row in rows):
        raise typer.Exit(WRONG_USE)


def _option(text: str) -> tuple[str, Any]:
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--option {text!r} is not of the form NAME=VALUE, for instance: --option alpha=0.5")
    try:
        return name, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--option {text}: {value!r} is not a YAML value") from None


def _pools(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    found = [int(word) for word in text.split(",") if word.isascii() and word.isdecimal()]
    if len(found) < len(text.split(",")) or min(found) < LEAST:
        raise UserError(f"--pools {text!r} is neither none nor numbers from {LEAST} on, for instance: --pools 1000,10000")
    return tuple(sorted(set(found)))


def _print(name: str, sha256: str | None, rows: Sequence[Row], format: show.FormatName) -> None:
    counts = Counter(row.result for row in rows)
    if format == "json":
        from dataclasses import asdict
        from json import dumps

        content = {"qm": name, "qm_sha256": sha256, "passed": not counts["FAIL"], "checks": [asdict(row) for row in rows]}
        show.result(dumps(content, indent=2))
        return
    from mmal_cli.core import own_files

    foot = f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['skipped']} skipped."
    foot += f"\n{own_files.foot([(name, sha256)])}" if sha256 else ""
    if any(row.check.startswith("a pool") for row in rows):
        foot += "\nPools: 10 picks, one thread, memory beyond the inputs; slope 1 is in proportion to the pool."
    cells = list(_cells(rows, format))
    show.table(f"Query method {name}", COLUMNS, cells, foot, left=len(COLUMNS), format=format)


def _cells(rows: Sequence[Row], format: show.FormatName) -> Iterator[list[str]]:
    """What failed is bold; on a terminal a long detail goes on in the lines below."""
    import textwrap

    room = show.terminal() - max(len(row.check) for row in rows) - len("skipped") - 3 * len(COLUMNS) - 1
    for row in rows:
        first, *more = textwrap.wrap(row.detail, max(room, 20)) if format == "rich" else [row.detail]
        yield [row.check, f"**{row.result}**" if row.result == "FAIL" else row.result, first]
        yield from (["", "", line] for line in more)
