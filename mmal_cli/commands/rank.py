"""`mmal rank`: ranks of query methods on the weak modality, and their sums per regime."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import formats, show, show_stats

if TYPE_CHECKING:
    from mmal_cli.analysis.ranks import Block
    from mmal_cli.core.rank_stats import Stats
    from mmal_cli.core.tables import AulcTable, RankBlock, RankTable

STAGE = 3.1
ModDrop = Literal["protocol", "on", "off"]
Against = Annotated[
    str | None, typer.Option(metavar="NAME", help="With --stats: the method to compare with; random where it is ranked.")
]


def rank(
    table: Annotated[Path, typer.Argument(help="aulc.yaml, or a table of published values.")] = Path("results/aulc.yaml"),
    weak: Annotated[list[str] | None, typer.Option(metavar="DATASET=SUBSET", help="The weak modality of a dataset.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this dataset (may be repeated).")] = None,
    paradigm: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one (may be repeated).")] = None,
    moddrop: Annotated[ModDrop, typer.Option(help="Runs with or without modality dropout.")] = "protocol",
    allow_incomplete: Annotated[bool, typer.Option("--allow-incomplete", help="Rank what is common to all.")] = False,
    out: Annotated[Path, typer.Option(help="Where the table is written.")] = Path("results/rank.yaml"),
    stats: Annotated[bool, typer.Option("--stats", help="Intervals, tests, differences, labels saved.")] = False,
    against: Against = None,
    format: show.Format = "rich",
    json: Annotated[bool, typer.Option("--json", help="The file's content: --format json.")] = False,
) -> None:
    """Rank query methods by the weak modality's AULC and sum the ranks per regime.

    Lower is better. Means over seeds are ranked unrounded; ties share ranks.
    Of runs with and without moddrop, `protocol` takes the protocol's variant.
    """
    import time

    from mmal_cli.analysis import compare, complete, ranks
    from mmal_cli.core import manifest, own_files, tables

    started = time.monotonic()
    source = tables.read_aulc(table, paradigm or ())
    asked = _blocks(source, weak or [], dataset or [], moddrop)
    blocks, notes = _complete(asked, source, dataset or [], allow_incomplete)
    ranked = [ranks.ranked(block) for block in blocks]
    versus = against or ("random" if "random" in ranked[0].ranks else min(ranked[0].ranks))
    if stats and not against and versus != "random":
        notes.append(f"random is not ranked, so methods are compared with {versus}.")
    flags = ["--allow-incomplete"] * allow_incomplete + ["--stats"] * stats
    command = ["mmal", "rank", str(table), "--moddrop", moddrop, *flags]
    several = {"--weak": weak, "--dataset": dataset, "--paradigm": paradigm, "--against": [versus] * stats}
    command += [word for option, values in several.items() for value in values or () for word in (option, value)]
    factors = {block.dataset: block.factor for block in blocks if block.factor != 1}
    result = tables.RankTable(
        id=_identity(source, ranked, versus if stats else None),
        source=source.id,
        metric=source.metric,
        methods=list(ranked[0].ranks),
        own_files=own_files.of_ranked(ranked, source.rows),
        blocks=ranked,
        sums=ranks.sums(ranked),
        stats=compare.compare(blocks, versus, complete.of_paradigms(asked)) if stats else None,
        made=manifest.made(started, shlex.join(command), ("scipy",)) | {"factors": factors, "notes": notes},
    )
    tables.save(result, out)
    show.note(f"{out} written")
    _print(result, source, "json" if json else format)


def _identity(source: AulcTable, ranked: Sequence[RankBlock], against: str | None) -> str:
    from mmal_cli.core import files

    content = {"kind": "rank", "source": source.id, "blocks": [block.model_dump(mode="json") for block in ranked]}
    return files.identity(content | ({"against": against} if against else {}))


def _complete(asked: Sequence[Block], source: AulcTable, only: Sequence[str], allow: bool) -> tuple[list[Block], list[str]]:
    """The blocks as they are, or what is common to them where runs are missing; and what to say of these."""
    from mmal_cli.analysis import complete
    from mmal_cli.core.errors import BAD_DATA, UserError

    missing, left_out, found = complete.gaps(asked), [], list(asked)
    if missing and not allow:
        raise complete.error(missing, source)
    if missing:
        found, left_out = complete.usable(asked)
        if not found:
            raise UserError("\n".join(["no block can be ranked", *left_out]), BAD_DATA)
    if missing or len({frozenset(block.scores) for block in found}) > 1:  # paradigms may have methods of their own
        found = complete.common(found)
    places = [gap.place for gap in missing] + complete.not_run(source, asked, only)
    return found, complete.incomplete(asked, found, places) + left_out


def _blocks(source: AulcTable, weak: Sequence[str], only: Sequence[str], moddrop: ModDrop) -> list[Block]:
    """What is ranked: which datasets, which variant of each, on which subset."""
    from mmal_cli.analysis import ranks
    from mmal_cli.core.errors import BAD_DATA, UserError, unknown
    from mmal_cli.core.settings import main_variant

    chosen = dict(_weak_option(text) for text in weak)
    for name in [*chosen, *only]:
        if name not in source.datasets:
            raise unknown("dataset", name, source.datasets)
    chosen = _weak_of_all(source, chosen, only)
    wanted = None if moddrop == "protocol" else moddrop == "on"
    variant = {}
    for name in chosen:
        own = source.datasets[name].moddrop
        variant[name] = ranks.choose_variant(source, name, wanted, main_variant(name) if own is None else own)
    found = ranks.blocks(source, chosen, variant)
    if len({qm for block in found for qm in block.scores}) < 2:
        raise UserError("a ranking needs at least two query methods", BAD_DATA)
    return found


def _weak_option(text: str) -> tuple[str, str]:
    from mmal_cli.core.errors import UserError

    name, equals, subset = text.partition("=")
    if not (name and equals and subset):
        raise UserError(f"--weak {text!r} is not of the form DATASET=SUBSET, for instance: --weak food101=image")
    return name, subset


def _weak_of_all(source: AulcTable, given: Mapping[str, str], only: Sequence[str]) -> dict[str, str]:
    """dataset -> weak subset; a printed table ranks the datasets that it names, ours ranks all it has."""
    from mmal_cli.core.errors import UserError

    printed = not any(row.seeds for row in source.rows)
    found = {}
    for name, dataset in source.datasets.items():
        subset = given.get(name, dataset.weak)
        if (only and name not in only) or (printed and not only and subset is None):
            continue
        if subset is None:
            known = list(dict.fromkeys(s for row in source.rows if row.dataset == name for s in row.subsets))
            raise UserError(
                f"{name} names no weak modality; say which subset to rank ({', '.join(known)}): --weak {name}={known[0]}, "
                "or rank other datasets only: --dataset NAME"
            )
        found[name] = subset
    return found


def _name_left_out(found: Stats, blocks: int) -> None:
    """Says on stderr which statistics need more than the table has."""
    lacking = blocks - len(found.saved)
    if lacking:
        where = "no block" if lacking == blocks else f"only {blocks - lacking} of {blocks} blocks"
        show.note(
            f"learning curves at the same numbers of labels in {where} (printed tables and files of an older mmal aulc have "
            "none); labels saved and penalties are left out there"
        )
    elif not found.penalty:
        show.note("one seed: the penalty matrix, which takes two, is left out")


def _print(result: RankTable, source: AulcTable, format: show.FormatName) -> None:
    if result.stats:
        _name_left_out(result.stats, len(result.blocks))
    if format == "json":
        from json import dumps

        from mmal_cli.core.tables import content

        show.result(dumps(content(result), indent=2))
        return
    from mmal_cli.core import own_files

    line = show_stats.line(result, source)
    foot = "\n".join(filter(None, [_foot(result), *result.made["notes"], line, own_files.foot(result.own_files.items())]))
    if format == "csv":
        columns, *rows = formats.ranking(result)
        show.table("", columns, rows, foot, format="csv")
        return
    title = f"Ranks by the weak modality's AULC of {result.metric.replace('_', ' ')}; 1 is best"
    show.table(title, ["regime", "dataset", *result.methods], list(_lines(result)), foot, left=2, format=format)
    if result.stats:
        if format == "rich":
            show.result("")
        show_stats.stats(result, line, format)


def _lines(result: RankTable) -> Iterator[list[str]]:
    """One row for each block, regimes apart, then the sums."""
    last = None
    for block in result.blocks:
        if last not in (None, block.regime):
            yield [""] * (2 + len(result.methods))
        regime, last = "" if block.regime == last else block.regime, block.regime
        yield [regime, block.name, *_numbers(block.ranks, result.methods)]
    yield [""] * (2 + len(result.methods))
    for regime, summed in result.sums.items():
        yield [regime, "sum", *_numbers(summed, result.methods)]


def _numbers(values: Mapping[str, float], methods: Sequence[str]) -> list[str]:
    """The values in the order of the methods, the best in bold."""
    best = min(values.values())
    return [f"**{values[qm]:g}**" if values[qm] == best else f"{values[qm]:g}" for qm in methods]


def _foot(result: RankTable) -> str:
    """What the sums are made of."""
    made_of = {regime: [block for block in result.blocks if block.regime == regime] for regime in result.sums}
    spans = {regime: f"{len(blocks)} to {len(blocks) * len(result.methods)}" for regime, blocks in made_of.items()}
    span = spans[result.blocks[0].regime]
    if len(set(spans.values())) > 1:  # sums of other regimes are made of another number of blocks
        span = ", ".join(f"{text} ({regime})" for regime, text in spans.items())
    read = {block.dataset: f"{block.dataset} {block.weak}{'' if block.moddrop else ' (no moddrop)'}" for block in result.blocks}
    blocks = "1 block" if len(result.blocks) == 1 else f"{len(result.blocks)} blocks"
    return f"{blocks} of {_of(result)}; sums can go from {span}. Weak: {', '.join(read.values())}."


def _of(result: RankTable) -> str:
    """How many values a score is the mean of."""
    counts = sorted({len(block.seeds) for block in result.blocks})
    if counts == [0]:
        return "printed means"
    return f"{' to '.join(str(n) for n in {counts[0]: 0, counts[-1]: 0})} {'seed' if counts == [1] else 'seeds'}"
