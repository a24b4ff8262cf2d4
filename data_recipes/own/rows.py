"""Which rows become samples of which split, and why the others do not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_recipes.own.card import Own, Vector
from data_recipes.own.table import Table
from mmal_cli.core import seeds
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import UNLABELLED

SPLITS = ("train", "test", UNLABELLED)
NAMED = 5  # groups that a message names


@dataclass
class Rows:
    """The rows of a table, and what has become of them so far; `why` is row -> reason and detail of those left out."""

    own: Own
    table: Table
    why: dict[int, tuple[str, str]] = field(default_factory=dict)

    def drop(self, row: int, reason: str, detail: str = "") -> None:
        """Leaves a row out; of several reasons the first counts."""
        self.why.setdefault(row, (reason, detail))

    @property
    def kept(self) -> list[int]:
        """Rows that are still in, in the order of their ids, so that the table's order is nothing."""
        ids = self.table.text[self.own.card.id]
        return sorted((row for row in range(self.table.rows) if row not in self.why), key=lambda row: ids[row])

    def cells(self, column: str | None) -> Sequence[str]:
        """A column's texts; empty ones where the card names no such column."""
        return [""] * self.table.rows if column is None else self.table.text[column]

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> rows."""
        return dict(sorted(Counter(reason for reason, _ in self.why.values()).items()))


def usable(own: Own, table: Table) -> Rows:
    """The rows, without those whose cells show that they cannot be used; no file is opened.

    Raises:
        UserError: the table's split column parts a group.
    """
    rows, card = Rows(own, table), own.card
    labels, said, groups = (rows.cells(column) for column in (card.label, card.split, card.group))
    seen: dict[str, int] = {}
    for row, name in enumerate(table.text[card.id]):
        if not name:
            rows.drop(row, "id empty")
        elif name in seen:
            rows.drop(row, "id repeated", f"first in row {seen[name] + 1}")
        seen.setdefault(name, row)
        if card.group and not groups[row]:
            rows.drop(row, "group empty")
        if card.split:
            _check_split(rows, row, labels[row], said[row])
    for name, spec in own.specs.items():
        for column in spec.columns if isinstance(spec, Vector) else ():
            for row, cell in table.not_numbers[column].items():
                rows.drop(row, "number unreadable", f"{name}.{column}: {cell}")
    for row in np.flatnonzero(~present(own, table).any(axis=1)):
        rows.drop(int(row), "no modality present")
    if card.split and card.group:
        _refuse_parted(rows)
    return rows


def _check_split(rows: Rows, row: int, label: str, said: str) -> None:
    if label and said not in ("train", "test"):
        rows.drop(row, "split unknown", said or "empty")
    elif not label and said == "test":
        rows.drop(row, "test sample without label")
    elif not label and said not in ("", "train", UNLABELLED):
        rows.drop(row, "split unknown", said)


def _refuse_parted(rows: Rows) -> None:
    """Refuses a group that is tested on and in another split too."""
    card = rows.own.card
    said, groups = rows.cells(card.split), rows.cells(card.group)
    inside = {test: {groups[row] for row in rows.kept if (said[row] == "test") == test} for test in (True, False)}
    if parted := sorted(inside[True] & inside[False]):
        more = ", ..." if len(parted) > NAMED else ""
        names = "" if card.restricted else f": {', '.join(parted[:NAMED])}{more}"
        raise UserError(
            f"{len(parted)} groups of column {card.group!r} are in test and in another split by column {card.split!r}{names}; "
            "mend the split column, or take split out of the card, so that test is drawn by group",
            BAD_DATA,
        )


def present(own: Own, table: Table) -> np.ndarray:
    """(R, M) bool: what has a cell that is not empty."""
    columns = [
        np.any([np.isfinite(table.numbers[column]) for column in spec.columns], axis=0)
        if isinstance(spec, Vector)
        else np.array([bool(cell) for cell in table.text[spec.column]], dtype=bool)
        for spec in own.specs.values()
    ]
    return np.stack(columns, axis=1)


def split(rows: Rows) -> dict[str, list[int]]:
    """Split -> its rows, in the order of their ids; `unlabelled` alone may be empty, and is then not there.

    Without a split column test is drawn: by group where there is one (that share of all groups that have a label), else
    from each class. A draw depends on the seed and the name of what is drawn, so that another row moves few others. Rows
    without a label that are of a group that is tested on are left out.

    Raises:
        UserError: train or test has no sample, or there is one class alone.
    """
    card, kept = rows.own.card, rows.kept
    labels, said = rows.cells(card.label), rows.cells(card.split)
    labelled = [row for row in kept if labels[row]]
    if kept and not labelled:
        raise UserError(f"column {card.label!r} has no label in any row that can be used ({_said(rows.dropped)})", BAD_DATA)
    if card.split:
        tested = {row for row in labelled if said[row] == "test"}
    elif card.group:
        tested = _groups_for_test(rows, labelled)
    else:
        tested = _drawn_of_each_class(rows, labelled)
    parts = {
        "train": [row for row in labelled if row not in tested],
        "test": [row for row in labelled if row in tested],
        UNLABELLED: [row for row in rows.kept if not labels[row]],
    }
    for name in ("train", "test"):
        if not parts[name]:
            alone = f"; column {card.group!r} holds one group alone" if card.group and not card.split and labelled else ""
            why = f"{_said(rows.dropped)}{alone}"
            raise UserError(f"no row of {rows.own.table.name} can be used for {name} ({why})", BAD_DATA)
    if len({labels[row] for row in labelled}) < 2:
        raise UserError(f"column {card.label!r} holds one label alone, {labels[labelled[0]]!r}; expected two or more", BAD_DATA)
    return {name: found for name, found in parts.items() if found}


def _groups_for_test(rows: Rows, labelled: Sequence[int]) -> set[int]:
    """The labelled rows of the drawn groups; the unlabelled ones of these are left out."""
    groups = rows.cells(rows.own.card.group)
    drawn = set(_drawn(rows.own, {groups[row] for row in labelled}))
    for row in rows.kept:
        if groups[row] in drawn and not rows.cells(rows.own.card.label)[row]:
            rows.drop(row, "test sample without label", "its group was drawn for test")
    return {row for row in labelled if groups[row] in drawn}


def _drawn_of_each_class(rows: Rows, labelled: Sequence[int]) -> set[int]:
    ids, labels = rows.cells(rows.own.card.id), rows.cells(rows.own.card.label)
    of_class: dict[str, dict[str, int]] = {}
    for row in labelled:
        of_class.setdefault(labels[row], {})[ids[row]] = row
    return {by_id[name] for by_id in of_class.values() for name in _drawn(rows.own, by_id)}


def _drawn(own: Own, names: Iterable[str]) -> list[str]:
    """The card's share of some names, one at least and not all."""
    order = sorted(names, key=lambda name: (seeds.derive(own.card.seed, "own", "test", name), name))
    return order[: min(len(order) - 1, max(1, round(own.test_share * len(order))))] if order else []


def _said(dropped: Mapping[str, int]) -> str:
    return "left out: " + ", ".join(f"{reason} {n}" for reason, n in dropped.items()) if dropped else "none was left out"
