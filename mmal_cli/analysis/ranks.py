"""Ranks of query methods by their weak-modality AULC, per (dataset, regime), and their sums (the paper's Table 3)."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from scipy.stats import rankdata

from mmal_cli.analysis.power import paired, smallest_difference
from mmal_cli.core.errors import BAD_DATA, UserError, unknown
from mmal_cli.core.manifest import check
from mmal_cli.core.tables import AulcRow, AulcTable, Place, RankBlock, regime_order

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
    """The block's ranks, from the means over its seeds (fmean: the order of the seeds cannot break a tie).

    Scores and the smallest difference are as the tables show them: times the block's factor, which changes no rank.
    """
    smallest = smallest_difference(paired(block.scores))
    scores = {qm: fmean(by_seed.values()) for qm, by_seed in sorted(block.scores.items())}
    return RankBlock(
        dataset=block.dataset,
        regime=block.regime,
        moddrop=block.moddrop,
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
    return [_block(groups[key], weak[key[1]], table.datasets[key[1]].factor(weak[key[1]])) for key in sorted(groups)]


def _block(rows: Sequence[AulcRow], weak: str, factor: float) -> Block:
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
    block = Block(first.dataset, first.regime, first.moddrop, weak, scores, factor=factor)
    if not all(curves.values()) or len({row.labels for row in rows}) > 1:
        return block
    return replace(block, curves=curves, labels=first.labels)


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


def usable(blocks: Sequence[Block]) -> tuple[list[Block], list[str]]:
    """The blocks that can be ranked, two methods or more with a seed in common, and a sentence on each of the others."""
    found, left_out = [], []
    for block in blocks:
        if why := _unusable(block):
            left_out.append(f"{block.dataset} {block.regime} is left out: {why}.")
        else:
            found.append(block)
    return found, left_out


def _unusable(block: Block) -> str:
    if len(block.scores) < 2:
        return f"it has {''.join(block.scores) or 'no query method'} alone, a ranking takes two query methods"
    if not set.intersection(*map(set, block.scores.values())):
        return f"its query methods have no seed in common ({_seeds(block, sorted(block.scores))})"
    return ""


def _seeds(block: Block, methods: Sequence[str]) -> str:
    return ", ".join(f"{qm} {' '.join(map(str, sorted(block.scores[qm])))}" for qm in methods)


def not_run(table: AulcTable, blocks: Sequence[Block], only: Collection[str] = ()) -> list[Place]:
    """The cells that had not run when `mmal aulc --grid` made the table, if they would be ranked.

    Of a dataset with blocks those of its variant; of one without, whose variant is not known, all.
    """
    variant = {block.dataset: block.moddrop for block in blocks}
    rows = table.made.get("not_run", [])
    places = [check(Place, row | {"seed": seed}, "made.not_run", BAD_DATA) for row in rows for seed in row["seeds"]]
    return [p for p in places if variant.get(p.dataset, p.moddrop) == p.moddrop and (not only or p.dataset in only)]


def incomplete(asked: Sequence[Block], ranked: Sequence[Block], places: Sequence[Place]) -> list[str]:
    """Sentences on what a ranking lacks: how many runs and blocks, which blocks have no run, which methods are not ranked.

    Args:
        asked: the blocks that have runs.
        ranked: what `usable` and `common` have left of them.
        places: those of missing runs; what is there twice counts once.
    """
    if not places:
        return []
    have = {(block.dataset, block.regime) for block in asked}
    empty: dict[str, list[str]] = defaultdict(list)
    for dataset, (_, regime) in sorted({(place.dataset, regime_order(place.regime)) for place in places}):
        if (dataset, regime) not in have:
            empty[dataset].append(regime)
    runs, blocks = len({(place.row, place.seed) for place in places}), sum(map(len, empty.values())) + len(asked) - len(ranked)
    counts = f"{runs} {'run' if runs == 1 else 'runs'}"
    counts += f" and {blocks} {'block' if blocks == 1 else 'blocks'}" if blocks else ""
    said = [f"Missing: {counts}; what is common to the rest is ranked."]
    if empty:
        said.append(f"Without any run: {'; '.join(' '.join([name, *of]) for name, of in empty.items())}.")
    if dropped := sorted({qm for block in asked for qm in block.scores} - ranked[0].scores.keys()):
        said.append(f"Not in all blocks, so not ranked: {', '.join(dropped)}.")
    return said


def common(blocks: Sequence[Block]) -> list[Block]:
    """What all blocks have: the methods of every block and, within a block, the seeds of all of these methods."""
    if not blocks:
        raise UserError("no block is left to rank; a ranking takes two query methods with a seed in common", BAD_DATA)
    methods = set.intersection(*(set(block.scores) for block in blocks))
    if len(methods) < 2:
        raise UserError(f"the blocks have {', '.join(methods) or 'no query method'} in common; a ranking needs two", BAD_DATA)
    return [_shared_seeds(block, sorted(methods)) for block in blocks]


def _shared_seeds(block: Block, methods: Sequence[str]) -> Block:
    seeds = set.intersection(*(set(block.scores[qm]) for qm in methods))
    if not seeds:
        had = _seeds(block, methods)
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
