"""What people need to see of the samples asked for, such as addresses of their images: columns of a table of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmal_cli.annotation import batch
from mmal_cli.core.errors import BAD_DATA, UserError

ID = "id"


@dataclass(frozen=True)
class Table:
    """Its columns and id -> their cells; not id itself, what a batch has of its own, and columns without a name."""

    path: Path
    columns: list[str]
    cells: dict[str, list[str]]

    def of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """column -> a cell for each of the ids.

        Raises:
            UserError: an id that the table has not.
        """
        if missing := [name for name in ids if name not in self.cells]:
            raise UserError(
                f"{self.path} has no row for {len(missing)} of {len(ids)} samples asked for, the first: {missing[0]}; "
                "the batch is kept: add them, and the same command writes its file",
                BAD_DATA,
            )
        return {column: [self.cells[name][k] for name in ids] for k, column in enumerate(self.columns)}


def read(path: Path) -> Table:
    """A table with a header, by `batch.rows`.

    Raises:
        UserError: no table, no column id or two of a name, a row of another length, an id that stands twice.
    """
    given = batch.rows(batch.decoded(path, "a table with a column id"), path)
    _, columns = next(given, (0, []))
    if ID not in columns:
        raise UserError(f"{path} has columns {', '.join(columns) or 'none'}; expected one called {ID}", BAD_DATA)
    kept = [k for k, column in enumerate(columns) if column and column not in (*batch.OWN, batch.FOREIGN)]
    names = [columns[k] for k in kept]
    if twice := [name for name in (ID, *names) if columns.count(name) > 1]:
        raise UserError(f"{path} has two columns called {twice[0]!r}; rename one", BAD_DATA)
    if odd := [name for name in names if not name.isprintable()]:
        raise UserError(f"{path} has a column called {odd[0]!r}; expected a name in readable characters", BAD_DATA)
    cells: dict[str, list[str]] = {}
    for line, row in given:
        if len(row) != len(columns):
            raise UserError(f"{path}, line {line}: {len(row)} cells, expected {len(columns)}", BAD_DATA)
        name = row[columns.index(ID)]
        if name in cells:
            raise UserError(f"{path}, line {line}: {name!r} has a row above; keep one of them", BAD_DATA)
        cells[name] = [row[k] for k in kept]
    return Table(path, names, cells)
