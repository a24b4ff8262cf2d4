"""Tables and paragraphs as HTML: text in, escaped text out."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from mmal_cli.core.tables import Spread


class Cell(NamedTuple):
    """What a table shows and what it is sorted by (None: the text, or last if it is empty).

    mark: `best` stands out; `total`, of a row's first cell: the row stays at the end of its group.
    """

    text: str
    value: float | None = None
    mark: str = ""


Row = Sequence[Cell | str]
EMPTY = Cell("")


def number(value: float | None, form: str = "z.2f", best: bool = False) -> Cell:
    """A number; an empty cell where there is none."""
    return EMPTY if value is None else Cell(f"{value:{form}}".replace("-", "−"), value, "best" if best else "")


def spread(found: Spread | None, factor: float = 1.0, best: bool = False, form: str = "z.2f") -> Cell:
    """`5.87 ± 1.77`; the sd of one seed is left out."""
    if found is None:
        return EMPTY
    sd = "" if found.sd is None else f" ± {found.sd * factor:{form.replace('+', '')}}"
    return Cell(f"{found.mean * factor:{form}}".replace("-", "−") + sd, found.mean * factor, "best" if best else "")


def table(caption: str, columns: Sequence[str], groups: Mapping[str, Sequence[Row]], foot: Sequence[str] = ()) -> str:
    """A table that sort.js makes sortable within its groups; the first cell of a row is its heading.

    Args:
        groups: heading of a group (empty: none) -> rows, each with one cell for each column.
        foot: paragraphs below, plain text.
    """
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    bodies = "".join(_body(heading, rows, len(columns)) for heading, rows in groups.items())
    below = "".join(f'<p class="foot">{escape(text)}</p>' for text in foot if text)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>{bodies}</table></div>{below}\n"
    )


def _body(heading: str, rows: Sequence[Row], width: int) -> str:
    first = f'<tr class="group"><th scope="rowgroup" colspan="{width}">{escape(heading)}</th></tr>' if heading else ""
    return f"<tbody>{first}{''.join(_row(row) for row in rows)}</tbody>"


def _row(row: Row) -> str:
    head, *cells = (cell if isinstance(cell, Cell) else Cell(cell) for cell in row)
    fixed = ' class="total"' if head.mark == "total" else ""
    return f'<tr{fixed}><th scope="row"{_value(head)}>{escape(head.text)}</th>{"".join(map(_cell, cells))}</tr>'


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"<td{_value(cell)}>{f'<b>{text}</b>' if cell.mark == 'best' else text}</td>"


def _value(cell: Cell) -> str:
    return "" if cell.value is None else f' data-value="{cell.value:.6g}"'


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{escape(text)}</p>\n"


def details(summary: str, inside: str) -> str:
    """What is folded until somebody wants it."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>\n"


def section(anchor: str, heading: str, *parts: str) -> str:
    """A section of the page; `nav` of page.py links to its anchor."""
    return f'<section id="{anchor}"><h2>{escape(heading)}</h2>\n{"".join(parts)}</section>\n'


def heading(text: str) -> str:
    """Below a section's."""
    return f"<h3>{escape(text)}</h3>\n"
