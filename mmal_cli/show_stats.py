"""The statistics of a ranking as text: tables, a line of tests, a diagram; used by `commands/` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mmal_cli import show
from mmal_cli.formats import marked

if TYPE_CHECKING:
    from mmal_cli.core.rank_stats import Penalty, Saved, SavedBlock, Stats
    from mmal_cli.core.tables import RankTable

LISTED = 3  # blocks that the line on the smallest difference names one by one
AXIS = 60  # characters of the diagram's axis, or a few less


def smallest(found: Mapping[str, tuple[float | None, int]], unit: str = "") -> str:
    """One line on what the seeds can show.

    Args:
        found: name of a block -> the smallest difference (None where not defined), number of seeds (0 for printed means).
        unit: what the difference is one of, where the table does not show it.
    """
    counts = sorted({seeds for _, seeds in found.values()})
    values = {name: value for name, (value, _) in found.items() if value is not None}
    if not values:
        said = {0: "Printed means have no seeds: the difference that they can show is unknown."}
        said[1] = "One seed shows no difference between methods, however large: it takes two."
        return said.get(counts[-1], "") if counts else ""
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    if len(values) <= LISTED:
        text = ", ".join(f"{name} {value:.2g}" for name, value in values.items())
    else:
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        text = f"{values[low]:.2g} ({low}) to {values[high]:.2g} ({high})"
    return f"Smallest difference{unit} that {seeds} seeds can show (paired t-test, .05, power .8): {text}."


def stats(result: RankTable, line: str, format: show.FormatName) -> None:
    """Prints the statistics: average ranks, tests and diagram, differences, penalty matrix, labels saved.

    Args:
        line: what stands under every table.
    """
    found = result.stats
    _average(result, found, line, format)
    show.paragraph(_tests(result, found), format)
    show.drawing(diagram({qm: of.rank for qm, of in found.average.items()}, found.groups, found.critical_difference), format)
    if format == "rich":
        show.result("")
    _differences(result, found, line, format)
    if found.penalty:
        _penalty(found.penalty, line, format)
    if found.saved:
        _saved(result, found, line, format)


def _table(title: str, columns: Sequence[str], rows: Iterator[list[str]], foot: Sequence[str], left: int, format) -> None:
    show.table(title, columns, list(rows), "\n".join(filter(None, foot)), left=left, format=format)
    if format == "rich":
        show.result("")


def _average(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    printed = not any(block.seeds for block in result.blocks)
    foot = {
        (): "One block of one seed: there is nothing to resample.",
        ("seeds",): "Bootstrap of the block's seeds, 10,000 resamples.",
        (
            "blocks",
        ): f"Bootstrap of blocks alone ({'printed means have no seeds' if printed else 'one seed each'}), 10,000 resamples.",
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
    blocks = "1 block" if len(result.blocks) == 1 else f"{len(result.blocks)} blocks"
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
        difference: the critical difference, drawn as a bar of its length.
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
    return "\n".join([*lines, f"{names['cd']:<{wide}}{bar(0, at(1 + difference))}"])


def _differences(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    methods = list(found.differences)

    def rows() -> Iterator[list[str]]:
        for number, block in enumerate(result.blocks):
            of = [found.differences[qm].blocks[number] for qm in methods]
            yield [block.regime, block.dataset, *(_signed(d.mean) + ("" if d.sd is None else f" ± {d.sd:.3f}") for d in of)]
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


def _penalty(found: Penalty, line: str, format: show.FormatName) -> None:
    methods, lowest = list(found.beats), min(found.loses.values())

    def rows() -> Iterator[list[str]]:
        for qm in methods:
            yield [qm, *("-" if qm == other else f"{found.beats[qm][other]:.2f}" for other in methods)]
        yield [""] * (1 + len(methods))
        yield ["loses", *(marked(f"{found.loses[qm]:.2f}", bold=found.loses[qm] == lowest) for qm in methods)]

    blocks = "1 block" if found.blocks == 1 else f"{found.blocks} blocks"
    foot = f"Share of cycles with p < .05 (paired t-test over seeds), added up over {blocks}; loses: the column's mean."
    _table("Pairwise penalty matrix: the row beats the column", ["qm", *methods], rows(), [foot, line], 1, format)


def _saved(result: RankTable, found: Stats, line: str, format: show.FormatName) -> None:
    methods = list(found.differences)

    def rows() -> Iterator[list[str]]:
        for block in found.saved:
            yield [block.regime, block.dataset, f"{block.labels:.0f}", *(_labels(block.methods[qm], block) for qm in methods)]

    metric = result.metric.replace("_", " ")
    title = f"Labels saved against {found.against} at its highest {metric}, and labels needed as a share of its own"
    foot = "Mean curves, linear between cycles, what was reached stays reached; > last budget: never reached."
    _table(title, ["regime", "dataset", found.against, *methods], rows(), [foot, line], 2, format)


def _labels(found: Saved, block: SavedBlock) -> str:
    if found.needed is None:
        return f"> {block.last}"
    return f"{round(block.labels - found.needed):+d} ({found.ratio:.2f})"


def plain(result: RankTable) -> Iterator[list[list[str]]]:
    """CSV, unrounded, headings first: a table of blocks and methods and, with statistics, one of methods."""
    found = result.stats
    rows = [["regime", "dataset", "moddrop", "weak", "qm", "seeds", "score", "rank"]]
    rows[0] += ["difference", "difference_sd", "labels_needed", "labels_ratio"] if found else []
    saved = {(block.regime, block.dataset): block.methods for block in found.saved} if found else {}
    for number, block in enumerate(result.blocks):
        for qm in result.methods:
            row = [block.regime, block.dataset, "on" if block.moddrop else "off", block.weak, qm, str(len(block.seeds))]
            row += _numbers(block.scores[qm], block.ranks[qm])
            if found:
                difference = found.differences[qm].blocks[number] if qm != found.against else None
                of = saved.get((block.regime, block.dataset), {}).get(qm)
                row += _numbers(*((difference.mean, difference.sd) if difference else (None, None)))
                row += _numbers(*((of.needed, of.ratio) if of else (None, None)))
            rows.append(row)
    yield rows
    if found:
        rows = [["qm", "average_rank", "low", "high", "p_best", "difference", "p", "p_holm", "loses"]]
        for qm, of in found.average.items():
            to = found.differences.get(qm)
            tested = (to.mean, to.p, to.holm) if to else (None, None, None)
            loses = found.penalty.loses[qm] if found.penalty else None
            rows.append([qm, *_numbers(of.rank, of.low, of.high, of.best, *tested, loses)])
        yield rows


def _numbers(*values: float | None) -> list[str]:
    return ["" if value is None else repr(value) for value in values]
