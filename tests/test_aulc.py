"""Areas under learning curves: the numbers of the protocol, what may be averaged, and what `mmal aulc` shows."""

import json
import shlex

import fake_runs
import numpy as np
import pytest
from fake_runs import words
from hypothesis import given
from hypothesis import strategies as st

from mmal_cli import runs
from mmal_cli.analysis import aulc as areas
from mmal_cli.core.errors import UserError
from mmal_cli.core.place import Place
from mmal_cli.core.shards import write_arrays
from mmal_cli.core.tables import AulcTable, TableDataset

curves = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def test_rising_line() -> None:
    line = [0.1 + 0.8 * k / 9 for k in range(10)]
    assert areas.aulc(line) == pytest.approx(4.5)
    assert areas.aulc_from_zero(line) == pytest.approx(4.55)
    assert areas.aubc(line) == pytest.approx(0.5)


def test_constant_line() -> None:
    assert areas.aulc([0.1] * 10) == pytest.approx(0.9)
    assert areas.aulc_from_zero([0.1] * 10) == pytest.approx(0.95)


def test_one_point() -> None:
    assert areas.aulc([0.7]) == 0
    assert areas.aulc_from_zero([0.7]) == 0.35
    assert areas.aubc([0.7]) is None
    assert areas.measures([[0.7], [0.8]]).aubc is None


def test_spread_of_one_and_of_three() -> None:
    assert areas.spread([0.3]).sd is None
    three = areas.spread([1.0, 2.0, 4.0])
    assert three.mean == pytest.approx(7 / 3)
    assert three.sd == pytest.approx(((16 + 1 + 25) / 9 / 2) ** 0.5)  # ddof 1
    assert three.values == (1.0, 2.0, 4.0)


@given(curves, st.floats(-3, 3))
def test_linear_and_within_its_range(curve, factor) -> None:
    assert areas.aulc([factor * y for y in curve]) == pytest.approx(factor * areas.aulc(curve), abs=1e-9)
    assert 0 <= areas.aulc(curve) <= len(curve) - 1
    assert areas.aulc(curve) == areas.aulc(curve[::-1])
    assert areas.aulc_from_zero(curve) == pytest.approx(areas.aulc(curve) + curve[0] / 2)
    assert min(curve) - 1e-12 <= areas.aubc(curve) <= max(curve) + 1e-12


@given(st.permutations([0.1, 0.2, 0.3, 0.4, 0.7, 0.9]))
def test_inner_points_may_change_places(inner) -> None:
    assert areas.aulc([0.1, *inner, 0.8]) == areas.aulc([0.1, 0.1, 0.2, 0.3, 0.4, 0.7, 0.9, 0.8])


def named(*found) -> dict:
    return {f"runs/{run.config['qm']}/seed-{run.config['seed']}#{n}": run for n, run in enumerate(found)}


def test_rows_keep_the_values_in_the_order_of_seeds() -> None:
    made = [fake_runs.record({"a": [0.0, 2.0 * seed]}, qm=qm, seed=seed) for qm in ("kcg", "badge") for seed in (10, 2, 1)]
    found = areas.rows(named(*made), "balanced_accuracy")
    assert [row.qm for row in found] == ["badge", "kcg"]
    assert found[0].seeds == (1, 2, 10)
    assert found[0].subsets["a"].aulc.values == (1.0, 2.0, 10.0)
    assert areas.rows(named(*made), "accuracy")[0].subsets["a"].aulc.values == (0.5, 1.0, 5.0)


def test_rows_go_low_mid_high_and_moddrop_on_first() -> None:
    made = [
        fake_runs.record({"a": [1.0]}, regime=regime, moddrop=moddrop)
        for regime in ("mid", "odd", "high", "low")
        for moddrop in (0, 1)
    ]
    found = [(row.regime, row.moddrop) for row in areas.rows(named(*made), "accuracy")]
    assert found == [(regime, moddrop) for regime in ("low", "mid", "high", "odd") for moddrop in (True, False)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"train": {"lr": 0.01}}}, "settings.train.lr (there 0.01, asked 0.1)"),
        ({"curves": {"a": [0.1, 0.2]}}, "cycles (there 2, asked 3)"),
        ({"curves": {"b": [0.1, 0.2, 0.3]}}, "subsets"),
        ({"data_id": "ba9876543210"}, "inputs.dataset.id"),
    ],
)
def test_runs_that_differ_are_not_averaged(change, says) -> None:
    first = {"curves": {"a": [0.1, 0.2, 0.3]}, "seed": 0}
    made = named(fake_runs.record(**first), fake_runs.record(**(first | {"seed": 1} | change)))
    with pytest.raises(UserError, match="it cannot be averaged with runs/random/seed-0#0") as error:
        areas.rows(made, "accuracy")
    assert str(error.value).startswith("runs/random/seed-1#1 belongs to another configuration: ")
    assert says in str(error.value)


