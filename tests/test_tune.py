"""`mmal tune`: known sums and ties, al-run's own first model, nothing trained twice, what diverges, and what `--with` takes."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import tiny
import torch
import yaml
from typer.testing import CliRunner

from mmal_cli import app, tune
from mmal_cli.cell import Cell
from mmal_cli.commands import tune as command
from mmal_cli.core import tuned
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality, Run
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.core.tuned import Trial, Tuned
from mmal_cli.loop import run_active_learning
from mmal_cli.train import Fitted

FAST = ["train.epochs=2", "train.min_epoch_samples=32", "train.warmup_epochs=1", "regimes.low.cycles=2", *tiny.BUDGET]
SETS = [word for text in FAST for word in ("--set", text)]
IDENTITY = {
    "dataset": "tiny",
    "dataset_id": tiny.described(3).id,
    "regime": "low",
    "seeds": [0, 1],
    "grid": {"train.lr": [1.0, 2.0]},
}


@pytest.fixture
def grid(tmp_path):
    """Writes a grid file and gives its path as text."""

    def write(text: str) -> str:
        (tmp_path / "grid.yaml").write_text(text)
        return str(tmp_path / "grid.yaml")

    return write


@pytest.fixture
def invoke(tmp_path, monkeypatch, tiny_data):
    """`mmal tune` on the tiny dataset in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, regime: str = "low"):
        always = ["tune", "--data", tiny_data, "--regime", regime, "--with", "quick", *SETS, "--gpu", "none", "--seeds", "2"]
        return CliRunner().invoke(app.build(), [str(word) for word in [*always, *words]], catch_exceptions=False)

    return run


def planned(data, grid, seeds=(0, 1), *assignments, **options):
    dataset = Dataset.read(data / "dataset.yaml")
    return tune.plan(dataset, "low", grid, seeds, ["quick"], [*FAST, *assignments], **options)


def searched(search, data, out, **options):
    return tune.run_search(search, data, out, torch.device("cpu"), "mmal tune", **options)


def counted(monkeypatch) -> list[float]:
    """The learning rates of the trainings that really run, from now on."""
    ran, fit = [], tune.fit
    monkeypatch.setattr(tune, "fit", lambda *words: ran.append(words[3].train.lr) or fit(*words))
    return ran


def concluded(*rows: list[float | None]) -> Tuned:
    """What comes of scores, one row for each point, whose learning rate is its number."""
    identity = IDENTITY | {"seeds": list(range(len(rows[0]))), "config": {}}
    trials = [
        Trial(
            **{"id": "0", "point": {"train.lr": float(number)}, "seed": seed, "seconds": 0.0},
            **({"diverged": f"epoch {seed}"} if score is None else {"score": score}),
        )
        for number, row in enumerate(rows)
        for seed, score in enumerate(row)
    ]
    return tuned.conclude(identity, trials, {})


def test_the_highest_mean_wins_and_differences_are_paired():
    found = concluded([0.1, 0.2, 0.6], [0.5, 0.6, 0.7], [0.4, 0.6, 0.5])
    assert found.chosen == {"train": {"lr": 1.0}}
    assert (found.points[1].mean, found.points[1].sd) == pytest.approx((0.6, 0.1))
    assert (found.points[0].mean, found.points[0].sd) == pytest.approx((0.3, math.sqrt(0.07)))
    assert found.runner_up.settings == {"train.lr": 2.0}
    lead = found.runner_up.difference
    assert lead.values == pytest.approx((0.1, 0, 0.2))
    assert (lead.mean, lead.sd) == pytest.approx((0.1, 0.1))
    assert command._difference(found.runner_up, 3) == "difference 0.100 ± 0.100 over 3 seeds: within its spread"


def test_a_lead_that_no_seed_contradicts_is_beyond_its_spread():
    found = concluded([0.5, 0.7], [0.1, 0.4])
    assert command._difference(found.runner_up, 2) == "difference 0.350 ± 0.071 over 2 seeds: beyond its spread"


