"""Everything that a card names, read once: which rows become samples, and what they are known by.

Rows go by their ids and are known by their cells and by the sha256 of their files: the dataset is the same wherever these lie,
in whatever order the table has them, as CSV or as Parquet.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from data_recipes import texts
from data_recipes.own import content, table
from data_recipes.own.card import Own, Series, Vector
from data_recipes.own.content import Bad, Found
from data_recipes.own.rows import Rows, present, split, usable
from data_recipes.own.waveforms import NPY, wfdb
from data_recipes.percentiles import percentiles
from data_recipes.workers import InOrder

READ = 64  # rows whose files one process reads at a time


@dataclass(frozen=True)
class Data:
    """All that decides the dataset's bytes.

    Attributes:
        rows: the table, and why rows were left out.
        splits: split -> rows in the order of the samples.
        found: row -> what its files and texts are.
    """

    rows: Rows
    splits: Mapping[str, Sequence[int]]
    found: Mapping[int, Found]

    @property
    def own(self) -> Own:
        """The card."""
        return self.rows.own

    @cached_property
    def present(self) -> np.ndarray:
        """(R, M) bool."""
        return present(self.own, self.rows.table)

    @cached_property
    def class_names(self) -> list[str]:
        """Labels in order: by number where all are whole numbers, else by text."""
        labels = self.rows.cells(self.own.card.label)
        names = {labels[row] for name in ("train", "test") for row in self.splits[name]}
        return sorted(names, key=int if all(map(_whole, names)) else None)

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(R,) int64: a number for each group, or None."""
        column = self.own.card.group
        return None if column is None else np.unique(self.rows.cells(column), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        """Modality -> (R, F) float32: each number's place among those of the rows that are not tested on."""
        fit_on = np.zeros(self.rows.table.rows, dtype=bool)
        fit_on[[row for name, rows in self.splits.items() if name != "test" for row in rows]] = True
        made = {}
        for place, (name, spec) in enumerate(self.own.specs.items()):
            if isinstance(spec, Vector):
                values = np.stack([self.rows.table.numbers[column] for column in spec.columns], axis=1)
                made[name] = percentiles(values, fit_on, spec.indicators, impute=True) * self.present[:, place, None]
        return made

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Modality of tokens -> L."""
        longest = dict.fromkeys(self.own.tokenizers, 1)
        for found in self.found.values():
            longest |= {name: max(longest[name], len(ids)) for name, ids in found.ids.items()}
        return {name: texts.length(most) for name, most in longest.items()}

    @cached_property
    def digest(self) -> str:
        """12 hex digits of the rows that were used and of how many were not."""
        digest = hashlib.sha256(json.dumps(self.rows.dropped).encode())
        for row in self.rows.kept:
            digest.update(json.dumps(self._row(row)).encode())
        return digest.hexdigest()[:12]

    def _row(self, row: int) -> list[Any]:
        card, found = self.own.card, self.found[row]
        said = [self.rows.cells(column)[row] if column else "" for column in (card.id, card.label, card.split, card.group)]
        numbers = [repr(float(values[row])) for _, values in sorted(self.rows.table.numbers.items())]
        ids = {name: some.tolist() for name, some in sorted(found.ids.items())}
        return [said, numbers, {name: digest.hex() for name, digest in sorted(found.digests.items())}, ids]


def _whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and str(int(text)) == text


def gather(own: Own, in_order: InOrder, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Data:
    """Reads the table and everything that it names, and says which rows are usable and of which split.

    Args:
        in_order: runs tasks in processes (`workers.processes`).
        on_progress: called with (rows looked at, rows in all).

    Raises:
        UserError: what `table.read`, `usable` and `split` raise; the disk refuses a file.

    Cost: reads and decodes every file once. Memory: the columns, and some hundred bytes a row.
    """
    rows = usable(own, table.read(own))
    series = [spec.column for spec in own.specs.values() if isinstance(spec, Series)]
    if any(cell and not cell.endswith(NPY) for column in series for cell in rows.cells(column)):
        wfdb()  # a package that is not there ends here, not later
    columns = {name: rows.cells(spec.column) for name, spec in own.specs.items() if not isinstance(spec, Vector)}
    kept, looked = rows.kept, []
    cells = [{name: column[row] for name, column in columns.items() if column[row]} for row in kept]
    on_progress(0, len(kept))
    tasks = ((cells[at : at + READ], own.specs, own.files, own.tokenizers) for at in range(0, len(kept), READ))
    for some in in_order(content.look, tasks):
        looked += some
        on_progress(len(looked), len(kept))
    found = dict(zip(kept, looked, strict=True))
    for row, one in found.items():
        if isinstance(one, Bad):
            rows.drop(row, *one)
    return Data(rows, split(rows), {row: one for row, one in found.items() if isinstance(one, Found)})
