"""Ranks of query methods by their weak-modality AULC, per (dataset, regime), and their sums (the paper's Table 3)."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from scipy.stats import rankdata

from mmal_cli.analysis.power import paired, smallest_difference
from mmal_cli.core.errors import BAD_DATA, UserError, unknown
from mmal_cli.core.tables import AulcRow, AulcTable, Place, RankBlock, regime_order

PRINTED = -1  # stands for the seed of a printed mean, which has none
DECIMALS = 10  # float noise in a mean of three seeds is about 1e-15; no test set tells 1e-10 apart


@dataclass(frozen=True)
class Block:
    """What is ranked together; scores: qm -> seed -> aulc of the weak modality.

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

    @property
    def seeds(self) -> list[int]:
        """All seeds of all methods."""
        return sorted({seed for by_seed in self.scores.values() for seed in by_seed})


@dataclass(frozen=True)
class Gap:
    """A run that the grid lacks, and why it is expected."""

    place: Place
    because: str


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """1 for the highest score; ties share the average of their places, so m ranks add up to m (m + 1) / 2."""
    rounded = [-round(score, DECIMALS) for score in scores.values()]
    return dict(zip(scores, rankdata(rounded, method="average").tolist(), strict=True))


def ranked(block: Block) -> RankBlock:
    """The block's ranks, from the means over its seeds (fmean: the order of the seeds cannot break a tie)."""
    scores = {qm: fmean(by_seed.values()) for qm, by_seed in sorted(block.scores.items())}
    return RankBlock(
        dataset=block.dataset,
        regime=block.regime,
        moddrop=block.moddrop,
        weak=block.weak,
        seeds=[seed for seed in block.seeds if seed != PRINTED],
        scores=scores,
        ranks=ranks(scores),
        smallest=smallest_difference(paired(block.scores)),
    )


def sums(blocks: Sequence[RankBlock]) -> dict[str, dict[str, float]]:
    """regime -> qm -> sum of ranks over the blocks of the regime; lower is better."""
    regimes = sorted({block.regime for block in blocks}, key=regime_order)
    return {
        regime: {qm: sum(block.ranks[qm] for block in blocks if block.regime == regime) for qm in blocks[0].ranks}
        for regime in regimes
    }


def blocks(table: AulcTable, weak: Mapping[str, str], variant: Mapping[str, bool]) -> list[Block]:
    """The table's rows of the chosen variants as blocks, by regime, then dataset.

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
            groups[regime_order(row.regime), row.dataset].append(row)
    return [_block(groups[key], weak[key[1]]) for key in sorted(groups)]


def _block(rows: Sequence[AulcRow], weak: str) -> Block:
    first = rows[0]
    for row in rows:
        here = f"{row.dataset} {row.regime}"
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
    if not all(curves.values()) or len({row.labels for row in rows}) > 1:
        return Block(first.dataset, first.regime, first.moddrop, weak, scores)
    return Block(first.dataset, first.regime, first.moddrop, weak, scores, curves, first.labels)


def _scores(row: AulcRow, weak: str) -> dict[int, float]:
    found = row.subsets[weak].aulc
    return dict(zip(row.seeds, found.values, strict=True)) if row.seeds else {PRINTED: found.mean}


def gaps(blocks: Sequence[Block]) -> list[Gap]:
    """The runs that are missing: every dataset should have every regime, every block every method, every method every seed."""
    methods = sorted({qm for block in blocks for qm in block.scores})
    found = [gap for block in blocks for gap in _gaps_within(block, methods)]
    regimes = {block.regime for block in blocks}
    for dataset in sorted({block.dataset for block in blocks}):
        own = {block.regime: block for block in blocks if block.dataset == dataset}
        some = min(own.values(), key=lambda block: regime_order(block.regime))
        for regime in sorted(regimes - own.keys(), key=regime_order):
            empty = replace(some, regime=regime, scores={})
            because = f"{dataset} has {' '.join(sorted(own, key=regime_order))}, other datasets have {regime}"
            found += [Gap(_place(empty, qm, seed), because) for qm in methods for seed in some.seeds]
    return found


def _gaps_within(block: Block, methods: Collection[str]) -> Iterator[Gap]:
    fullest = max(block.scores, key=lambda qm: (len(block.scores[qm]), qm))
    for qm in methods:
        for seed in block.seeds:
            if seed not in block.scores.get(qm, {}):
                witness = fullest if seed in block.scores[fullest] else next(m for m in block.scores if seed in block.scores[m])
                shown = " ".join(str(s) for s in sorted(block.scores[witness]) if s != PRINTED)
                yield Gap(_place(block, qm, seed), f"{witness} has {shown or 'it'}")


def _place(block: Block, qm: str, seed: int) -> Place:
    return Place(dataset=block.dataset, regime=block.regime, moddrop=block.moddrop, qm=qm, seed=seed)


def common(blocks: Sequence[Block]) -> list[Block]:
    """What all blocks have: the methods of every block and, within a block, the seeds of all of these methods."""
    methods = set.intersection(*(set(block.scores) for block in blocks))
    if len(methods) < 2:
        raise UserError(f"the blocks have {', '.join(methods) or 'no query method'} in common; a ranking needs two", BAD_DATA)
    return [_shared_seeds(block, sorted(methods)) for block in blocks]


def _shared_seeds(block: Block, methods: Sequence[str]) -> Block:
    seeds = set.intersection(*(set(block.scores[qm]) for qm in methods))
    if not seeds:
        had = ", ".join(f"{qm} {' '.join(map(str, sorted(block.scores[qm])))}" for qm in methods)
        raise UserError(f"{block.dataset} {block.regime}: the query methods have no seed in common ({had})", BAD_DATA)
    return replace(block, scores={qm: {seed: block.scores[qm][seed] for seed in sorted(seeds)} for qm in methods})


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
