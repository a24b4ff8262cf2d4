"""Tables as Markdown, LaTeX and CSV, and what `mmal aulc` and `mmal rank --stats` print in each format."""

import csv
import io
import json
import re

import fake_runs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ranks import published, words

from mmal_cli import formats, show, show_stats
from mmal_cli.core import files, tables

NAN_FREE = r"\bnan\b|\binf\b"
CURVES = {"random": 0.0, "badge_2": 0.05, "kcg": 0.2}
cells = st.text("ab_%&$#{}~^\\<>|± -09", max_size=8)


@pytest.fixture
def made(tmp_path, invoke):
    """Runs of two datasets, three methods and n seeds with their aulc.yaml; gives a command."""

    def make(seeds=3, datasets=("share", "synergy")):
        for dataset in datasets:
            for qm, gain in CURVES.items():
                for seed in range(seeds):
                    wave = 0.01 * ((seed * 7 + len(qm) * 3) % 5)
                    curve = [0.2 + (0.1 + gain) * n + wave * (n % 2) for n in range(4)]
                    of = {"a": curve, "b": [0.1 * value for value in curve], "a+b": curve}
                    ceiling = fake_runs.CEILING if dataset == "synergy" else None
                    fake_runs.write(
                        tmp_path / "runs",
                        fake_runs.record(of, dataset, qm, seed=seed, ceiling=ceiling, moddrop=dataset == "share"),
                    )
        assert invoke("aulc", "runs").exit_code == 0
        return invoke

    return make


@given(cells.filter(bool), st.booleans(), st.booleans())
def test_marks_come_back(text, bold, italic) -> None:
    assert formats.marks(formats.marked(text, bold, italic)) == (text, bold, italic)


@pytest.mark.parametrize("cell", ["", "*", "**", "***", "a*b", "**a*"])
def test_stars_that_mark_nothing(cell) -> None:
    assert formats.marks(cell) == (cell, False, False)


