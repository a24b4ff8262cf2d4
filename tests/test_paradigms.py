"""Training paradigms through settings, folders, grids, tables, ranks and the page."""

import json
from pathlib import Path

import fake_runs
import pytest
import report_runs
import yaml
from typer.testing import CliRunner

from mmal_cli import app, runs, sweep
from mmal_cli.analysis import complete, ranks
from mmal_cli.analysis.compare import compare
from mmal_cli.batches import factor
from mmal_cli.cell import Cell
from mmal_cli.core import grid, tuned
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality, Run
from mmal_cli.core.place import Place
from mmal_cli.core.protocol import Train
from mmal_cli.core.settings import resolve
from mmal_cli.core.tuned import Point, Tuned
from mmal_cli.method import load_method

QMS = "badge", "random"
SEMI = Place(dataset="cifar10", regime="low", moddrop=True, paradigm="semi-sl", qm="badge", seed=3)


def dataset(name: str, classes: int = 10) -> Dataset:
    image = Modality(name="image", kind="image", shape=(3, 32, 32), dtype="uint8")
    splits = {split: {"samples": 50_000, "shards": []} for split in ("train", "test")}
    return Dataset.model_construct(name=name, id="0" * 12, classes=classes, modalities=[image], splits=splits)


def invoke(*words):
    return CliRunner().invoke(app.build(), [str(word) for word in words])


def test_the_datasets_own_word_on_a_paradigm_comes_after_what_holds_for_all():
    settings, sources = resolve(dataset("cifar10-lt"), "mid", "badge", paradigm="semi-sl")
    train = settings.train
    assert (train.epochs, train.batch_size, train.lr, train.weight_decay) == (200, 64, 0.03, 1e-3)
    assert (train.fixmatch.alignment, train.class_weights, train.balanced_sampling, train.checkpoint) == (
        True,
        True,
        False,
        "last",
    )
    assert (settings.budget.start, settings.budget.query, settings.budget.cycles) == (250, 750, 4)
    assert sources["train.lr"] == "semi-sl.yaml"
    assert sources["train.weight_decay"] == "cifar10-lt.yaml (semi-sl)"
    assert sources["budget.start"] == "cifar10-lt.yaml"
    plain, _ = resolve(dataset("cifar10-lt"), "mid", "badge")
    assert (plain.paradigm, plain.budget.query, plain.train.fixmatch.enabled) == ("st", 250, False)


