"""The loop: every method to the end, killed and continued without a trace, first models shared, mistakes refused."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch

from mmal_cli.cell import Cell
from mmal_cli.core import plugins, shards
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Run
from mmal_cli.core.settings import resolve
from mmal_cli.loop import run_active_learning

FAST = ["train.epochs=2", "train.min_epoch_samples=32", "train.warmup_epochs=1", "regimes.low.cycles=3", "model.mc_passes=4"]
FAST += tiny.BUDGET


def run(data, out, qm="random", seed=0, *assignments, **options):
    dataset = Dataset.read(data / "dataset.yaml")
    settings, _ = resolve(dataset, "low", qm, ["quick"], [*FAST, *assignments], **options)
    cell = Cell(dataset, qm, "low", seed, settings)
    return cell.folder(out), run_active_learning(cell, data, out, torch.device("cpu"), "mmal al-run")


def cycles(folder):
    """All arrays of all cycles, and all their metrics."""
    read = [shards.read_arrays(path) for path in sorted(folder.glob("cycle-*.h5"))]
    return [arrays for arrays, _ in read], [attributes["cycle"]["metrics"] for _, attributes in read]


def same(one, two):
    (a, x), (b, y) = cycles(one), cycles(two)
    return x == y and all(np.array_equal(i[name], j[name]) for i, j in zip(a, b, strict=True) for name in i | j)


@pytest.mark.parametrize("qm", plugins.names("queries"))
def test_every_method_runs_to_the_end(tiny_data, tmp_path, qm):
    folder, ran = run(tiny_data, tmp_path, qm)
    assert ran
    assert folder == tmp_path / "tiny" / "low" / qm / "seed-0"
    record = Run.read(folder / "run.yaml")
    assert [cycle.labels for cycle in record.cycles] == [15, 30, 45]
    assert set(record.cycles[0].metrics) == {"a", "b", "a+b"}
    arrays, _ = cycles(folder)
    assert [len(cycle["selected"]) for cycle in arrays] == [15, 15, 0]
    for before, after in pairwise(arrays):
        expected = np.sort(np.concatenate([before["labelled"], before["selected"]]))
        assert np.array_equal(after["labelled"], expected)
        assert not np.isin(after["labelled"], after["validation"]).any()
    assert arrays[0]["test_logits/a+b"].shape == (30, 3)
    assert arrays[0]["test_logits/a+b"].dtype == np.float16
    assert (folder / "run.log").read_text().count("balanced accuracy") == 3
    assert run(tiny_data, tmp_path, qm) == (folder, False)


def test_one_and_three_modalities_and_missing_ones(tmp_path):
    tiny.make(tmp_path / "one", modalities=("x",))
    tiny.make(tmp_path / "three", modalities=("x", "y", "z"), absent={"x": 0.8, "y": 0.3})
    for name, subsets in (("one", {"x"}), ("three", {"x", "y", "z", "x+y", "x+z", "y+z", "x+y+z"})):
        for qm in plugins.names("queries"):
            folder, _ = run(tmp_path / name, tmp_path / f"runs-{name}", qm)
            assert set(Run.read(folder / "run.yaml").cycles[-1].metrics) == subsets


@pytest.mark.parametrize("qm", ["badge", "bald"])
def test_a_run_that_lost_its_last_cycles_goes_on_to_the_same_end(tiny_data, tmp_path, qm):
    whole, _ = run(tiny_data, tmp_path / "whole", qm)
    part, _ = run(tiny_data, tmp_path / "part", qm)
    for name in ("run.yaml", "cycle-02.h5", "cycle-01.h5"):
        (part / name).unlink()
    assert run(tiny_data, tmp_path / "part", qm) == (part, True)
    assert same(whole, part)


def test_kill_9_at_any_moment_and_on(tiny_data, tmp_path):
    """Kills the real process once a first cycle is on disk, or a moment later; another goes on to the uninterrupted end."""
    words = ["al-run", "--data", tiny_data, "--qm", "badge", "--regime", "low", "--with", "quick", "--gpu", "none"]
    words += [word for text in [*FAST, "train.epochs=20"] for word in ("--set", text)]
    command = [sys.executable, "-m", "mmal_cli", *map(str, words)]
    whole, _ = run(tiny_data, tmp_path / "whole", "badge", 0, "train.epochs=20")
    inside = whole.relative_to(tmp_path / "whole")
    for name, wait in {"at once": 0.0, "later": 0.4}.items():
        part = tmp_path / name
        process = subprocess.Popen([*command, "--out", str(part)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (part / inside / "cycle-00.h5").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (part / inside / "run.yaml").exists()
        assert run(tiny_data, part, "badge", 0, "train.epochs=20") == (part / inside, True)
        assert same(whole, part / inside)


def test_ctrl_c_keeps_finished_cycles_and_says_how_to_go_on(tiny_data, tmp_path):
    words = ["al-run", "--data", tiny_data, "--qm", "random", "--regime", "low", "--with", "quick", "--gpu", "none"]
    words += [word for text in [*FAST, "train.epochs=150"] for word in ("--set", text)]
    command = [sys.executable, "-m", "mmal_cli", *map(str, words), "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (tmp_path / "tiny/low/random/seed-0/cycle-00.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: what was finished stays; give the same command again to go on" in said
    assert "Traceback" not in said
    assert {path.name for path in (tmp_path / "tiny/low/random/seed-0").iterdir()} == {"cycle-00.h5", "run.log"}


def test_methods_share_the_first_model_and_bald_has_its_own(tiny_data, tmp_path):
    first = {qm: cycles(run(tiny_data, tmp_path, qm)[0])[1][0] for qm in ("random", "badge", "bald")}
    assert first["random"] == first["badge"]
    assert first["bald"] != first["random"]
    assert len(list((tmp_path / "tiny/low/.first-models").iterdir())) == 2
    alone, _ = run(tiny_data, tmp_path / "alone", "badge")
    assert same(alone, tmp_path / "tiny/low/badge/seed-0")


def test_two_that_race_for_the_first_model_do_no_harm(tiny_data, tmp_path):
    with ThreadPoolExecutor() as threads:
        words = [[sys.executable, "-m", "mmal_cli", "al-run", "--data", str(tiny_data), "--qm", qm] for qm in ("random", "kcg")]
        rest = ["--regime", "low", "--with", "quick", "--gpu", "none", "--out", str(tmp_path / "race")]
        rest += [word for text in FAST for word in ("--set", text)]
        done = list(threads.map(lambda w: subprocess.run([*w, *rest], capture_output=True, text=True, check=False), words))
    assert [d.returncode for d in done] == [0, 0], [d.stderr for d in done]
    for qm in ("random", "kcg"):
        assert same(run(tiny_data, tmp_path / "alone", qm)[0], tmp_path / "race/tiny/low" / qm / "seed-0")
    assert len(list((tmp_path / "race/tiny/low/.first-models").iterdir())) == 1


@pytest.mark.parametrize("left", [0, 700])
def test_a_truncated_cycle_is_named(tiny_data, tmp_path, left):
    folder, _ = run(tiny_data, tmp_path)
    path = folder / "cycle-00.h5"
    path.write_bytes(path.read_bytes()[:left])
    (folder / "run.yaml").unlink()
    with pytest.raises(UserError, match=r"cycle-00.h5 is damaged .*; remove it and give the same command again") as caught:
        run(tiny_data, tmp_path)
    assert caught.value.code == 3


@pytest.mark.parametrize("harm", ["emptied", "cut", "a bit turned"])
def test_a_damaged_first_model_is_made_again(tiny_data, tmp_path, harm, capfd):
    run(tiny_data, tmp_path)
    path = next((tmp_path / "tiny/low/.first-models").glob("*.pt"))
    whole = path.read_bytes()
    middle = len(whole) // 2
    turned = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"emptied": b"", "cut": whole[:700], "a bit turned": turned}[harm])
    damaged, _ = run(tiny_data, tmp_path, "badge")
    assert f"warning: {path} is damaged, so the first model is trained again" in capfd.readouterr().err
    assert "first model is trained again" in (damaged / "run.log").read_text()
    assert same(damaged, run(tiny_data, tmp_path / "fresh", "badge")[0])


@pytest.mark.parametrize("name", ["selected", "labelled", "validation"])
def test_cycles_that_do_not_follow_from_each_other_are_refused(tiny_data, tmp_path, name):
    """As when a first cycle was removed and run again on another machine."""
    folder, _ = run(tiny_data, tmp_path)
    (folder / "run.yaml").unlink()
    arrays, attributes = shards.read_arrays(folder / "cycle-01.h5")
    shards.write_arrays(folder / "cycle-01.h5", arrays | {name: arrays[name][::-1] + 1}, attributes)
    with pytest.raises(UserError, match=r"cycle-0[12].h5 does not follow from the cycles before it, or was edited; remove it"):
        run(tiny_data, tmp_path)


def test_an_encoder_of_ones_own_is_known_by_its_content(tiny_data, tmp_path):
    source = (plugins.PACKAGE / "encoders" / "convnet.py").read_text()
    (tmp_path / "mine.py").write_text(source)
    own = f"model.encoders.image={tmp_path / 'mine.py'}"
    folder, _ = run(tiny_data, tmp_path / "runs", "random", 0, own)
    record = (folder / "run.yaml").read_text()
    assert str(tmp_path) not in record
    assert plugins.fingerprint(str(tmp_path / "mine.py")) in record
    (tmp_path / "mine.py").write_text(source.replace("nn.ReLU(inplace=True)", "nn.SiLU()"))
    assert run(tiny_data, tmp_path / "runs", "random", 0, own) == (folder, False), "a process keeps the code that it has read"
    plugins.source.cache_clear()  # as a new process begins
    with pytest.raises(UserError, match=r"belongs to another configuration: config.own_files.encoders.image"):
        run(tiny_data, tmp_path / "runs", "random", 0, own)
    run(tiny_data, tmp_path / "runs", "badge", 0, own)
    assert len(list((tmp_path / "runs/tiny/low/.first-models").iterdir())) == 2


def test_a_folder_of_another_configuration_is_refused(tiny_data, tmp_path):
    folder, _ = run(tiny_data, tmp_path)
    message = r"seed-0 belongs to another configuration: config.settings.train.lr \(there 0.05, asked 0.01\)"
    with pytest.raises(UserError, match=message):
        run(tiny_data, tmp_path, "random", 0, "train.lr=0.01")
    (folder / "run.yaml").unlink()
    with pytest.raises(UserError, match=r"cycle-00.h5 belongs to another configuration"):
        run(tiny_data, tmp_path, "random", 0, "train.lr=0.01")


def test_moddrop_has_a_folder_of_its_own(tiny_data, tmp_path):
    assert run(tiny_data, tmp_path, moddrop=False)[0].parent.name == "random-nomoddrop"


BROKEN = {
    "short": ("return view.unlabelled.index[: size - 1]", r"returned 14 indices, 14 distinct, 0 of them outside"),
    "twice": ("return view.unlabelled.index[:1].repeat(size)", r"returned 15 indices, 1 distinct"),
    "labelled": ("return view.labelled.index[:size]", r"15 of them outside the pool; expected 15 distinct indices of the pool"),
    "floats": ("return view.unlabelled.index[:size].double()", r"returned torch.float64 .* expected an int64 tensor"),
    "nan": (
        "return view.unlabelled.index[top(view.unlabelled.logits[:, 0] * float('nan'), size)]",
        r"90 of 90 scores are not finite, the first at position 0",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_method_that_answers_wrongly_is_refused_and_nothing_is_written(tiny_data, tmp_path, name):
    body, message = BROKEN[name]
    source = f"from mmal_cli.pool import top\n\nNEEDS = {{'logits'}}\n\n\ndef query(view, size, rng):\n    {body}\n"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(UserError, match=message):
        run(tiny_data, tmp_path / "runs", str(tmp_path / f"{name}.py"))
    assert [path.name for path in (tmp_path / "runs/tiny/low" / name / "seed-0").iterdir()] == ["run.log"]


def test_a_method_of_ones_own_runs_by_its_path_and_carries_its_hash(tiny_data, tmp_path):
    (tmp_path / "last.py").write_text(
        "NEEDS = set()\n\n\ndef query(view, size, rng):\n    return view.unlabelled.index[-size:]\n"
    )
    folder, _ = run(tiny_data, tmp_path / "runs", str(tmp_path / "last.py"))
    config = Run.read(folder / "run.yaml").config
    assert config["qm"] == "last"
    assert config["own_files"] == {"qm": plugins.fingerprint(str(tmp_path / "last.py"))}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def query(view, size, rng)\n    pass\n", r"mine.py, line 1: expected ':'"),
        ("import nowhere\n", r"query method file .*mine.py: No module named 'nowhere'"),
        ("NEEDS = set()\nquery = 5\n", r"mine.py has no `query` that can be called; see docs/extending.md"),
        ("def query(view, size, rng):\n    pass\n", r"query method mine has no NEEDS; say what it reads"),
        (
            "NEEDS = {'logit'}\n\n\ndef query(view, size, rng):\n    pass\n",
            r"unknown need of query method mine 'logit'.*'logits'",
        ),
    ],
)
def test_a_method_that_is_wrongly_written_is_named_before_any_training(tiny_data, tmp_path, source, message):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UserError, match=message):
        run(tiny_data, tmp_path / "runs", str(tmp_path / "mine.py"))
    assert not (tmp_path / "runs").exists()


def test_a_file_that_tables_could_not_tell_from_ours_is_refused(tiny_data, tmp_path):
    (tmp_path / "badge.py").write_text("NEEDS = set()\n\n\ndef query(view, size, rng):\n    pass\n")
    with pytest.raises(UserError, match=r"badge.py has the name of one of mmal's own, 'badge'; give it another name"):
        run(tiny_data, tmp_path / "runs", str(tmp_path / "badge.py"))
    (tmp_path / "plain").write_text("")
    with pytest.raises(UserError, match=r"query method file .*plain does not end in .py"):
        run(tiny_data, tmp_path / "runs", str(tmp_path / "plain"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("lamda0=1", r"unknown option of query method grace 'lamda0'; did you mean 'lambda0'\?"),
        ("lambda0=2", r"option lambda0 of query method grace: Input should be less than or equal to 1 \(found 2\)"),
        ("lambda0=x", r"option lambda0 of query method grace: Input should be a valid number.* \(found 'x'\)"),
        ("schedule=lineal", r"option schedule of query method grace: Input should be 'linear', 'cosine' or 'constant'"),
    ],
)
def test_an_option_that_a_method_does_not_take_is_named_before_any_training(tiny_data, tmp_path, option, message):
    with pytest.raises(UserError, match=message):
        run(tiny_data, tmp_path, "grace", 0, f"query_options.grace.{option}")
    assert list(tmp_path.iterdir()) == []
