"""Tables as Markdown, LaTeX or CSV; areas and a ranking as a CSV each. *Stars* are italic, **two** bold, ***three*** both."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmal_cli.core.rank_stats import Stats
    from mmal_cli.core.tables import AulcTable, RankBlock, RankTable

MARKED = re.compile(r"(\*{1,3})([^*](?:.*[^*])?)\1")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {sign: f"${sign}$" for sign in "<>|"}

RANKING = (
    "what",
    "regime",
    "dataset",
    "paradigm",
    "moddrop",
    "weak",
    "seeds",
    "qm",
    "against",
    "value",
    "censored_at",
    "qm_sha256",
)  # columns


def marks(cell: str) -> tuple[str, bool, bool]:
    """The cell's text, whether it is bold, whether it is italic."""
    found = MARKED.fullmatch(cell)
    return (found[2], len(found[1]) > 1, len(found[1]) != 2) if found else (cell, False, False)


def marked(text: str, bold: bool = False, italic: bool = False) -> str:
    """The other way round."""
    stars = "*" * (2 * bold + italic)
    return f"{stars}{text}{stars}"


def short(text: str, most: int) -> str:
    """A text on one line, cut at `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


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


def areas(table: AulcTable, area: str) -> Iterator[list[str]]:
    """Headings, then a row for each row and subset, unrounded, never times ten."""
    yield ["dataset", "regime", "paradigm", "moddrop", "qm", "seeds", "subset", "weak", "mean", "sd", "qm_sha256"]
    for row in table.rows:
        place = [row.dataset, row.regime, row.paradigm, "on" if row.moddrop else "off", row.qm, str(len(row.seeds))]
        for subset, measures in row.subsets.items():
            found = getattr(measures, area)
            numbers = [None, None] if found is None else [found.mean, found.sd]
            weak = "yes" if subset == table.datasets[row.dataset].weak else "no"
            yield [*place, subset, weak, *("" if x is None else repr(x) for x in numbers), row.qm_sha256 or ""]


def ranking(result: RankTable) -> Iterator[list[str]]:
    """Headings, then rows, unrounded; what is not defined has no row, what was not reached no value."""
    yield list(RANKING)
    for row in _numbers(result):
        row["qm_sha256"] = result.own_files.get(row.get("qm"))
        if row.get("value") is not None or "censored_at" in row:
            yield ["" if (cell := row.get(name)) is None else str(cell) for name in RANKING]


def _numbers(result: RankTable) -> Iterator[dict[str, Any]]:
    places = {block.block: _place(block) for block in result.blocks}
    for block in result.blocks:
        place = places[block.block]
        for qm in result.methods:
            yield place | {"what": "score", "qm": qm, "value": block.scores[qm]}
            yield place | {"what": "rank", "qm": qm, "value": block.ranks[qm]}
        yield place | {"what": "smallest_difference", "value": block.smallest}
    for regime, sums in result.sums.items():
        yield from ({"what": "rank_sum", "regime": regime, "qm": qm, "value": value} for qm, value in sums.items())
    if result.stats:
        yield from _average_numbers(result.stats)
        yield from _difference_numbers(result.stats, places)
        yield from _saved_numbers(result.stats, places)


def _place(block: RankBlock) -> dict[str, Any]:
    own = {"moddrop": "on" if block.moddrop else "off", "weak": block.weak, "seeds": len(block.seeds)}
    return {name: getattr(block, name) for name in ("regime", "dataset", "paradigm")} | own


def _average_numbers(found: Stats) -> Iterator[dict[str, Any]]:
    for qm, of in found.average.items():
        yield {"what": "average_rank", "qm": qm, "value": of.rank}
        for what in ("low", "high", "best"):
            yield {"what": f"average_rank_{what}", "qm": qm, "value": getattr(of, what)}
    if found.friedman:
        yield {"what": "friedman_chi_squared", "value": found.friedman.chi_squared}
        yield {"what": "friedman_p", "value": found.friedman.p}
    yield {"what": "critical_difference", "value": found.critical_difference}


def _difference_numbers(found: Stats, places: Mapping[tuple, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield {"what": "pairs", "value": found.pairs}
    yield {"what": "smallest_p", "value": found.smallest_p}
    for qm, of in found.differences.items():
        two = {"qm": qm, "against": found.against}
        for block in of.blocks:
            place = places[block.block] | two
            yield place | {"what": "difference", "value": block.mean}
            yield place | {"what": "difference_sd", "value": block.sd}
        for what, value in {"difference": of.mean, "p": of.p, "p_holm": of.holm}.items():
            yield two | {"what": what, "value": value}
    for paradigm, matrix in {None: found.penalty, **found.penalties}.items():
        own = {"paradigm": paradigm}
        for qm, beaten in matrix.beats.items() if matrix else ():
            pairs = ({"what": "beats", "qm": qm, "against": other, "value": of} for other, of in beaten.items() if other != qm)
            yield from (own | pair for pair in pairs)
            yield own | {"what": "loses", "qm": qm, "value": matrix.loses[qm]}


def _saved_numbers(found: Stats, places: Mapping[tuple, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in found.saved:
        place = places[block.block]
        yield place | {"what": "labels_needed", "qm": found.against, "value": block.labels}
        for qm, of in block.methods.items():
            two = place | {"qm": qm, "against": found.against}
            reached = {} if of.needed is not None else {"censored_at": block.last}
            yield two | reached | {"what": "labels_needed", "value": of.needed}
            yield two | {"what": "labels_ratio", "value": of.ratio}