def test_runs_of_two_versions_of_one_file_are_not_averaged() -> None:
    runs = {str(seed): fake_runs.record({"b": [0.1, 0.2]}, qm="mine", seed=seed, sha256=str(seed) * 64) for seed in (0, 1)}
    with pytest.raises(UserError, match=f"own_files.qm .*{'1' * 20}.*it cannot be averaged with 0"):
        areas.rows(runs, "balanced_accuracy")


def test_a_method_of_ones_own_has_its_sha256_in_file_and_foot(tmp_path, invoke) -> None:
    curves = {"a": [0.5, 0.5], "b": [0.1, 0.3]}
    own = [fake_runs.record(curves, qm="mine", seed=seed, sha256="5a" * 32) for seed in (0, 1)]
    fake_runs.write(tmp_path / "runs", fake_runs.record(curves), *own)
    for format in ("rich", "md"):
        assert f"mine.py: sha256 {'5a' * 32}\n" in invoke("aulc", "runs", "--format", format).stdout
    rows = AulcTable.read(tmp_path / "results/aulc.yaml").rows
    assert [row.qm_sha256 for row in rows] == ["5a" * 32, None]


def test_one_cell_twice() -> None:
    with pytest.raises(UserError, match="seed-0#0 and runs/random/seed-0#1 are the same cell"):
        areas.rows(named(*[fake_runs.record({"a": [0.1]})] * 2), "accuracy")


def test_metrics_must_be_there_and_finite() -> None:
    with pytest.raises(
        UserError, match=r"unknown metric in runs/random/seed-0#0, cycle 0, subset a: 'accurary'; did you mean 'accuracy'"
    ):
        areas.rows(named(fake_runs.record({"a": [0.1]})), "accurary")
    with pytest.raises(UserError, match="cycle 1 has accuracy nan for subset a"):
        areas.rows(named(fake_runs.record({"a": [0.1, float("nan")]})), "accuracy")


def test_methods_with_other_settings_are_named() -> None:
    lr = {"train": {"lr": 0.5}, "query_options": {}}
    made = [
        fake_runs.record({"a": [0.1]}, qm="kcg", seed=seed, settings={"train": {"lr": 0.1}, "query_options": {"p": 1}})
        for seed in (0, 1)
    ]
    assert areas.unlike(named(*made, fake_runs.record({"a": [0.1]}, qm="bald"))) == []
    made += [fake_runs.record({"a": [0.1]}, qm="bald", seed=seed, settings=lr) for seed in (0, 1)]
    made += [fake_runs.record({"a": [0.1]}, qm="bald", regime="mid", settings=lr)]
    assert areas.unlike(named(*made)) == ["runs/bald/seed-0#2 and runs/kcg/seed-0#0 stand in one table, but differ in train.lr"]


def test_one_name_is_one_dataset() -> None:
    made = [fake_runs.record({"a": [0.1]}, qm=qm, data_id=qm) for qm in ("kcg", "bald")]
    with pytest.raises(UserError, match=r"id \(there 'bald', asked 'kcg'\); it read other data than runs/kcg/seed-0#0"):
        areas.datasets(named(*made))


def test_factor_only_below_a_known_ceiling() -> None:
    dataset = TableDataset(ceiling={"a": 0.1, "b": 1.0, "c": 0.0})
    assert [dataset.factor(subset) for subset in "abcd"] == [10, 1, 1, 1]


def three_seeds(**more) -> list:
    return [
        fake_runs.record(
            {"a": [0.05, 0.07], "b": [0.03, 0.01 + 0.01 * seed], "a+b": [0.5, 0.7]}, "synergy", "badge", seed=seed, **more
        )
        for seed in range(3)
    ]


def test_the_table_shows_x10_and_the_file_does_not(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds(ceiling=fake_runs.CEILING))
    done = invoke("aulc", "runs")
    assert done.exit_code == 0
    assert "synergy, moddrop on: aulc of balanced accuracy" in done.stdout
    assert "regime qm seeds a x10 b (weak) x10 a+b" in words(done.stdout)
    assert "low badge 3 0.60 ± 0.00 0.25 ± 0.05 0.60 ± 0.00" in words(done.stdout)
    assert "Partially predictive, shown times 1 / ceiling: a x10, b x10; the file holds plain values." in words(done.stdout)
    assert done.stderr == "results/aulc.yaml written\n"
    table = AulcTable.read(tmp_path / "results/aulc.yaml")
    assert table.rows[0].subsets["b"].aulc.values == pytest.approx((0.02, 0.025, 0.03))
    assert table.datasets["synergy"].weak == "b"


