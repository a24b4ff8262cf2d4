"""What a command prints: results on stdout, progress on stderr; used by `commands/` alone."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated, Literal

import typer

from mmal_cli import formats

Progress = Annotated[
    Literal["auto", "plain", "none"], typer.Option("--progress", help="Live bar on a terminal, plain lines elsewhere.")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same bits every time on a GPU too; its cost: mmal bench deterministic.")
]
FormatName = Literal["rich", "md", "latex", "csv", "json"]
Format = Annotated[FormatName, typer.Option("--format", help="How the result is printed; csv and json hold plain numbers.")]
WIDE = 100_000  # columns of what is no terminal
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


@contextmanager
def several(title: str, unit: str, mode: str = "auto") -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Gives a function to call with a name, which gives what `progress` gives: a bar for each name, one after the other."""
    with ExitStack() as bars:

        def begin(name: str) -> Callable[[int, int], None]:
            bars.close()  # a terminal has one live bar at a time
            return bars.enter_context(progress(f"{title} {name}", unit, mode))

        yield begin


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


def paragraph(text: str, format: FormatName = "rich") -> None:
    """Text of result outside tables; under CSV, which has no place for it, a note on stderr."""
    if format == "csv":
        note(text)
    else:
        result({"latex": formats.escaped(text) + "\n", "md": text + "\n"}.get(format) or _folded(text))


def drawing(text: str, format: FormatName = "rich") -> None:
    """Text whose columns stand below one another; none under CSV."""
    around = {"md": ("```\n", "\n```\n"), "latex": ("\\begin{verbatim}\n", "\n\\end{verbatim}\n")}
    before, after = around.get(format, ("", ""))
    if format != "csv":
        result(before + text + after)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    foot: str = "",
    left: int = 1,
    format: FormatName = "rich",
) -> None:
    """A table on stdout, never cut: where a terminal is too narrow it comes in parts, each with the first `left` columns.

    These are aligned left, the others right. A cell in *stars* is italic, in **two** bold, in ***three*** both. Empty rows
    part groups. CSV has no title, and its foot goes to stderr; a command's JSON is its own affair.
    """
    if format == "csv":
        result(formats.comma_separated(columns, rows).rstrip("\n"))
        if foot:
            note(foot)
    elif format in ("md", "latex"):
        result((formats.markdown if format == "md" else formats.latex)(title, columns, rows, foot, left))
    else:
        _rich_table(title, columns, rows, foot, left)


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], foot: str, left: int) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def styled(cell: str) -> Text:
        text, bold, italic = formats.marks(cell)
        return Text(text, style=" ".join(["bold"] * bold + ["italic"] * italic))

    def part(numbers: Sequence[int]) -> Table:
        shown = Table(box=box.SIMPLE_HEAD)
        for number in numbers:
            shown.add_column(styled(columns[number]), justify="left" if number < left else "right", no_wrap=True)
        for row in rows:
            shown.add_row(*(styled(row[number]) for number in numbers))
        return shown

    widths = [max(map(cell_len, column)) for column in _texts(columns, rows)]

    def width(numbers: Sequence[int]) -> int:
        return sum(widths[number] + 3 for number in numbers) + 1  # as box SIMPLE_HEAD has it

    if title:
        result(_folded(title))
    for numbers in _parts(len(columns), left, lambda numbers: width(numbers) <= terminal()):
        Console(width=width(numbers)).print(part(numbers))
    if foot:
        result(_folded(foot))


def _texts(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Column by column, what is shown of its cells."""
    for column in zip(columns, *rows, strict=True):
        yield [formats.marks(cell)[0] for cell in column]


def terminal() -> int:
    """Of the terminal, or as COLUMNS says; any number in a pipe or a file."""
    return shutil.get_terminal_size((WIDE, 0)).columns


def _parts(count: int, left: int, fits: Callable[[Sequence[int]], bool]) -> Iterator[list[int]]:
    """The columns in parts that fit, one more than the first `left` at least."""
    first = list(range(min(left, count)))
    found = first
    for number in range(left, count):
        if found != first and not fits([*found, number]):
            yield found
            found = first
        found = [*found, number]
    yield found


def _folded(text: str) -> str:
    """Text whose lines break between words where the terminal ends."""
    width = terminal()
    return "\n".join(textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