def test_the_first_point_wins_a_tie_whatever_float_noise_says():
    found = concluded([0.1, 0.2, 0.3], [0.3, 0.3, 0.0], [0.2, 0.2 + 1e-15, 0.2])
    assert found.chosen == {"train": {"lr": 0.0}}
    assert found.runner_up.settings == {"train.lr": 1.0}


def test_one_seed_has_no_spread_and_one_point_no_runner_up():
    found = concluded([0.4], [0.5])
    assert (found.points[1].mean, found.points[1].sd, found.runner_up.difference.sd) == (0.5, None, None)
    assert "over 1 seed: its spread takes two or more" in command._difference(found.runner_up, 1)
    assert concluded([0.4, 0.5]).runner_up is None


def test_a_point_that_diverged_on_any_seed_cannot_win():
    found = concluded([0.9, None], [0.1, 0.2], [None, None])
    assert found.chosen == {"train": {"lr": 1.0}}
    assert found.runner_up is None
    assert (found.points[0].scores, found.points[0].mean, found.points[0].diverged) == ([0.9, None], None, "epoch 1")
    with pytest.raises(UserError, match=r"all 2 points of the grid diverged, the first at epoch 1; give a grid with lower"):
        concluded([0.9, None], [None, 0.8])


def test_the_papers_grid():
    described = tiny.described(3)
    search = tune.plan(described, "low", "paper", range(3))
    assert search.grid == {
        "train.lr": [0.1, 0.01, 0.001],
        "train.weight_decay": [5e-3, 5e-4],
        "train.augmentation": ["basic", "randaug"],
    }
    assert len(search.points) == 12
    assert list(search.points[1].values()) == [0.1, 5e-3, "randaug"]
    assert [(s.train.lr, s.train.weight_decay, s.train.augmentation) for s in search.settings] == [
        tuple(point.values()) for point in search.points
    ]
    values = described.model_copy(update={"modalities": [Modality(name="v", kind="vector", shape=(3,), dtype="float32")]})
    search = tune.plan(values, "low", "paper", range(3))
    assert search.fixed == {"train.augmentation": "basic"}
    assert len(search.points) == 6


def test_a_regimes_own_rates_in_a_protocol_do_not_hide_the_grid():
    mimic = tiny.described(3).model_copy(update={"name": "mimic"})
    search = tune.plan(mimic, "low", "paper", [0])
    assert {settings.train.lr for settings in search.settings} == {0.1, 0.01, 0.001}


@pytest.mark.parametrize(
    ("text", "assignments", "message"),
    [
        ("train.lrr: [1]", [], r"unknown key in .*grid.yaml 'train.lrr'; did you mean 'train.lr'\?"),
        ("train: {lr: [fast]}", [], r"grid.yaml: train.lr: Input should be a valid number.* \(found 'fast'\)"),
        ("train.lr: [-1]", [], r"grid.yaml: train.lr: Input should be greater than 0 \(found -1\)"),
        ("train.augmentation: [simple]", [], r"grid.yaml: train.augmentation: Input should be 'none', 'basic' or 'randaug'"),
        ("train.lr: 0.1", [], r"train.lr is 0.1, expected a list of values, such as \[0.1\]"),
        ("train.lr: []", [], r"train.lr is \[\], expected a list of values"),
        ("train.lr: [0.001, 1e-3]", [], r"train.lr is \[0.001, '1e-3'\], expected each value once"),
        ("model.width: [64]", [], r"unknown key in .*grid.yaml 'model.width'"),
        ("", [], r"grid.yaml holds nothing, expected keys and lists of values, such as train.lr: \[0.1, 0.01\]"),
        ("- train.lr", [], r"grid.yaml holds list, expected keys and lists"),
        ("train.lr: [1]", ["train.lr=0.5"], r"--set train.lr=0.5 has no effect, since .*grid.yaml tries values of train.lr"),
    ],
)
def test_mistakes_in_a_grid_are_named(tiny_data, grid, text, assignments, message):
    with pytest.raises(UserError, match=message):
        planned(tiny_data, grid(text), [0], *assignments)