def test_without_a_ceiling_nothing_is_scaled(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds())
    shown = invoke("aulc", "runs").stdout
    assert "x10" not in shown
    assert "0.06 ± 0.00" in shown


def test_json_is_the_file(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds())
    shown = json.loads(invoke("aulc", "runs", "--json", "--out", "x.yaml", "--metric", "accuracy").stdout)
    table = AulcTable.read(tmp_path / "x.yaml")
    assert AulcTable.model_validate(shown) == table
    assert table.metric == "accuracy"
    again = invoke("aulc", tmp_path / "runs/synergy", "--metric", "accuracy", "--json")
    assert json.loads(again.stdout)["id"] == table.id  # content, not place


def test_the_command_in_the_file_makes_the_file(tmp_path, invoke) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{datasets: {synergy: null}, regimes: [low], qms: [badge], moddrop: [true], seeds: [0, 2]}"
    )
    fake_runs.write(tmp_path / "runs", *three_seeds())
    for options in ([], ["--metric", "accuracy", "--grid", "mine.yaml", "--scale", "paper"]):
        assert invoke("aulc", "runs", *options).exit_code == 0
        table = AulcTable.read(tmp_path / "results/aulc.yaml")
        assert invoke(*shlex.split(table.made["command"])[1:], "--out", "again.yaml").exit_code == 0
        again = AulcTable.read(tmp_path / "again.yaml")
        assert again.model_dump(exclude={"made"}) == table.model_dump(exclude={"made"})
        assert again.made.get("not_run") == table.made.get("not_run")


def test_cells_that_have_not_run_are_told_in_every_format(tmp_path, invoke) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{datasets: {synergy: null, food: null}, regimes: [low], qms: [badge, kcg], moddrop: [true], seeds: [0, 3]}"
    )
    fake_runs.write(tmp_path / "runs", *three_seeds())
    said = {name: invoke("aulc", "runs", "--grid", "mine.yaml", "--format", name) for name in ("rich", "md", "csv", "json")}
    for name in ("csv", "json"):
        assert "7 of the grid's 8 cells have not run" in said[name].stderr
    for name in ("rich", "md"):
        assert "3 of the grid's 4 cells have not run." in said[name].stdout
        assert "food, moddrop on: none of its 4 cells has run." in said[name].stdout
    place = {"paradigm": "st", "moddrop": True, "regime": "low"}
    assert json.loads(said["json"].stdout)["made"]["not_run"] == [
        place | {"dataset": "synergy", "qm": "badge", "seeds": [3]},
        place | {"dataset": "synergy", "qm": "kcg", "seeds": [0, 3]},
        place | {"dataset": "food", "qm": "badge", "seeds": [0, 3]},
        place | {"dataset": "food", "qm": "kcg", "seeds": [0, 3]},
    ]
    assert "not_run" not in json.loads(invoke("aulc", "runs", "--json").stdout)["made"]


