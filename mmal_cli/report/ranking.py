"""Ranks and statistics for the page: what `mmal rank --stats --allow-incomplete` would say, or why it says nothing."""

from dataclasses import dataclass

from mmal_cli.analysis import complete, ranks
from mmal_cli.analysis.compare import compare
from mmal_cli.core.errors import UserError
from mmal_cli.core.rank_stats import Stats
from mmal_cli.core.settings import main_variant
from mmal_cli.core.tables import AulcTable, RankBlock


@dataclass(frozen=True)
class Ranking:
    """Blocks, sums per regime, statistics; `notes` says what was left out, and where nothing is ranked, why."""

    blocks: list[RankBlock]
    sums: dict[str, dict[str, float]]
    stats: Stats | None
    notes: list[str]


def rank(table: AulcTable) -> Ranking:
    """By the weak modality, in the protocol's variant of moddrop; what is common to all blocks."""
    columns = {name: {s for row in table.rows if row.dataset == name for s in row.subsets} for name in table.datasets}
    weak = {name: of.weak for name, of in table.datasets.items() if of.weak in columns[name]}
    notes = [f"{name} is left out: it names no weak modality." for name in table.datasets if name not in weak]
    variant = {name: ranks.choose_variant(table, name, None, main_variant(name)) for name in weak}
    try:
        asked = ranks.blocks(table, weak, variant)
        found, left_out = complete.usable(asked)
        notes += left_out
        missing = complete.gaps(asked)
        if missing or len({frozenset(block.scores) for block in found}) > 1:
            found = complete.common(found)
            notes += complete.incomplete(asked, found, [gap.place for gap in missing])
    except UserError as error:
        return Ranking([], {}, None, [*notes, f"{error}."])
    if not found:
        return Ranking([], {}, None, [*notes, "A ranking takes two query methods."])
    ranked = [ranks.ranked(block) for block in found]
    against = "random" if "random" in ranked[0].ranks else min(ranked[0].ranks)
    return Ranking(ranked, ranks.sums(ranked), compare(found, against, complete.of_paradigms(asked)), notes)