def test_a_grid_or_option_that_there_is_not(tiny_data, grid):
    with pytest.raises(UserError, match=r"unknown tuning grid 'papr'; did you mean 'paper'\?"):
        planned(tiny_data, "papr")
    with pytest.raises(UserError, match=r"--no-moddrop has no effect, since .*grid.yaml tries values of train.moddrop.enabled"):
        planned(tiny_data, grid("train.moddrop.enabled: [true, false]"), moddrop=False)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_protocols_values_train_al_runs_first_model(tmp_path, seed):
    """Samples lack modalities, images are shrunk; the score is cycle 0's validation score to the last bit."""
    data = tmp_path / "data"
    tiny.make(data, absent={"a": 0.5})
    own = ["train.epochs=4", "shrink.image=8"]
    dataset = Dataset.read(data / "dataset.yaml")
    settings, _ = resolve(dataset, "low", "badge", ["quick"], [*FAST, *own])
    cell = Cell(dataset, "badge", "low", seed, settings)
    run_active_learning(cell, data, tmp_path / "runs", torch.device("cpu"), "mmal al-run")
    expected = Run.read(cell.folder(tmp_path / "runs") / "run.yaml").cycles[0].validation["balanced_accuracy"]
    (tmp_path / "grid.yaml").write_text(f"train.lr: [0.3, {settings.train.lr}]\n")
    search = planned(data, str(tmp_path / "grid.yaml"), [seed], *own)
    found, _ = searched(search, data, tmp_path / "tuned.yaml")
    assert found.points[1].settings == {"train.lr": settings.train.lr}
    assert found.points[1].scores == [expected]
    first = {path.stem for path in (tmp_path / "runs/tiny/low/.first-models").iterdir()}
    assert first <= {path.stem for path in (tmp_path / ".tuned").iterdir()}


