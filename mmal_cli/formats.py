"""One table as Markdown, LaTeX or CSV: text from text. A cell in *stars* is italic, in **two** bold, in ***three*** both."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

MARKED = re.compile(r"(\*{1,3})([^*](?:.*[^*])?)\1")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {sign: f"${sign}$" for sign in "<>|"}


def marks(cell: str) -> tuple[str, bool, bool]:
    """The cell's text, whether it is bold, whether it is italic."""
    found = MARKED.fullmatch(cell)
    return (found[2], len(found[1]) > 1, len(found[1]) != 2) if found else (cell, False, False)


def marked(text: str, bold: bool = False, italic: bool = False) -> str:
    """The other way round."""
    stars = "*" * (2 * bold + italic)
    return f"{stars}{text}{stars}"


def markdown(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], foot: str, left: int) -> str:
    """A pipe table between its title and its foot; empty rows, which part groups on a terminal, are dropped."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def shown(cell: str) -> str:
        text, bold, italic = marks(cell)
        return marked(text.strip().replace("|", "\\|"), bold, italic)

    rule = ["---" if number < left else "---:" for number in range(len(columns))]
    lines = [line(map(shown, columns)), line(rule), *(line(map(shown, row)) for row in rows if any(row))]
    return "\n\n".join(part for part in (title, "\n".join(lines), foot) if part) + "\n"


def latex(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], foot: str, left: int) -> str:
    """A table environment in the style of booktabs, which the document must load."""

    def line(cells: Iterable[str]) -> str:
        return f"{' & '.join(map(_latex_cell, cells))} \\\\"

    body = [line(row) if any(row) else r"\addlinespace" for row in rows]
    aligned = "l" * left + "r" * (len(columns) - left)
    lines = [r"\begin{table}", f"\\caption{{{escaped(title)}}}" if title else "", f"\\begin{{tabular}}{{{aligned}}}"]
    lines += [r"\toprule", line(columns), r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    lines += ["", escaped(foot)] if foot else []
    return "\n".join([line for line in lines if line or foot] + [r"\end{table}", ""])


def _latex_cell(cell: str) -> str:
    text, bold, italic = marks(cell)
    text = escaped(text.strip())
    text = f"\\textit{{{text}}}" if italic else text
    return f"\\textbf{{{text}}}" if bold else text


def escaped(text: str) -> str:
    """Text as LaTeX shows it; the hyphen of a negative number becomes a minus."""
    signs = "".join(LATEX.get(sign, sign) for sign in text)
    return re.sub(r"(?<![\w.)])-(?=\d)", "$-$", signs)


def comma_separated(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV with a heading; no marks, no empty rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([marks(cell)[0].strip() for cell in row] for row in [columns, *rows] if any(row))
    return text.getvalue()
