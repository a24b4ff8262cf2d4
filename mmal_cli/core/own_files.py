"""Query methods that are files of one's own: tables know them by their sha256 as well as by their name."""

from collections.abc import Iterable, Sequence

from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.tables import AulcRow, RankBlock


def of(rows: Iterable[AulcRow]) -> list[tuple[str, str]]:
    """(qm, sha256) of each file that rows were made with, sorted."""
    return sorted({(row.qm, row.qm_sha256) for row in rows if row.qm_sha256})


def foot(found: Iterable[tuple[str, str]]) -> str:
    """What stands under a table: a line for each (qm, sha256)."""
    return "\n".join(f"{qm}.py: sha256 {sha256}" for qm, sha256 in found)


def of_ranked(blocks: Sequence[RankBlock], rows: Sequence[AulcRow]) -> dict[str, str]:
    """qm -> sha256 of the methods in blocks that are files.

    Raises:
        UserError: two blocks hold different methods under one name, whose ranks mean nothing together.
    """
    ranked = {(block.block, qm) for block in blocks for qm in block.ranks}
    first: dict[str, AulcRow] = {}
    for row in rows:
        if (row.block, row.qm) not in ranked:
            continue
        other = first.setdefault(row.qm, row)
        if other.qm_sha256 != row.qm_sha256:
            said = (f"{one.qm_sha256 or 'one of mmal'} on {one.dataset} {one.regime}" for one in (other, row))
            raise UserError(
                f"{row.qm} is not one method: its file has sha256 {' and '.join(said)}, so its ranks cannot be summed; "
                "run one of them again with the file of the other",
                BAD_DATA,
            )
    return dict(of(first.values()))
