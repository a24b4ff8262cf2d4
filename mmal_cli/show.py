"""What a command prints: results on stdout, progress on stderr; used by `commands/` alone."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

Progress = Annotated[
    Literal["auto", "plain", "none"], typer.Option("--progress", help="Live bar on a terminal, plain lines elsewhere.")
]
PLAIN_EVERY = 10.0  # seconds between two plain lines


@contextmanager
def progress(title: str, unit: str, mode: str = "auto") -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total) units: a rich bar on a terminal, plain lines with time left elsewhere."""
    if mode == "none":
        yield lambda done, total: None
    elif mode == "plain" or not sys.stderr.isatty():
        yield _plain(title, unit)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(title: str, unit: str) -> Callable[[int, int], None]:
    started = said = time.monotonic()
    first, last = None, -1

    def update(done: int, total: int) -> None:
        nonlocal said, first, last
        now = time.monotonic()
        if first is None:
            first = done
            note(f"{title}: {done} of {total} {unit}")
        if done <= max(first, last) or (now - said < PLAIN_EVERY and done < total):
            return
        said, last = now, done
        left = (now - started) / (done - first) * (total - done)
        rest = f"{duration(left)} left" if done < total else f"done in {duration(now - started)}"
        note(f"{title}: {done} of {total} {unit}, {rest}")

    return update


def duration(seconds: float) -> str:
    """12 s, 3 min 5 s, 2 h 10 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    return f"{s // 60} min {s % 60} s" if s < 3600 else f"{s // 3600} h {s % 3600 // 60} min"


def note(message: str) -> None:
    """A line for the person, on stderr."""
    print(message, file=sys.stderr, flush=True)


def result(text: object) -> None:
    """A line of result, on stdout."""
    print(text, flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], foot: str = "", left: int = 1) -> None:
    """A table on stdout, never cut: as wide as it needs to be. The first `left` columns are aligned left, the others right.

    A cell that begins and ends with ** is bold on a terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(columns):
        shown.add_column(Text(name), justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        bold = [len(cell) > 4 and cell.startswith("**") and cell.endswith("**") for cell in row]
        shown.add_row(*(Text(c.strip("*") if b else c, style="bold" if b else "") for c, b in zip(row, bold, strict=True)))
    console = Console(width=Console(width=100_000).measure(shown).maximum)
    if title:
        result(title)
    console.print(shown)
    if foot:
        result(foot)
