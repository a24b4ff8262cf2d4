"""What a ranking lacks: missing runs, blocks that cannot be ranked, and what is common to the others."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from mmal_cli.analysis.ranks import PRINTED, Block
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import check
from mmal_cli.core.paradigms import PARADIGMS, Paradigm
from mmal_cli.core.place import REGIMES, Place, regime_order
from mmal_cli.core.tables import AulcTable
from mmal_cli.runs import command, method_folder

NAMED = 12  # missing runs that an error names one by one


@dataclass(frozen=True)
class Gap:
    """A run that the grid lacks, and why it is expected."""

    place: Place
    because: str


def gaps(blocks: Sequence[Block]) -> list[Gap]:
    """The runs that are missing, within each training paradigm: every variant should have every regime, every block every
    method, every method every seed. Regimes other than low, mid and high are a dataset's own.
    """
    return [gap for own in _by_paradigm(blocks).values() for gap in _gaps(own)]


def _by_paradigm(blocks: Sequence[Block]) -> dict[Paradigm, list[Block]]:
    own = {paradigm: [block for block in blocks if block.paradigm == paradigm] for paradigm in PARADIGMS}
    return {paradigm: some for paradigm, some in own.items() if some}


def _gaps(blocks: Sequence[Block]) -> list[Gap]:
    methods = sorted({qm for block in blocks for qm in block.scores})
    found = [gap for block in blocks for gap in _gaps_within(block, methods)]
    regimes = {block.regime for block in blocks} & {*REGIMES}
    for variant in sorted({block.at.variant for block in blocks}):
        own = {block.regime: block for block in blocks if block.at.variant == variant}
        some = min(own.values(), key=lambda block: regime_order(block.regime))
        for regime in sorted(regimes - own.keys(), key=regime_order):
            empty = replace(some, regime=regime, scores={})
            because = f"{some.at.name} has {' '.join(sorted(own, key=regime_order))}, others have {regime}"
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
    return Place(**block.at.model_dump(), qm=qm, seed=seed)


def error(missing: Sequence[Gap], source: AulcTable) -> UserError:
    """The error that names the missing runs and what makes them."""
    commands = [
        (Place(**row.model_dump(include={*Place.model_fields} - {"seed"}), seed=row.seeds[0]), row.command or "")
        for row in source.rows
        if row.seeds
    ]
    lines = []
    for gap in missing[:NAMED]:
        if commands:
            text = command(gap.place, commands)
            lines.append(f"{method_folder(gap.place, text)} lacks seed {gap.place.seed} ({gap.because}); run it: {text}")
        else:
            lines.append(f"{gap.place.name} {gap.place.regime} lacks {gap.place.qm} ({gap.because})")
    if len(missing) > NAMED:
        lines.append(f"and {len(missing) - NAMED} more missing runs")
    return UserError("\n".join([*lines, "or rank what is common to all: --allow-incomplete"]), BAD_DATA)


def usable(blocks: Sequence[Block]) -> tuple[list[Block], list[str]]:
    """The blocks that can be ranked, two methods or more with a seed in common, and a sentence on each of the others."""
    found, left_out = [], []
    for block in blocks:
        if why := _unusable(block):
            left_out.append(f"{block.at.name} {block.regime} is left out: {why}.")
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
    dropped = sorted({qm for block in asked for qm in block.scores} - ranked[0].scores.keys())
    lost = [f"Not in all blocks, so not ranked: {', '.join(dropped)}."] if dropped else []
    if not places:
        return lost
    have, empty = {(block.at.name, block.regime) for block in asked}, defaultdict(list)
    for name, (_, regime) in sorted({(place.name, regime_order(place.regime)) for place in places}):
        if (name, regime) not in have:
            empty[name].append(regime)
    runs, blocks = len({(place.row, place.seed) for place in places}), sum(map(len, empty.values())) + len(asked) - len(ranked)
    counts = f"{runs} {'run' if runs == 1 else 'runs'}"
    counts += f" and {blocks} {'block' if blocks == 1 else 'blocks'}" if blocks else ""
    said = [f"Missing: {counts}; what is common to the rest is ranked."]
    if empty:
        said.append(f"Without any run: {'; '.join(' '.join([name, *of]) for name, of in empty.items())}.")
    return said + lost


def common(blocks: Sequence[Block]) -> list[Block]:
    """What all blocks have: the methods of every block and, within a block, the seeds of all of these methods."""
    if not blocks:
        raise UserError("no block is left to rank; a ranking takes two query methods with a seed in common", BAD_DATA)
    methods = set.intersection(*(set(block.scores) for block in blocks))
    if len(methods) < 2:
        raise UserError(f"the blocks have {', '.join(methods) or 'no query method'} in common; a ranking needs two", BAD_DATA)
    return [_shared_seeds(block, sorted(methods)) for block in blocks]


def of_paradigms(blocks: Sequence[Block]) -> dict[Paradigm, list[Block]]:
    """Paradigm -> what is common to its own blocks, which may have methods that those of others lack; nothing of one alone."""
    own = _by_paradigm(usable(blocks)[0])
    return {paradigm: common(some) for paradigm, some in own.items()} if len(own) > 1 else {}


def _shared_seeds(block: Block, methods: Sequence[str]) -> Block:
    seeds = set.intersection(*(set(block.scores[qm]) for qm in methods))
    if not seeds:
        had = _seeds(block, methods)
        raise UserError(f"{block.at.name} {block.regime}: the query methods have no seed in common ({had})", BAD_DATA)
    return replace(block, scores={qm: {seed: block.scores[qm][seed] for seed in sorted(seeds)} for qm in methods})
