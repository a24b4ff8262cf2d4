"""All statistics of a ranking: from blocks to what rank.yaml holds under `stats`."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mmal_cli.analysis import penalty, savings, stats
from mmal_cli.analysis.aulc import spread
from mmal_cli.analysis.power import paired
from mmal_cli.analysis.ranks import Block
from mmal_cli.core.errors import unknown
from mmal_cli.core.paradigms import Paradigm
from mmal_cli.core.rank_stats import AverageRank, Difference, Friedman, Paired, Penalty, Saved, SavedBlock, Stats


def compare(blocks: Sequence[Block], against: str, own: Mapping[Paradigm, Sequence[Block]] | None = None) -> Stats:
    """Average ranks and tests over blocks, differences to one method, and what the learning curves say.

    Args:
        blocks: as `complete.gaps` or `complete.common` leaves them: the same methods in all, the same seeds within one.
        against: the method that the others are compared with.
        own: the blocks of each training paradigm, likewise, which may have more methods; they get matrices of their own.

    Raises:
        UserError: `against` is not among the methods.
    """
    methods = sorted(blocks[0].scores)
    if against not in methods:
        raise unknown("query method to compare with (--against NAME):", against, methods)
    scores = [paired(block.scores) for block in blocks]  # each (n, k)
    ranks = stats.rank(np.array([block.mean(axis=0) for block in scores]))  # (B, k)
    average = dict(zip(methods, ranks.mean(axis=0).tolist(), strict=True))
    pairs = sum(len(block) for block in scores)
    resampled = ["seeds"] * any(len(block) > 1 for block in scores) + ["blocks"] * (len(blocks) > 1)
    resampled = resampled if pairs >= stats.FEWEST else []
    tested = stats.friedman(ranks)
    critical = stats.critical_difference(len(methods), len(blocks))
    return Stats(
        resampled=resampled,
        average=_average(average, scores) if resampled else {qm: AverageRank(rank=rank) for qm, rank in average.items()},
        friedman=Friedman(chi_squared=tested[0], p=tested[1]) if tested else None,
        critical_difference=critical,
        groups=stats.groups(average, critical) if critical else [],
        against=against,
        pairs=pairs,
        smallest_p=stats.smallest_p(pairs),
        differences=_differences(blocks, against),
        penalty=_penalty(blocks),
        penalties={paradigm: matrix for paradigm, some in (own or {}).items() if (matrix := _penalty(some))},
        saved=[_saved(block, against) for block in blocks if block.labels],
    )


def _average(average: Mapping[str, float], scores: Sequence[np.ndarray]) -> dict[str, AverageRank]:
    found = stats.bootstrap(scores)
    columns = zip(found.low.tolist(), found.high.tolist(), found.best.tolist(), strict=True)
    return {
        qm: AverageRank(rank=rank, low=low, high=high, best=best)
        for (qm, rank), (low, high, best) in zip(average.items(), columns, strict=True)
    }


def _differences(blocks: Sequence[Block], against: str) -> dict[str, Difference]:
    """Differences of each method to `against`, as the tables show them, pair by pair: a pair is a seed of a block."""
    found = {
        qm: [
            [(score - block.scores[against][seed]) * block.factor for seed, score in block.scores[qm].items()]
            for block in blocks
        ]
        for qm in sorted(blocks[0].scores)
        if qm != against
    }
    pooled = {qm: np.concatenate(of) for qm, of in found.items()}
    p = [stats.sign_flips(differences) for differences in pooled.values()]
    return {
        qm: Difference(blocks=list(_pairs(blocks, found[qm])), mean=float(pooled[qm].mean()), p=p_of, holm=adjusted)
        for qm, p_of, adjusted in zip(found, p, stats.holm(p), strict=True)
    }


def _pairs(blocks: Sequence[Block], differences: Sequence[Sequence[float]]) -> Iterator[Paired]:
    for block, values in zip(blocks, differences, strict=True):
        of = spread(values)
        yield Paired(**block.at.model_dump(), pairs=len(values), mean=of.mean, sd=of.sd)


def _curves(block: Block) -> dict[str, np.ndarray]:
    """qm -> (seeds, cycles), for the methods and seeds that are ranked."""
    return {qm: np.array([block.curves[qm][seed] for seed in sorted(of)]) for qm, of in sorted(block.scores.items())}


def _penalty(blocks: Sequence[Block]) -> Penalty | None:
    """The sum of the blocks' matrices; None where no block has curves of two seeds."""
    found = [penalty.penalties(np.stack(list(_curves(block).values()))) for block in blocks if block.labels]
    matrices = [matrix for matrix in found if matrix is not None]
    if not matrices:
        return None
    methods, total = sorted(blocks[0].scores), np.sum(matrices, axis=0)
    return Penalty(
        blocks=len(matrices),
        beats={qm: dict(zip(methods, row, strict=True)) for qm, row in zip(methods, total.tolist(), strict=True)},
        loses=dict(zip(methods, penalty.loses(total).tolist(), strict=True)),
    )


def _saved(block: Block, against: str) -> SavedBlock:
    """From the mean curves over seeds."""
    curves = {qm: of.mean(axis=0) for qm, of in _curves(block).items()}
    top = float(curves[against].max())
    own = savings.needed(curves[against], block.labels, top)
    methods = {}
    for qm, curve in curves.items():
        if qm != against:
            labels = savings.needed(curve, block.labels, top)
            reached = math.isfinite(labels)
            each = [value if math.isfinite(value) else None for value in savings.saved(curve, curves[against], block.labels)]
            methods[qm] = Saved(needed=labels if reached else None, ratio=labels / own if reached else None, saved=each)
    return SavedBlock(**block.at.model_dump(), labels=own, last=block.labels[-1], methods=methods)