def test_overlays_and_assignments_win_over_a_paradigm(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("train: {epochs: 7, lr: 0.5}\nparadigms: {semi-sl: {train: {epochs: 8}}}\n")
    settings, sources = resolve(dataset("cifar10"), "low", "badge", [str(mine)], ["train.lr=0.2"], paradigm="semi-sl")
    assert (settings.train.epochs, settings.train.lr) == (8, 0.2)
    assert sources["train.epochs"] == f"{mine} (semi-sl)"
    assert resolve(dataset("cifar10"), "low", "badge", [str(mine)])[0].train.epochs == 7
    mine.write_text("paradigms: {semi-sl: {train: {epochz: 8}}}\n")
    with pytest.raises(UserError, match=r"unknown key 'paradigms.semi-sl.train.epochz'; did you mean 'epochs'\?"):
        resolve(dataset("cifar10"), "low", "badge", [str(mine)])


def test_settings_of_another_paradigm_than_asked_for():
    asked = dataset("cifar10"), "low", "badge", [], ["train.fixmatch.enabled=true"]
    message = "settings are those of paradigm semi-sl, expected st; give --paradigm semi-sl, or leave out what sets train.fixm"
    with pytest.raises(UserError, match=message):
        resolve(*asked)
    with pytest.raises(UserError, match="paradigm semi-sl, expected self-sl; leave out what sets "):
        resolve(*asked, paradigm="self-sl")
    with pytest.raises(UserError, match=r"would have no effect; set the key itself: --set train\.lr=7"):
        resolve(dataset("cifar10"), "low", "badge", [], ["paradigms.semi-sl.train.lr=7"])
    with pytest.raises(UserError, match="paradigm st, expected semi-sl; leave out what sets "):
        resolve(dataset("cifar10"), "low", "badge", [], ["train.fixmatch.enabled=false"], paradigm="semi-sl")
    with pytest.raises(UserError, match="paradigm st, expected self-sl; give --pretrained FOLDER, made by: mmal pretrain"):
        resolve(dataset("cifar10"), "low", "badge", paradigm="self-sl")


def test_folders_and_places_are_one(tmp_path):
    settings, _ = resolve(dataset("cifar10"), "low", "badge", paradigm="semi-sl", moddrop=False)
    cell = Cell(dataset("cifar10"), "badge", "low", 3, settings)
    folder = cell.folder(tmp_path)
    assert folder == tmp_path / "cifar10/low/badge-semi-sl-nomoddrop/seed-3"
    assert runs.place_of(folder) == cell.place == SEMI.model_copy(update={"moddrop": False})
    assert cell.content["paradigm"] == "semi-sl"
    for paradigm in ("st", "self-sl", "semi-sl"):
        place = SEMI.model_copy(update={"paradigm": paradigm, "qm": "fast-st"})
        assert runs.place_of(Path(place.folder, "seed-3")) == place


def test_a_method_whose_name_ends_as_a_folder_does_is_refused(tmp_path):
    path = tmp_path / "mine-semi-sl.py"
    path.write_text("NEEDS = set()\ndef query(view, size, rng): ...\n")
    with pytest.raises(UserError, match=r"query method mine-semi-sl ends as folders of runs do .*; give its file another name"):
        load_method(str(path), {})


def test_what_came_later_is_no_part_of_older_runs_identity():
    settings, _ = resolve(dataset("cifar10"), "low", "badge")
    content = Cell(dataset("cifar10"), "badge", "low", 0, settings).content
    assert not {"fixmatch", "schedule", "class_weights", "checkpoint"} & content["settings"]["train"].keys()
    assert "paradigm" not in content
    settings, _ = resolve(dataset("cifar10"), "low", "badge", [], ["train.schedule=steps"])
    assert Cell(dataset("cifar10"), "badge", "low", 0, settings).content["settings"]["train"]["schedule"] == "steps"


def test_the_command_of_a_missing_run_names_the_seeds_own_encoders():
    place = SEMI.model_copy(update={"paradigm": "self-sl"})
    plain = runs.command(place)
    assert plain.endswith("--seed 3 --paradigm self-sl --pretrained pretrained/cifar10/seed-3")
    other = place.model_copy(update={"seed": 0})
    near = "mmal al-run --data d --qm badge --regime low --seed 0 --pretrained mine/seed-0"
    assert runs.command(place, [(other, near)]) == near.replace("seed 0", "seed 3").replace("seed-0", "seed-3")
    assert runs.command(SEMI, [(other, near)]).endswith("--paradigm semi-sl")


def test_a_tuned_file_of_another_paradigm_is_refused(tmp_path):
    fields = {"id": "0", "dataset": "cifar10", "dataset_id": "0" * 12, "regime": "low", "seeds": [0], "grid": {}, "made": {}}
    point = Point(settings={"train.lr": 3.0}, scores=[0.5], mean=0.5)
    found = Tuned(**fields, config={"paradigm": "semi-sl"}, chosen={"train": {"lr": 3.0}}, points=[point])
    path = tmp_path / tuned.file_name("cifar10", "low", "semi-sl")
    assert path.name == "cifar10-low-semi-sl.yaml"
    found.write(path)
    assert resolve(dataset("cifar10"), "low", "badge", [str(path)], paradigm="semi-sl")[0].train.lr == 3.0
    message = "was tuned for paradigm semi-sl, the run is of st; make one for it by: mmal tune .* --regime low --out FILE.yaml"
    with pytest.raises(UserError, match=message):
        resolve(dataset("cifar10"), "low", "badge", [str(path)])
    assert tuned.find(tmp_path, SEMI) == path
    assert tuned.find(tmp_path, SEMI.model_copy(update={"paradigm": "st"})) is None


def test_grids_of_the_other_paper():
    counts = {
        name: len(sweep.places(grid.load(name))) for name in ("pitfalls", "pitfalls-self-sl", "pitfalls-semi-sl", "query-size")
    }
    assert counts == {"pitfalls": 225, "pitfalls-self-sl": 225, "pitfalls-semi-sl": 120, "query-size": 90}
    for name, places in (("query-size", sweep.places(grid.load("query-size"))),):
        assert {place.paradigm for place in places} == {"self-sl"}, name
    for name, classes, last in (("cifar100", 100, 4500), ("isic2019", 8, 360)):
        for regime in grid.load("query-size").of(name).regimes:
            budget = resolve(dataset(name, classes), regime, "random")[0].budget
            assert budget.start + budget.query * (budget.cycles - 1) == last
            assert str(budget.query) == regime.removeprefix("query-")


def test_a_sweep_names_all_encoders_that_are_not_there(tmp_path, tiny_data):
    own = {"datasets": {"tiny": str(tiny_data)}, "regimes": ["low"], "qms": ["random", "badge"], "paradigms": ["st", "self-sl"]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(own | {"seeds": [0, 1], "with": ["quick"], "pretrained": str(tmp_path / "pre")}))
    found = [place.paradigm for place in sweep.places(grid.load(str(path)))]
    assert found == ["st"] * 4 + ["self-sl"] * 4
    done = invoke("sweep", path, "--dry-run", "--gpu", "none")
    assert done.exit_code == 3
    for seed in (0, 1):
        folder = tmp_path / "pre" / "tiny" / f"seed-{seed}"
        assert done.stderr.count(f"{folder}; make it by: mmal pretrain --data {tiny_data} --seed {seed} --out {folder}") == 1


def several() -> list:
    """Two methods in three paradigms, three seeds; badge is better in st, the same in self-sl, worse in semi-sl."""
    better = {"st": 0.2, "self-sl": 0.0, "semi-sl": -0.2}
    cells = [(way, qm, seed) for way in better for qm in QMS for seed in range(3)]
    curves = {cell: [0.3, 0.4 + (cell[1] == "badge") * better[cell[0]] + cell[2] / 100] for cell in cells}
    return [
        fake_runs.record({"image": curve}, "cifar10", qm, seed=seed, weak="image", paradigm=way)
        for (way, qm, seed), curve in curves.items()
    ]


@pytest.fixture
def written(tmp_path, monkeypatch):
    fake_runs.write(tmp_path / "runs", *several())
    monkeypatch.chdir(tmp_path)
    assert invoke("aulc", "runs").exit_code == 0
    return tmp_path


def test_tables_have_each_paradigm_for_itself(written):
    done = invoke("aulc", "runs")
    titles = [line for line in done.stdout.splitlines() if "aulc of balanced accuracy" in line]
    assert ["self-sl" in title for title in titles] == [False, True, False]
    assert "cifar10, moddrop on, semi-sl: aulc" in titles[2]
    rows = invoke("aulc", "runs", "--format", "csv").stdout.splitlines()
    assert rows[0].split(",")[:4] == ["dataset", "regime", "paradigm", "moddrop"]
    assert [row.split(",")[2] for row in rows[1:]] == ["st"] * 2 + ["self-sl"] * 2 + ["semi-sl"] * 2


def test_ranks_have_a_block_for_each_paradigm_and_sums_over_all(written):
    found = json.loads(invoke("rank", "--json", "--stats").stdout)
    assert [(block["paradigm"], block["ranks"]["badge"]) for block in found["blocks"]] == [
        ("st", 1),
        ("self-sl", 1.5),
        ("semi-sl", 2),
    ]
    assert found["sums"]["low"] == {"badge": 4.5, "random": 4.5}
    penalties = {way: matrix["beats"] for way, matrix in found["stats"]["penalties"].items()}
    assert penalties["st"] == {"badge": {"badge": 0, "random": 0.5}, "random": {"badge": 0, "random": 0}}
    assert penalties["semi-sl"]["random"] == {"badge": 0.5, "random": 0}
    assert found["stats"]["penalty"]["beats"] == {"badge": {"badge": 0, "random": 0.5}, "random": {"badge": 0.5, "random": 0}}
    text = invoke("rank", "--stats").stdout
    for name in ("all paradigms", "st", "self-sl", "semi-sl"):
        assert f"Pairwise penalty matrix, {name}: the row beats the column" in text
    assert "cifar10 semi-sl" in text


def test_rank_takes_some_paradigms_alone(written):
    found = json.loads(invoke("rank", "--json", "--stats", "--paradigm", "st").stdout)
    assert [block["paradigm"] for block in found["blocks"]] == ["st"]
    assert found["stats"]["penalties"] == {}
    done = invoke("rank", "--paradigm", "selfsl")
    assert (done.exit_code, "no rows of paradigm selfsl; it has st, self-sl, semi-sl" in done.stderr) == (2, True)


def test_the_matrix_of_all_is_the_sum_of_the_paradigms():
    at = {"dataset": "d", "regime": "low", "moddrop": True, "weak": "b"}
    scores = {"x": {0: 0.1, 1: 0.1}, "y": {0: 0.3, 1: 0.3}}
    curves = {qm: {seed: (value, value) for seed, value in of.items()} for qm, of in scores.items()}
    blocks = [ranks.Block(**at, scores=scores, curves=curves, labels=(1, 2), paradigm=way) for way in ("st", "semi-sl")]
    found = compare(blocks, "x", complete.of_paradigms(blocks))
    assert found.penalty.beats["y"]["x"] == 2.0
    assert {way: of.beats["y"]["x"] for way, of in found.penalties.items()} == {"st": 1.0, "semi-sl": 1.0}
    assert (found.penalty.blocks, found.penalties["st"].blocks) == (2, 1)


def test_the_page_shows_paradigms_side_by_side(written):
    text = report_runs.text_of(written / "runs")
    rows = report_runs.table(text, "AUBC of cifar10, moddrop on")
    assert rows[0] == ["method", "st", "self-sl", "semi-sl"]
    assert rows[2][0] == "badge"
    assert rows[2][1:] == ["0.455 ± 0.005", "0.355 ± 0.005", "0.255 ± 0.005"]
    assert 'aria-label="Learning curves of cifar10, moddrop on, by paradigm' in text
    assert '<a href="#paradigms">' in text
    for name in ("all paradigms", "st", "self-sl", "semi-sl"):
        assert report_runs.table(text, f"How often one method beats another, {name}")


def test_a_page_of_one_paradigm_and_two_modalities_has_no_such_section(tmp_path):
    text = report_runs.text_of(report_runs.make(tmp_path, regimes=["low"]))
    assert "Training paradigms" not in text
    assert "#paradigms" not in text


@pytest.mark.parametrize(("name", "classes", "regime", "paradigm", "expected"), [
    # epochs, batch, rate, decay, start, query, cycles: tables of docs/protocol.md's source
    ("cifar10", 10, "low", "self-sl", (80, 64, 1e-3, 5e-3, 50, 50, 10)),
    ("cifar100", 100, "high", "self-sl", (80, 64, 1e-3, 5e-3, 5000, 5000, 5)),
    ("cifar10-lt", 10, "mid", "self-sl", (80, 64, 1e-3, 5e-3, 250, 250, 10)),
    ("isic2019", 8, "mid", "self-sl", (80, 64, 1e-3, 5e-3, 200, 200, 10)),
    ("miotcd", 11, "low", "self-sl", (80, 128, 1e-3, 5e-4, 55, 55, 10)),
    ("miotcd", 11, "mid", "self-sl", (80, 128, 1e-2, 5e-3, 275, 275, 10)),
    ("miotcd", 11, "high", "self-sl", (80, 128, 1e-3, 5e-3, 1100, 1100, 10)),
    ("cifar10", 10, "low", "semi-sl", (200, 64, 0.03, 5e-4, 50, 50, 10)),
    ("cifar10", 10, "mid", "semi-sl", (200, 64, 0.03, 5e-4, 250, 250, 10)),
    ("cifar100", 100, "low", "semi-sl", (200, 64, 0.03, 5e-4, 500, 1500, 4)),
    ("cifar100", 100, "mid", "semi-sl", (200, 64, 0.03, 5e-4, 1000, 3000, 4)),
    ("cifar10-lt", 10, "low", "semi-sl", (200, 64, 0.03, 1e-3, 50, 150, 4)),
])  # fmt: skip
def test_recipes_and_budgets_of_paradigms(name, classes, regime, paradigm, expected, monkeypatch):
    monkeypatch.setattr("mmal_cli.core.settings.pretrained.read", lambda *words: None)
    begun = Path("pretrained") if paradigm == "self-sl" else None
    settings, _ = resolve(dataset(name, classes), regime, "badge", paradigm=paradigm, begun=begun)
    train, budget = settings.train, settings.budget
    found = train.epochs, train.batch_size, train.lr, train.weight_decay, budget.start, budget.query, budget.cycles
    assert found == expected
    assert train.warmup_epochs == 0
    assert (train.schedule, settings.model.fusion) == (("steps", "hidden") if begun else ("cosine", "mean"))
    assert (train.fixmatch.enabled, train.min_epoch_samples) == (not begun, 5500 if begun else 6400)


def test_a_rate_that_falls_in_steps():
    train = Train(epochs=80, warmup_epochs=0, schedule="steps")
    assert [factor(train, 86, epoch, 85) for epoch in (0, 19, 20, 40, 79)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def begun(seed: int, qm: str = "badge", with_paradigm: bool = True) -> Run:
    """A run from encoders of its seed's own."""
    settings = {"model": {"start": {"image": f"{seed:064x}"}}, "train": {"lr": 0.1}}
    kind = {"paradigm": "self-sl"} if with_paradigm else {}
    run = {"dataset": "cifar10", "qm": qm, "seed": seed, "weak": "image", "settings": settings}
    return fake_runs.record({"image": [0.3, 0.4]}, **run, **kind)


def test_seeds_with_encoders_of_their_own_are_averaged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_runs.write(tmp_path / "runs", *(begun(seed, qm) for seed in (0, 1) for qm in QMS))
    done = invoke("aulc", "runs", "--json")
    assert done.exit_code == 0, done.stderr
    assert "differ in" not in done.stderr
    assert [row["seeds"] for row in json.loads(done.stdout)["rows"]] == [[0, 1], [0, 1]]
    assert invoke("report", "runs", "--format", "html").exit_code == 0
    other = begun(1, "random")
    other.config["settings"]["model"]["start"]["image"] = "f" * 64
    fake_runs.write(tmp_path / "runs", other)
    assert "but differ in model.start.image" in invoke("aulc", "runs").stderr


def test_records_of_before_there_were_paradigms_are_self_sl_where_they_began_with_encoders():
    old = begun(0, with_paradigm=False)
    assert "paradigm" not in old.config
    assert Place.model_validate(old.config).paradigm == "self-sl"
    assert Place.model_validate(fake_runs.record({"image": [0.3]}).config).paradigm == "st"


def test_a_paradigm_may_lack_methods_and_regimes_that_another_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = {"st": ("badge", "bald", "random"), "semi-sl": QMS}
    written = [
        fake_runs.record({"image": [0.3, 0.4 + seed / 100]}, "cifar10", qm, regime, seed, weak="image", paradigm=way)
        for way, qms in methods.items()
        for qm in qms
        for regime in (("low", "high") if way == "st" else ("low",))
        for seed in range(2)
    ]
    fake_runs.write(tmp_path / "runs", *written)
    assert invoke("aulc", "runs").exit_code == 0
    done = invoke("rank", "--json", "--stats")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["made"]["notes"] == ["Not in all blocks, so not ranked: bald."]
    assert found["methods"] == ["badge", "random"]
    assert {way: list(matrix["beats"]) for way, matrix in found["stats"]["penalties"].items()} == {
        "st": ["badge", "bald", "random"],
        "semi-sl": ["badge", "random"],
    }