def test_the_chain_as_typed(mmal, invoke, tmp_path, tiny_data, grid):
    """Table on stdout, path last; the file holds numbers; done is done; al-run takes it and says so."""
    words = ["--data", tiny_data, "--regime", "low", "--with", "quick", *SETS, "--gpu", "none"]
    tuning = ["tune", *words, "--seeds", 2, "--grid", grid("train.lr: [1e-4, 5e-2]")]
    done = mmal(*tuning, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "tuned/tiny-low.yaml"
    assert any(line.split()[:4] == ["rank", "train.lr", "mean", "±"] for line in lines)
    assert sum("±" in line for line in lines) == 4  # head, two points, difference
    assert [line.split()[0] for line in lines[-4:-1]] == ["winner", "runner-up", "difference"]
    assert "8 of 8 epochs" in done.stderr
    raw = yaml.safe_load((tmp_path / "tuned/tiny-low.yaml").read_text())
    assert (raw["kind"], raw["dataset"], raw["regime"], raw["seeds"]) == ("tuned", "tiny", "low", [0, 1])
    assert raw["grid"] == {"train.lr": [1e-4, 5e-2]}
    assert raw["chosen"]["train"]["lr"] in (1e-4, 5e-2)
    assert raw["config"]["settings"]["train"]["epochs"] == 2
    assert "lr" not in raw["config"]["settings"]["train"]
    again = invoke("--grid", grid("train.lr: [1e-4, 0.05]"), "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, raw)
    assert "already done: tuned/tiny-low.yaml" in again.stderr
    al_run = ["al-run", "--qm", "badge", *map(str, words), "--with", "tuned/tiny-low.yaml", "--print-config"]
    run = CliRunner().invoke(app.build(), al_run, catch_exceptions=False)
    line = next(line for line in run.stdout.splitlines() if "train.lr " in line)
    assert line.split() == ["train.lr", str(raw["chosen"]["train"]["lr"]), "tuned/tiny-low.yaml"]


def test_with_takes_what_was_chosen_in_its_turn_and_only_where_it_belongs(tmp_path):
    path = tmp_path / "mine.yaml"
    concluded([0.1, 0.2], [0.3, 0.4]).write(path)
    described = tiny.described(3)

    def rate(*overlays, **options):
        settings, sources = resolve(described, "low", "badge", [*overlays], **options)
        return settings.train.lr, sources["train.lr"]

    assert rate("quick", str(path)) == (1.0, str(path))
    assert rate(str(path), "quick") == (0.05, "quick.yaml")
    assert rate(str(path), assignments=["train.lr=3"])[0] == 3
    mimic = described.model_copy(update={"name": "mimic"})  # its regimes have rates of their own
    message = r"mine.yaml was tuned for tiny, regime low, expected mimic, regime mid; make that by: mmal tune --data data/mimic"
    with pytest.raises(UserError, match=message):
        resolve(mimic, "mid", "badge", [str(path)])
    drops = {"settings": {"train": {"moddrop": {"enabled": True}}}}
    Tuned.read(path).model_copy(update={"config": drops}).write(path)
    assert rate(str(path))[0] == 1.0
    with pytest.raises(
        UserError, match=r"mine.yaml was tuned with modality dropout, the run trains without; make .* --no-moddrop"
    ):
        rate(str(path), moddrop=False)
    with pytest.raises(UserError, match=r"tuned for tiny, regime low, expected tiny, regime high"):
        resolve(described, "high", "badge", [str(path)])
    Tuned.read(path).model_copy(update={"dataset": "mimic"}).write(path)
    assert resolve(mimic, "low", "badge", [str(path)])[0].train.lr == 1.0
    path.write_text(path.read_text().replace("format: 1", "format: 2"))
    with pytest.raises(UserError, match=r"mine.yaml has format 2"):
        resolve(mimic, "low", "badge", [str(path)])


def test_another_search_is_refused_by_its_keys_and_force_keeps_what_fits(tiny_data, tmp_path, grid, monkeypatch):
    out, ran = tmp_path / "x.yaml", counted(monkeypatch)
    searched(planned(tiny_data, grid("train.lr: [0.05]"), [0]), tiny_data, out)
    wider = planned(tiny_data, grid("train.lr: [0.05, 0.01]"), [0])
    message = r"x.yaml belongs to another configuration: grid.train.lr \(there \[0.05\], asked \[0.05, 0.01\]\); .* --force"
    with pytest.raises(UserError, match=message):
        searched(wider, tiny_data, out)
    with pytest.raises(UserError, match=r"config.settings.train.epochs \(there 2, asked 3\)"):
        searched(planned(tiny_data, grid("train.lr: [0.05]"), [0], "train.epochs=3"), tiny_data, out)
    assert searched(planned(tiny_data, grid("train.lr: [0.05]"), [0], "regimes.low.query=3"), tiny_data, out)[1] is False
    assert ran == [0.05]
    assert len(searched(wider, tiny_data, out, force=True)[0].points) == 2
    assert ran == [0.05, 0.01]
    out.write_text("kind: aulc\n")
    with pytest.raises(UserError, match=r"x.yaml holds 'aulc', expected kind 'tuned'"):
        searched(wider, tiny_data, out, force=True)


def test_what_is_finished_is_not_trained_again(tiny_data, tmp_path, grid, monkeypatch):
    search, whole = planned(tiny_data, grid("train.lr: [0.05, 0.01]")), tmp_path / "whole.yaml"
    found, _ = searched(search, tiny_data, whole)
    fit, ran = tune.fit, []

    def interrupted(*words):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(words[3].train.lr)
        return fit(*words)

    monkeypatch.setattr(tune, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searched(search, tiny_data, tmp_path / "part.yaml")
    assert not (tmp_path / "part.yaml").exists()
    assert (ran, len(list((tmp_path / ".part").iterdir()))) == ([0.05, 0.05, 0.01], 3)
    monkeypatch.setattr(tune, "fit", fit)
    ran, said = counted(monkeypatch), []
    again, _ = searched(search, tiny_data, tmp_path / "part.yaml", on_progress=lambda *numbers: said.append(numbers))
    assert ran == [0.01]
    assert (said[0], said[-1]) == ((6, 8), (8, 8))
    assert again.model_dump(exclude={"made"}) == found.model_dump(exclude={"made"})


def test_a_kept_training_that_was_harmed_is_named(tiny_data, tmp_path, grid):
    search, out = planned(tiny_data, grid("train.lr: [0.05]"), [0]), tmp_path / "x.yaml"
    searched(search, tiny_data, out)
    out.unlink()
    kept = next((tmp_path / ".x").iterdir())
    kept.write_text(kept.read_text().replace("score: ", "scores: "))
    with pytest.raises(UserError, match=r"unknown key 'scores'; .*; remove it and give the same command again") as caught:
        searched(search, tiny_data, out)
    assert caught.value.code == 3


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_interrupted_or_killed_and_on(tiny_data, tmp_path, grid, monkeypatch, sent, code):
    """The real process, struck in its second training: the first stays."""
    words = ["tune", "--data", tiny_data, "--regime", "low", "--with", "quick", *SETS, "--set", "train.epochs=60", "--gpu"]
    words += ["none", "--seeds", "2", "--grid", grid("train.lr: [0.05]"), "--out", tmp_path / "x.yaml"]
    start = [sys.executable, "-m", "mmal_cli", *map(str, words)]
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".x/*.yaml")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, sent)
    printed, said = process.communicate(timeout=120)
    assert (process.returncode, printed) == (code, ""), said
    assert "Traceback" not in said
    assert len(list((tmp_path / ".x").glob("*.yaml"))) == 1
    search, ran = planned(tiny_data, str(tmp_path / "grid.yaml"), (0, 1), "train.epochs=60"), []
    monkeypatch.setattr(tune, "fit", lambda *words: ran.append(words[5]) or Fitted(None, 0, {"balanced_accuracy": 0.5}))
    searched(search, tiny_data, tmp_path / "x.yaml")
    assert ran == [Chance(1, 0)]


def test_a_point_whose_loss_is_not_finite_is_shown_and_all_of_them_are_an_error(invoke, grid, tmp_path):
    done = invoke("--grid", grid("train.lr: [1e30, 0.05]"), "--set", "train.warmup_epochs=0")
    assert done.exit_code == 0, done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.strip().startswith("- "))
    assert row == ["-", "1e+30", "diverged", "diverged", "diverged"]
    assert "diverged   train.lr 1e+30: cycle 0, epoch 1 of 2: the loss is not finite" in done.stdout
    assert "runner-up" not in done.stdout
    raw = yaml.safe_load((tmp_path / "tuned/tiny-low.yaml").read_text())
    assert raw["points"][0]["scores"] == [None, None]
    assert raw["chosen"] == {"train": {"lr": 0.05}}
    done = invoke("--grid", grid("train.lr: [1e30]"), "--set", "train.warmup_epochs=0", "--out", "all.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "error: all 1 points of the grid diverged, the first at cycle 0, epoch 1 of 2" in done.stderr
    assert not (tmp_path / "all.yaml").exists()


def test_options_that_are_wrong(invoke, grid):
    done = invoke("--out", "x.yml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--out x.yml does not end in .yaml, as al-run's --with expects" in done.stderr
    done = invoke("--grid", "paper", regime="lo")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "unknown regime 'lo'; did you mean 'low'?" in done.stderr