def balanced(text: str) -> bool:
    """Whether every brace has its partner, escaped ones aside."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


@given(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=4), cells)
def test_any_text_fits_every_format(rows, title) -> None:
    heads = ["one", "two|2", "*three*"]
    full = [row for row in rows if any(row)]
    pipe = formats.markdown(title, heads, rows, "", 1).removeprefix(f"{title}\n\n" if title else "").splitlines()
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in pipe] == [4] * (2 + len(full))
    latex = formats.latex(title, heads, rows, "a foot", 1)
    assert balanced(latex)
    assert latex.count("\\\\\n") == 1 + len(full)
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in latex.splitlines() if line.endswith("\\\\"))
    back = list(csv.reader(io.StringIO(formats.comma_separated(heads, rows))))
    assert back == [["one", "two|2", "three"], *([cell.strip() for cell in row] for row in full)]


def test_latex_signs() -> None:
    assert formats.escaped("50 % of a_b: -0.5 ± 2, p < 1, one-sided 1-2") == (
        r"50 \% of a\_b: $-$0.5 $\pm$ 2, p $<$ 1, one-sided 1-2"
    )
    shown = formats.latex("t", ["a"], [["***x***"], [""], ["**y**"]], "", 1)
    assert r"\textbf{\textit{x}} \\" in shown
    assert r"\addlinespace" in shown


def test_aulc_as_markdown(made) -> None:
    shown = made()("aulc", "runs", "--format", "md").stdout
    assert "| regime | qm | seeds | a x10 | *b (weak) x10* | a+b |" in shown
    assert "| low | badge_2 | 3 | " in shown
    bold = [line for line in shown.splitlines() if "**" in line]
    assert [line.split(" | ")[1] for line in bold] == ["kcg", "kcg"]
    assert all(line.count(" ***") == 1 and line.count(" **") == 3 for line in bold)
    assert len({line.count("|") for line in shown.splitlines() if line.startswith("|")}) == 1


def test_aulc_as_latex(made) -> None:
    shown = made()("aulc", "runs", "--format", "latex").stdout
    assert balanced(shown)
    assert shown.count(r"\begin{table}") == shown.count(r"\end{table}") == 2
    assert r"badge\_2 & 3 & " in shown
    assert r"\textit{b (weak) x10}" in shown
    assert shown.count(r"\textbf{\textit{") == 2


def test_aulc_as_csv_is_plain_numbers(tmp_path, made) -> None:
    done = made()("aulc", "runs", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    table = tables.AulcTable.read(tmp_path / "results/aulc.yaml")
    assert len(rows) == 2 * 3 * 3
    for row in rows:
        of = next(of for of in table.rows if (of.dataset, of.qm) == (row["dataset"], row["qm"])).subsets[row["subset"]].aulc
        assert (float(row["mean"]), float(row["sd"])) == (of.mean, of.sd)  # unrounded, never times ten
        assert (row["weak"] == "yes") == (row["subset"] == "b")


def test_json_stays_an_alias(made) -> None:
    run = made()
    long, short = (json.loads(run("aulc", "runs", *option).stdout) for option in (["--format", "json"], ["--json"]))
    assert long["id"] == short["id"]
    assert json.loads(run("rank", "--format", "json", "--stats").stdout)["stats"]["against"] == "random"
    assert "stats" not in json.loads(run("rank", "--json").stdout)


def test_what_the_seeds_can_show(made) -> None:
    run = made()
    said = "Smallest difference that 3 seeds can show (paired t-test, .05, power .8): low b "
    assert run("aulc", "runs").stdout.count(said) == 2
    assert "Smallest difference in AULC that 3 seeds can show" in run("rank").stdout


def test_a_partial_modality_is_scaled_in_the_line_too(made) -> None:
    shown = made()("aulc", "runs").stdout
    share, synergy = (float(value) for value in re.findall(r"low b ([0-9.]+)\.", shown))
    assert synergy == pytest.approx(10 * share, rel=0.1)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, ""),
        ({"x": (None, None)}, "Printed means have no seeds: the difference that they can show is unknown."),
        ({"x": (None, 0)}, "The query methods have no seed in common, which shows no difference between them."),
        ({"x": (None, 1)}, "One seed shows no difference between methods, however large: it takes two."),
        ({"x": (None, 3)}, "One query method has no other to differ from."),
        ({"x": (0.1234, 3), "y": (0.2, 2)}, " that 2 to 3 seeds can show (paired t-test, .05, power .8): x 0.12, y 0.2."),
        (
            {"x": (0.1234, 3), "y": (None, 1), "z": (None, 0)},
            " that 3 seeds can show (paired t-test, .05, power .8): x 0.12. "
            "z: the query methods have no seed in common, which shows no difference between them. "
            "y: one seed shows no difference between methods, however large: it takes two.",
        ),
        ({"w": (0.1, 2)} | {name: (None, 1) for name in "abcd"}, ": w 0.1. 4 blocks (a and others): one seed shows"),
        ({name: (0.1 * n, 3) for n, name in enumerate("wxyz", start=1)}, ": 0.1 (w) to 0.4 (z)."),
        ({"x": (21.0, 2, 9)}, ": x more than the whole range."),
        ({"x": (9.0, 2, 9)}, ": x 9."),
        ({name: (7.0 * n, 2, 9) for n, name in enumerate("wxyz", start=1)}, ": 7 (w) to more than the whole range (z)."),
    ],
)
def test_the_line_on_the_smallest_difference(found, says) -> None:
    line = show_stats.smallest({name: show_stats.Smallest(*of) for name, of in found.items()})
    assert says in line
    assert bool(line) == bool(says)
    assert "\n" not in line


def test_a_difference_larger_than_the_range_is_no_number(tmp_path, invoke) -> None:
    for qm, levels in {"random": (0.1, 0.9), "kcg": (0.9, 0.1)}.items():
        fake_runs.write(tmp_path / "runs", *(fake_runs.record({"b": [of] * 3}, qm=qm, seed=n) for n, of in enumerate(levels)))
    assert ": low b more than the whole range." in invoke("aulc", "runs").stdout
    assert ": low share more than the whole range." in invoke("rank").stdout


def test_runs_without_a_common_seed_are_no_printed_means(tmp_path, invoke) -> None:
    runs = [fake_runs.record({"b": [0.1, 0.2]}, qm=qm, seed=seed) for seed, qm in enumerate(("random", "kcg"))]
    fake_runs.write(tmp_path / "runs", *runs)
    shown = invoke("aulc", "runs").stdout
    assert "The query methods have no seed in common" in shown
    assert "Printed" not in shown


def test_statistics_of_the_published_means(tmp_path, invoke) -> None:
    (tmp_path / "printed.yaml").write_text(files.dump_yaml(published()))
    done = invoke("rank", "printed.yaml", "--stats")
    shown = words(done.stdout)
    assert "Friedman: chi-squared 5.06, p = 0.54 over 12 blocks." in shown
    assert "differ by less than 2.60 cannot be told apart" in shown
    assert "Bootstrap of blocks alone (printed means have no seeds), 10,000 resamples." in shown
    assert "permutation test of 12 pairs, the blocks" in shown
    assert shown.count("Printed means have no seeds: the difference that they can show is unknown.") == 3
    assert "penalties are left out" in done.stderr
    assert "Pairwise" not in shown
    found = tables.RankTable.read(tmp_path / "results/rank.yaml").stats
    assert found.average["kcg"].rank == pytest.approx(36.5 / 12)
    assert sum(of.best for of in found.average.values()) == pytest.approx(1)
    assert list(found.differences) == ["badge", "bald", "bmmal", "entropy", "grace", "kcg"]


def test_statistics_of_runs(tmp_path, made) -> None:
    done = made()("rank", "--stats")
    shown = words(done.stdout)
    assert done.exit_code == 0
    for title in ("Average ranks", "Differences of AULC to random", "Pairwise penalty matrix", "Labels saved against random"):
        assert title in shown
    assert shown.count("Smallest difference in AULC that 3 seeds can show") == 5
    assert "test of 6 pairs, a seed of a block each; the smallest p that they can give is 0.031." in shown
    assert re.search(NAN_FREE, shown) is None
    found = tables.RankTable.read(tmp_path / "results/rank.yaml").stats
    assert found.penalty.blocks == 2
    assert [block.labels for block in found.saved] == [200, 200]
    assert found.resampled == ["seeds", "blocks"]
    again = tables.RankTable.read(tmp_path / "results/rank.yaml")
    assert made()("rank", "--stats").exit_code == 0
    assert tables.RankTable.read(tmp_path / "results/rank.yaml").stats == again.stats


def test_against_another(made) -> None:
    run = made()
    shown = words(run("rank", "--stats", "--against", "kcg").stdout)
    assert "Labels saved against kcg" in shown
    assert "> 200 > 200" in shown  # no method reaches kcg
    done = run("rank", "--stats", "--against", "kgc")
    assert done.exit_code == 2
    assert "'kgc'; did you mean 'kcg'?" in done.stderr


def test_statistics_of_one_seed_of_one_dataset(made) -> None:
    done = made(seeds=1, datasets=("share",))("rank", "--stats")
    assert done.exit_code == 0
    assert "One seed shows no difference" in done.stdout
    assert "No interval and no P(best): 1 pair of a seed and a block, too few to resample (docs/protocol.md)." in done.stdout
    assert "Friedman's and Nemenyi's tests take two blocks or more; there is one." in done.stdout
    assert "not told apart" not in done.stdout
    assert "one seed: the penalty matrix, which takes two, is left out" in done.stderr
    assert "Labels saved" in done.stdout


def test_a_file_of_before_has_no_curves(tmp_path, made) -> None:
    run = made()
    raw = files.read_yaml(tmp_path / "results/aulc.yaml")
    for number, row in enumerate(raw["rows"]):
        if row["dataset"] == "share" or number == 0:
            del row["labels"]
            for areas in row["subsets"].values():
                del areas["curves"]
    (tmp_path / "old.yaml").write_text(files.dump_yaml(raw))
    done = run("rank", "old.yaml", "--stats")
    assert done.exit_code == 0
    assert "learning curves at the same numbers of labels in only 1 of 2 blocks" in done.stderr
    assert "added up over 1 block;" in words(done.stdout)


def test_curves_must_fit_their_seeds(tmp_path, made) -> None:
    run = made()
    raw = files.read_yaml(tmp_path / "results/aulc.yaml")
    raw["rows"][0]["subsets"]["b"]["curves"].pop()
    (tmp_path / "bad.yaml").write_text(files.dump_yaml(raw))
    done = run("rank", "bad.yaml")
    assert done.exit_code == 3
    assert "share low badge_2, curves of b have [4, 4] points, labels and seeds say [4, 4, 4]" in done.stderr


def test_rank_as_csv_is_one_table_of_all_numbers(tmp_path, made) -> None:
    done = made()("rank", "--stats", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert all(None not in row and None not in row.values() for row in rows)
    found = tables.RankTable.read(tmp_path / "results/rank.yaml")
    stats = found.stats

    def of(what, *keys, where=lambda row: True) -> dict:
        chosen = [row for row in rows if row["what"] == what and where(row)]
        assert len({tuple(row[key] for key in keys) for row in chosen}) == len(chosen)
        return {tuple(row[key] for key in keys): float(row["value"]) for row in chosen}

    assert of("score", "dataset", "qm") == {(b.dataset, qm): b.scores[qm] for b in found.blocks for qm in found.methods}
    assert of("rank", "dataset", "qm") == {(b.dataset, qm): b.ranks[qm] for b in found.blocks for qm in found.methods}
    assert of("rank_sum", "regime", "qm") == {("low", qm): total for qm, total in found.sums["low"].items()}
    assert of("smallest_difference", "dataset") == {(b.dataset,): b.smallest for b in found.blocks}
    assert of("average_rank_best", "qm") == {(qm,): average.best for qm, average in stats.average.items()}
    assert of("friedman_p") == {(): stats.friedman.p}
    assert of("critical_difference") == {(): stats.critical_difference}
    pooled = of("difference", "qm", "against", where=lambda row: not row["dataset"])
    assert pooled == {(qm, "random"): difference.mean for qm, difference in stats.differences.items()}
    beats = {(a, b): share for a, row in stats.penalty.beats.items() for b, share in row.items() if a != b}
    assert of("beats", "qm", "against") == beats
    assert of("p_holm", "qm") == {(qm,): difference.holm for qm, difference in stats.differences.items()}
    assert "2 blocks of 3 seeds" in done.stderr


def test_never_reached_and_no_curves_are_not_the_same_blank(tmp_path, made) -> None:
    run = made(datasets=("share",))
    rows = list(csv.DictReader(io.StringIO(run("rank", "--stats", "--against", "kcg", "--format", "csv").stdout)))
    labels = {row["qm"]: (row["value"], row["censored_at"], row["against"]) for row in rows if row["what"] == "labels_needed"}
    assert labels == {"badge_2": ("", "200", "kcg"), "random": ("", "200", "kcg"), "kcg": ("200.0", "", "")}
    raw = files.read_yaml(tmp_path / "results/aulc.yaml")
    for row in raw["rows"]:
        del row["labels"]
        for areas in row["subsets"].values():
            del areas["curves"]
    (tmp_path / "old.yaml").write_text(files.dump_yaml(raw))
    assert "labels_needed" not in run("rank", "old.yaml", "--stats", "--format", "csv").stdout


def test_a_table_wider_than_the_terminal_comes_in_parts(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["low", "share", *(f"{n} ± 0.5" for n in range(6))], [""] * 8, ["mid", "**s**", *(f"{n}" for n in range(6))]]
    show.table("A title that is longer than forty columns", ["regime", "dataset", *"abcdef"], rows, "A foot " * 9, left=2)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 40
    heads = [line.split() for line in shown.splitlines() if line.split()[:2] == ["regime", "dataset"]]
    assert [head[2:] for head in heads] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert words(shown).count("low share") == words(shown).count("mid s") == 3
    monkeypatch.setenv("COLUMNS", "10")  # too narrow for any: one column at a time
    show.table("", ["regime", "dataset", *"abcdef"], rows, left=2)
    assert capsys.readouterr().out.count("dataset") == 6
    monkeypatch.delenv("COLUMNS")
    show.table("", ["regime", "dataset", *"abcdef"], rows, left=2)
    assert capsys.readouterr().out.count("dataset") == 1  # no terminal


def test_statistics_fit_eighty_columns(monkeypatch, made) -> None:
    run = made()
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run("rank", "--stats").stdout.splitlines())) <= 80


@pytest.mark.parametrize("format", ["md", "latex"])
def test_rank_in_documents(made, format) -> None:
    shown = made()("rank", "--stats", "--format", format).stdout
    if format == "latex":
        assert balanced(shown)
        assert shown.count(r"\begin{table}") == 5
        assert "\\begin{verbatim}\n" in shown
    else:
        tables_ = [part for part in shown.split("\n\n") if part.startswith("|")]
        assert len(tables_) == 5
        assert all(len({line.count("|") for line in part.splitlines()}) == 1 for part in tables_)
        assert shown.count("```") == 2


def test_the_diagram() -> None:
    lines = show_stats.diagram({"kcg": 1.0, "random": 3.0, "badge": 2.0}, [["kcg", "badge"]], 1.5).splitlines()
    start = lines[1].index("+")
    assert [line.rindex("o") - start for line in lines[2:5]] == [0, 10, 20]
    assert [line.split()[0] for line in lines[2:5]] == ["kcg", "badge", "random"]
    assert lines[5].endswith("|=========|")
    assert lines[6].endswith("|==============|")
    assert lines[6].split()[1] == "1.50"


def test_a_critical_difference_longer_than_the_axis_is_cut() -> None:
    lines = show_stats.diagram({"kcg": 1.0, "random": 2.0}, [["kcg", "random"]], 1.39).splitlines()
    assert lines[-1].index(">") == len(lines[1])


@given(st.integers(2, 20))
def test_the_diagram_fits_a_terminal(k) -> None:
    average = {f"m{n}": 1 + n for n in range(k)}
    assert max(map(len, show_stats.diagram(average, [list(average)], k - 1.0).splitlines())) < 100
    assert json.dumps(show_stats.diagram(average, [], 1.0)).isascii()
