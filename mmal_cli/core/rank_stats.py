"""What `mmal rank --stats` adds to `rank.yaml`: each part of it says what it needs and is left out without that."""

from pydantic import Field

from mmal_cli.core.manifest import Strict
from mmal_cli.core.paradigms import Paradigm
from mmal_cli.core.place import InRegime


class AverageRank(Strict):
    """A method's rank averaged over blocks; `low` and `high` end its 95 % interval, `best` is P(lowest average rank).

    The three are left out where there is too little to resample: fewer than six pairs of a seed and a block.
    """

    rank: float
    low: float | None = None
    high: float | None = None
    best: float | None = None


class Friedman(Strict):
    """Friedman's test that all methods rank alike over the blocks; not defined for two methods or one block."""

    chi_squared: float
    p: float


class Paired(InRegime, Strict):
    """Differences to a method on the same seeds, within a block, as the tables show them; sd: ddof 1, none of one pair."""

    pairs: int
    mean: float
    sd: float | None = None


class Difference(Strict):
    """One method's differences: `p` of the sign-flip permutation test of all pairs, `holm` adjusted for the methods."""

    blocks: list[Paired]
    mean: float
    p: float
    holm: float


class Penalty(Strict):
    """The pairwise penalty matrix: beats[i][j] is how often i beats j, 0 to `blocks`; `loses` is the column's mean."""

    blocks: int
    beats: dict[str, dict[str, float]]
    loses: dict[str, float]


class Saved(Strict):
    """Labels that a method needs for what the reference reaches; what it never reaches has no `needed`.

    needed: labels at which it reaches the reference's highest value; ratio: to the reference's own labels.
    saved: the same minus its own labels, at the value of each cycle of the reference; null where never reached.
    """

    needed: float | None = None
    ratio: float | None = None
    saved: list[float | None]


class SavedBlock(InRegime, Strict):
    """The labels saved in one (variant, regime); `labels` are those of the reference at its highest value."""

    labels: float
    last: int  # number of labels of the last cycle
    methods: dict[str, Saved]


class Stats(Strict):
    """The statistics of a ranking (docs/protocol.md, "Statistics")."""

    resampled: list[str]  # seeds, blocks, or none of the two
    average: dict[str, AverageRank]
    friedman: Friedman | None = None
    critical_difference: float | None = None  # as friedman, for two blocks or more
    groups: list[list[str]]  # methods that Nemenyi's test cannot tell apart, from the best on
    against: str
    pairs: int
    smallest_p: float
    differences: dict[str, Difference] = Field(min_length=1)
    penalty: Penalty | None = None
    penalties: dict[Paradigm, Penalty] = Field({})  # the same of the blocks of one, where there are several
    saved: list[SavedBlock] = Field([])
