"""Ranks of query methods by their weak-modality AULC, per (dataset, regime), and their sums (the paper's Table 3)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from scipy.stats import rankdata

from mmal_cli.analysis.power import paired, smallest_difference
from mmal_cli.core.errors import BAD_DATA, UserError, unknown
from mmal_cli.core.paradigms import ST, Paradigm
from mmal_cli.core.place import InRegime, regime_order
from mmal_cli.core.tables import AulcRow, AulcTable, RankBlock

PRINTED = -1  # stands for the seed of a printed mean, which has none
DECIMALS = 10  # float noise in a mean of three seeds is about 1e-15; no test set tells 1e-10 apart


@dataclass(frozen=True)
class Block:
    """What is ranked together; scores: qm -> seed -> aulc of the weak modality, in plain values.

    factor: what the tables show these values times (docs/protocol.md, "Evaluation"); printed means have it in them.
    curves: the same of learning curves, and labels: of their points; both empty where the table has none, or where the
    methods were asked at different numbers of labels.
    """

    dataset: str
    regime: str
    moddrop: bool
    weak: str
    scores: dict[str, dict[int, float]]
    curves: dict[str, dict[int, tuple[float, ...]]] = field(default_factory=dict)
    labels: tuple[int, ...] = ()
    factor: float = 1.0
    paradigm: Paradigm = ST

    @property
    def at(self) -> InRegime:
        """Its place."""
        return InRegime(dataset=self.dataset, regime=self.regime, moddrop=self.moddrop, paradigm=self.paradigm)

    @property
    def seeds(self) -> list[int]:
        """All seeds of all methods."""
        return sorted({seed for by_seed in self.scores.values() for seed in by_seed})


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """1 for the highest score; ties share the average of their places, so m ranks add up to m (m + 1) / 2."""
    rounded = [-round(score, DECIMALS) for score in scores.values()]
    return dict(zip(scores, rankdata(rounded, method="average").tolist(), strict=True))


def ranked(block: Block) -> RankBlock:
    """The block's ranks, from the means over its seeds (fmean: the order of the seeds cannot break a tie).

    Scores and the smallest difference are as the tables show them: times the block's factor, which changes no rank.
    """
    smallest = smallest_difference(paired(block.scores))
    scores = {qm: fmean(by_seed.values()) for qm, by_seed in sorted(block.scores.items())}
    return RankBlock(
        **block.at.model_dump(),
        weak=block.weak,
        seeds=[seed for seed in block.seeds if seed != PRINTED],
        scores={qm: score * block.factor for qm, score in scores.items()},
        ranks=ranks(scores),
        smallest=None if smallest is None else smallest * block.factor,
    )


def sums(blocks: Sequence[RankBlock]) -> dict[str, dict[str, float]]:
    """regime -> qm -> sum of ranks over the blocks of the regime; lower is better."""
    regimes = sorted({block.regime for block in blocks}, key=regime_order)
    return {
        regime: {qm: sum(block.ranks[qm] for block in blocks if block.regime == regime) for qm in blocks[0].ranks}
        for regime in regimes
    }


def blocks(table: AulcTable, weak: Mapping[str, str], variant: Mapping[str, bool]) -> list[Block]:
    """The table's rows of the chosen variants as blocks, by regime, then dataset, then paradigm.

    Args:
        table: AULC of runs or printed ones.
        weak: dataset -> the subset that is ranked; other datasets are left out.
        variant: dataset -> with or without modality dropout.

    Raises:
        UserError: a row lacks the weak subset, or the rows of a block differ in their number of cycles.
    """
    groups: dict[tuple, list[AulcRow]] = defaultdict(list)
    for row in table.rows:
        if row.dataset in weak and row.moddrop == variant[row.dataset]:
            groups[regime_order(row.regime), row.variant].append(row)
    found = []
    for key in sorted(groups):
        name = groups[key][0].dataset
        found.append(_block(groups[key], weak[name], table.datasets[name].factor(weak[name])))
    return found


def _block(rows: Sequence[AulcRow], weak: str, factor: float) -> Block:
    first = rows[0]
    for row in rows:
        here = f"{row.name} {row.regime}"
        if weak not in row.subsets:
            raise unknown(f"subset in {here} {row.qm}:", weak, row.subsets)
        if row.cycles != first.cycles:
            raise UserError(
                f"{here}: {row.qm} has {row.cycles} cycles and {first.qm} has {first.cycles}, so their AULC cannot be "
                "compared; run one of them again with the settings of the other",
                BAD_DATA,
            )
        if row.cycles == 1:
            raise UserError(f"{here}: runs of one cycle have no area to rank; set regimes.{row.regime}.cycles", BAD_DATA)
    scores = {row.qm: _scores(row, weak) for row in rows}
    curves = {row.qm: dict(zip(row.seeds, row.subsets[weak].curves, strict=False)) for row in rows}
    block = Block(first.dataset, first.regime, first.moddrop, weak, scores, factor=factor, paradigm=first.paradigm)
    if not all(curves.values()) or len({row.labels for row in rows}) > 1:
        return block
    return replace(block, curves=curves, labels=first.labels)


def _scores(row: AulcRow, weak: str) -> dict[int, float]:
    found = row.subsets[weak].aulc
    return dict(zip(row.seeds, found.values, strict=True)) if row.seeds else {PRINTED: found.mean}


def choose_variant(table: AulcTable, dataset: str, wanted: bool | None, main: bool) -> bool:
    """With or without modality dropout.

    Args:
        wanted: what the person asked for; None for the main comparison.
        main: the variant of the main comparison; it only counts if the table has both.
    """
    have = {row.moddrop for row in table.rows if row.dataset == dataset}
    if wanted is None:
        return main if len(have) == 2 else have.pop()
    if wanted not in have:
        asked = f"{dataset} has no runs {'with' if wanted else 'without'} moddrop"
        raise UserError(f"{asked}; leave --moddrop out, or rank other datasets only: --dataset NAME")
    return wanted