def test_one_cycle_and_one_seed(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", fake_runs.record({"a": [0.5]}))
    assert "0.00 ± -" in invoke("aulc", "runs").stdout
    assert "low random 1 - " in words(invoke("aulc", "runs", "--area", "aubc").stdout)
    assert AulcTable.read(tmp_path / "results/aulc.yaml").rows[0].subsets["a"].aubc is None


def test_both_variants_have_tables_of_their_own(tmp_path, invoke) -> None:
    for moddrop in (True, False):
        fake_runs.write(tmp_path / "runs", *three_seeds(moddrop=moddrop))
    shown = invoke("aulc", "runs").stdout
    assert shown.index("synergy, moddrop on") < shown.index("synergy, moddrop off")


def test_unfinished_runs_are_named_and_counted(tmp_path, invoke) -> None:
    command = "mmal al-run --data d/synergy --qm badge --regime low --seed 1 --with quick"
    fake_runs.write(tmp_path / "here", *three_seeds(command=command))
    cut = tmp_path / "here/synergy/low/badge/seed-12"
    cut.mkdir()
    done = invoke("aulc", "here")
    assert "unfinished" not in done.stdout  # an empty folder is no run
    (cut / "cycle-00.h5").touch()
    other = tmp_path / "here/synergy/mid/kcg-nomoddrop/seed-0"
    other.mkdir(parents=True)
    (other / "run.log").touch()
    done = invoke("aulc", "here")
    assert done.exit_code == 0
    helps = "mmal al-run --data d/synergy --qm badge --regime low --seed 12 --with quick --out here"
    assert f"here/synergy/low/badge/seed-12 is not finished and left out; go on by: {helps}\n" in done.stderr
    assert (
        "--data data/synergy --qm kcg --regime mid --seed 0 --out here\n" in done.stderr
    )  # synergy's protocol is without moddrop
    assert "2 unfinished runs left out" in done.stdout
    assert AulcTable.read(tmp_path / "results/aulc.yaml").rows[0].seeds == (0, 1, 2)


def test_an_unfinished_run_goes_on_by_the_command_of_its_first_cycle(tmp_path, invoke) -> None:
    """Its path cannot tell `my-nomoddrop` with moddrop from `my` without; a neighbour may have other settings."""
    fake_runs.write(tmp_path / "runs", fake_runs.record({"a": [0.1]}, command="mmal al-run --qm random --regime low --set y"))
    cut = fake_runs.record({"a": [0.1]}, qm="my-nomoddrop", seed=4)
    folder = fake_runs.folder_of(tmp_path / "runs", cut)
    command = "mmal al-run --data d --qm ./my-nomoddrop.py --regime low --seed 4 --set 'train.lr=1.0'"
    write_arrays(folder / "cycle-00.h5", {"selected": np.zeros(3)}, {"command": command})
    assert f"go on by: {command.replace(chr(39), '')}\n" in invoke("aulc", "runs").stderr


def test_a_record_that_names_two_datasets(tmp_path, invoke) -> None:
    run = fake_runs.record({"a": [0.1]})
    run.inputs["dataset"]["name"] = "other"
    fake_runs.write(tmp_path / "runs", run)
    done = invoke("aulc", "runs")
    assert done.exit_code == 3
    assert "other has no rows" in done.stderr


@pytest.mark.parametrize("content", ["nothing", "a cut run", "no folder"])
def test_no_finished_run(tmp_path, invoke, content) -> None:
    cut = tmp_path / "runs/synergy/low/kcg/seed-0"
    if content != "no folder":
        cut.mkdir(parents=True)
    if content == "a cut run":
        (cut / "cycle-00.h5").touch()
    done = invoke("aulc", "runs")
    assert done.exit_code == 3
    assert ("runs not found" if content == "no folder" else "runs holds no finished run") in done.stderr
    assert ("go on by: mmal al-run" in done.stderr) == (content == "a cut run")


def test_a_damaged_record_is_an_error(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds())
    damaged = tmp_path / "runs/synergy/low/badge/seed-1/run.yaml"
    damaged.write_text(damaged.read_text()[:200])
    done = invoke("aulc", "runs")
    assert done.exit_code == 3
    assert "runs/synergy/low/badge/seed-1/run.yaml" in done.stderr


def test_another_file_is_not_overwritten(tmp_path, invoke) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds())
    (tmp_path / "notes.yaml").write_text("a: 1\n")
    assert invoke("aulc", "runs", "--out", "notes.yaml").exit_code == 2
    assert (tmp_path / "notes.yaml").read_text() == "a: 1\n"
    assert [invoke("aulc", "runs").exit_code for _ in range(2)] == [0, 0]


def test_find_takes_any_level(tmp_path) -> None:
    fake_runs.write(tmp_path / "runs", *three_seeds())
    levels = ["runs", "runs/synergy", "runs/synergy/low/badge"]
    assert [len(runs.find(tmp_path / level).finished) for level in levels] == [3, 3, 3]
    assert len(runs.find(tmp_path / "runs/synergy/low/badge/seed-2").finished) == 1


def place(dataset="share", qm="kcg", seed=3, moddrop=True, regime="low") -> Place:
    return Place(dataset=dataset, regime=regime, moddrop=moddrop, qm=qm, seed=seed)


@pytest.mark.parametrize(
    ("wanted", "flag"),
    [
        (place(), ""),
        (place(moddrop=False), " --no-moddrop"),
        (place("synergy", moddrop=False), ""),  # as its protocol is
        (place("synergy"), " --moddrop"),
        (place("mine"), ""),
    ],
)
def test_the_plain_command_of_a_run(wanted, flag) -> None:
    assert runs.command(wanted) == f"mmal al-run --data data/{wanted.dataset} --qm kcg --regime low --seed 3{flag}"


@pytest.mark.parametrize(
    ("other", "given", "expected"),
    [
        (place(seed=0), "--qm ./new/kcg.py --regime low --with quick", "--qm ./new/kcg.py --regime low --with quick --seed 3"),
        (place(qm="bald"), "--qm bald --regime low --seed 0 --with quick", "--qm kcg --regime low --seed 3 --with quick"),
        (place(regime="mid"), "--qm kcg --regime mid --seed 3", "--qm kcg --regime low --seed 3"),
        (place(moddrop=False), "--qm kcg --regime low --seed 3 --no-moddrop", None),
        (place("synergy"), "--qm kcg --regime low --seed 3 --data x", None),
    ],
)
def test_a_command_that_follows_another(other, given, expected) -> None:
    found = runs.command(place(), [(other, f"mmal al-run {given}"), (place(), "mmal sweep table2")])
    assert found == (f"mmal al-run {expected}" if expected else runs.command(place()))
