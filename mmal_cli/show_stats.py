"""The statistics of a ranking as text: tables, a line of tests, a diagram; used by `commands/` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mmal_cli import show
from mmal_cli.formats import marked

if TYPE_CHECKING:
    from mmal_cli.core.rank_stats import Penalty, Saved, SavedBlock, Stats
    from mmal_cli.core.tables import AulcTable, RankTable

LISTED = 3  # blocks that the line on the smallest difference names one by one
NOTHING = {  # number of seeds (2: two or more) -> why they show nothing
    None: "Printed means have no seeds: the difference that they can show is unknown.",
    0: "The query methods have no seed in common, which shows no difference between them.",
    1: "One seed shows no difference between methods, however large: it takes two.",
    2: "One query method has no other to differ from.",
}
AXIS = 60  # characters of the diagram's axis, or a few less


class Smallest(NamedTuple):
    """The smallest difference that so many seeds can show, None where not defined.

    seeds: those that all methods have; None for printed means.
    top: the end of the range of what differs, where it is known.
    """

    value: float | None
    seeds: int | None
    top: float | None = None

    def __str__(self) -> str:
        return "more than the whole range" if self.top is not None and self.value > self.top else f"{self.value:.2g}"


def smallest(found: Mapping[str, Smallest], unit: str = "") -> str:
    """One line on what the seeds can show, and on the blocks whose seeds can show nothing.

    Args:
        found: name of a block -> what its seeds can show.
        unit: what the difference is one of, where the table does not show it.
    """
    values = {name: of for name, of in found.items() if of.value is not None}
    said = [_values(values, unit)] if values else []
    for seeds, sentence in NOTHING.items():
        names = [name for name, of in found.items() if of.value is None and (of.seeds and min(of.seeds, 2)) == seeds]
        where = ", ".join(names) if len(names) <= LISTED else f"{len(names)} blocks ({names[0]} and others)"
        if names:
            said.append(sentence if len(names) == len(found) else f"{where}: {sentence[0].lower()}{sentence[1:]}")
    return " ".join(said)


def _values(values: Mapping[str, Smallest], unit: str) -> str:
    counts = sorted({of.seeds for of in values.values()})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    if len(values) <= LISTED:
        text = ", ".join(f"{name} {of}" for name, of in values.items())
    else:
        low, *_, high = sorted(values, key=lambda name: values[name].value)
        text = f"{values[low]} ({low}) to {values[high]} ({high})"
    return f"Smallest difference{unit} that {seeds} seeds can show (paired t-test, .05, power .8): {text}."


def line(result: RankTable, source: AulcTable) -> str:
    """What stands under every table: the smallest difference that the seeds can show, and what is shown times something."""
    printed = not any(row.seeds for row in source.rows)
    tops = {row.block: row.cycles - 1 for row in source.rows if row.cycles}
    found = {
        f"{block.regime} {block.name}": Smallest(block.smallest, None if printed else len(block.seeds), tops.get(block.block))
        for block in result.blocks
    }
    weak = {block.dataset: block.weak for block in result.blocks}
    said = [smallest(found, " in AULC")]
    if scaled := [f"{name} {weak[name]} x{factor:.3g}" for name, factor in result.made["factors"].items()]:
        said.append(f"AULC times 1 / ceiling, as `mmal aulc` shows it: {', '.join(scaled)}.")
    return " ".join(filter(None, said))


def stats(result: RankTable, line: str, format: show.FormatName) -> None:
    """Prints the statistics: average ranks, tests and diagram, differences, penalty matrix, labels saved.

    Args:
        line: what stands under every table.
    """
    found = result.stats
    _average(result, found, line, format)
    show.paragraph(_tests(result, found), format)
    if found.critical_difference:
        average = {qm: of.rank for qm, of in found.average.items()}
        show.drawing(diagram(average, found.groups, found.critical_difference), format)
    if format == "rich":
        show.result("")
    _differences(result, found, line, format)
    if found.penalty:
        _penalty(found.penalty, line, format, "all paradigms" if found.penalties else "")
    for paradigm, own in found.penalties.items():
        _penalty(own, line, format, paradigm)
    if found.saved:
        _saved(result, found, line, format)


def _table(title: str, columns: Sequence[str], rows: Iterator[list[str]], foot: Sequence[str], left: int, format) -> None:
    show.table(title, columns, list(rows), "\n".join(filter(None, foot)), left=left, format=format)
    if format == "rich":
        show.result("")


def _average(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    alone = "one seed each" if any(block.seeds for block in result.blocks) else "printed means have no seeds"
    pairs = f"{found.pairs} {'pair' if found.pairs == 1 else 'pairs'}"
    foot = {
        (): f"No interval and no P(best): {pairs} of a seed and a block, too few to resample (docs/protocol.md).",
        ("seeds",): "Bootstrap of the block's seeds, 10,000 resamples.",
        ("blocks",): f"Bootstrap of blocks alone ({alone}), 10,000 resamples.",
        ("seeds", "blocks"): "Bootstrap of blocks and of the seeds within them, 10,000 resamples.",
    }[tuple(found.resampled)]
    order = sorted(found.average, key=lambda qm: (found.average[qm].rank, qm))
    lowest = found.average[order[0]].rank

    def rows() -> Iterator[list[str]]:
        for qm in order:
            of = found.average[qm]
            more = ["-", "-"] if of.best is None else [f"{of.low:.2f} to {of.high:.2f}", f"{of.best:.2f}"]
            yield [qm, marked(f"{of.rank:.2f}", bold=of.rank == lowest), *more]

    _table("Average ranks; 1 is best", ["qm", "average rank", "95 % interval", "P(best)"], rows(), [foot, line], 1, format)


def _tests(result: RankTable, found: Stats) -> str:
    """Friedman and Nemenyi in a sentence each."""
    if found.critical_difference is None:
        return "Friedman's and Nemenyi's tests take two blocks or more; there is one."
    blocks = f"{len(result.blocks)} blocks"
    if found.friedman is None:
        first = "Friedman's test takes three methods."
    else:
        first = f"Friedman: chi-squared {found.friedman.chi_squared:.2f}, p = {found.friedman.p:.2g} over {blocks}."
    second = f"Nemenyi: average ranks that differ by less than {found.critical_difference:.2f} cannot be told apart (.05)."
    return f"{first} {second}"


def diagram(average: Mapping[str, float], groups: Sequence[Sequence[str]], difference: float) -> str:
    """Critical-difference diagram (Demsar 2006) in plain characters: methods on an axis of ranks, a bar for each group.

    Args:
        average: qm -> average rank.
        groups: methods that cannot be told apart, from the best on.
        difference: the critical difference, drawn as a bar of its length, cut where the axis ends.
    """
    k = len(average)
    unit = max(4, min(10, AXIS // (k - 1)))
    names = {"bar": "not told apart", "cd": f"CD {difference:.2f}"}
    wide = max(map(len, [*average, *names.values()])) + 2

    def at(rank: float) -> int:
        return round((rank - 1) * unit)

    def bar(start: int, end: int) -> str:
        return " " * start + "|" + "=" * (end - start - 1) + "|" * (end > start)

    lines = [" " * wide + "".join(f"{number:<{unit}}" for number in range(1, k + 1)).rstrip()]
    lines.append(" " * wide + ("+" + "-" * (unit - 1)) * (k - 1) + "+")
    lines += [f"{qm:<{wide}}{' ' * at(average[qm])}o" for qm in sorted(average, key=lambda qm: (average[qm], qm))]
    lines += [f"{names['bar']:<{wide}}{bar(at(average[group[0]]), at(average[group[-1]]))}" for group in groups]
    past = ">" * (difference > k - 1)  # longer than the axis
    return "\n".join([*lines, f"{names['cd']:<{wide}}{bar(0, at(min(1 + difference, k)))}{past}"])


def _differences(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    methods = list(found.differences)

    def rows() -> Iterator[list[str]]:
        for number, block in enumerate(result.blocks):
            of = [found.differences[qm].blocks[number] for qm in methods]
            yield [block.regime, block.name, *(_signed(d.mean) + ("" if d.sd is None else f" ± {d.sd:.3f}") for d in of)]
        yield [""] * (2 + len(methods))
        yield ["all", "mean", *(_signed(found.differences[qm].mean) for qm in methods)]
        yield ["all", "p", *(f"{found.differences[qm].p:.2g}" for qm in methods)]
        holm = [found.differences[qm].holm for qm in methods]
        yield ["all", "p (Holm)", *(marked(f"{p:.2g}", bold=p < 0.05) for p in holm)]

    printed = not any(block.seeds for block in result.blocks)
    title = f"Differences of AULC to {found.against}, {'block by block' if printed else 'on the same seeds, mean ± sd'}"
    pairs = f"{found.pairs} {'pair' if found.pairs == 1 else 'pairs'}"
    foot = f"Sign-flip permutation test of {pairs}, {'the blocks' if printed else 'a seed of a block each'}"
    foot += f"; the smallest p that they can give is {found.smallest_p:.2g}. Bold: below .05 after Holm."
    _table(title, ["regime", "dataset", *methods], rows(), [foot, line], 2, format)


def _signed(difference: float) -> str:
    return f"{round(difference, 3) + 0.0:+.3f}"  # + 0.0 turns -0.0 round


def _penalty(found: Penalty, line: str, format: show.FormatName, of: str) -> None:
    methods, lowest = list(found.beats), min(found.loses.values())

    def rows() -> Iterator[list[str]]:
        for qm in methods:
            yield [qm, *("-" if qm == other else f"{found.beats[qm][other]:.2f}" for other in methods)]
        yield [""] * (1 + len(methods))
        yield ["loses", *(marked(f"{found.loses[qm]:.2f}", bold=found.loses[qm] == lowest) for qm in methods)]

    blocks = "1 block" if found.blocks == 1 else f"{found.blocks} blocks"
    foot = f"Share of cycles with p < .05 (paired t-test over seeds), added up over {blocks}; loses: the column's mean."
    _table(
        f"Pairwise penalty matrix{of and f', {of}'}: the row beats the column",
        ["qm", *methods],
        rows(),
        [foot, line],
        1,
        format,
    )


def _saved(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    methods = list(found.differences)

    def rows() -> Iterator[list[str]]:
        for block in found.saved:
            yield [block.regime, block.name, f"{block.labels:.0f}", *(_labels(block.methods[qm], block) for qm in methods)]

    metric = result.metric.replace("_", " ")
    title = f"Labels saved against {found.against} at its highest {metric}, and labels needed as a share of its own"
    foot = "Mean curves, linear between cycles, what was reached stays reached; > last budget: never reached."
    _table(title, ["regime", "dataset", found.against, *methods], rows(), [foot, line], 2, format)


def _labels(found: Saved, block: SavedBlock) -> str:
    if found.needed is None:
        return f"> {block.last}"
    return f"{round(block.labels - found.needed):+d} ({found.ratio:.2f})"
