"""`mmal gen-quint` and `mmal bench` as a user types them: what they print, what they leave, how they go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_recipes.quint import recipe
from data_recipes.quint.setting import load
from data_recipes.workers import processes
from mmal_cli.core import shards
from mmal_cli.core.build import build
from mmal_cli.core.manifest import Dataset

SMALL = ("--train", "120", "--test", "100", "--progress", "none", "--jobs", "1")


def read(folder: Path, split: str = "train") -> shards.Samples:
    return shards.read_split(folder, Dataset.read(folder / "dataset.yaml"), split)


def test_it_is_made_once_and_guards_its_folder(mmal, tmp_path: Path) -> None:
    first = mmal("gen-quint", "--setting", "synergy", *SMALL, cwd=tmp_path)
    assert (first.returncode, first.stdout) == (0, "data/synergy\n"), first.stderr
    dataset = Dataset.read(tmp_path / "data" / "synergy" / "dataset.yaml")
    assert (dataset.name, dataset.classes, dataset.targets) == ("synergy", 100, ["a.texture", "b.shape"])
    assert dataset.ceiling == {"a": 0.1, "b": 0.1, "a+b": 1.0}
    assert dataset.class_names[17] == "stripes/star"
    assert dataset.made["command"] == "mmal gen-quint --setting synergy --train 120 --test 100 --size 64 --seed 0"
    samples = read(tmp_path / "data" / "synergy")
    assert samples.inputs["b"].shape == (120, 3, 64, 64)
    assert samples.factors["b.background_texture"].dtype == np.int8
    assert np.array_equal(np.bincount(samples.label), dataset.counts["train"]["classes"])
    assert samples.id[7] == "train-00000007"

    again = mmal("gen-quint", "--setting", "synergy", *SMALL, cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "data/synergy\n", "already done: data/synergy\n")
    other = mmal("gen-quint", "--setting", "synergy", *SMALL, "--seed", "1", cwd=tmp_path)
    assert other.returncode == 2
    assert "seed (there 0, asked 1)" in other.stderr
    assert "--force" in other.stderr
    forced = mmal("gen-quint", "--setting", "synergy", *SMALL, "--seed", "1", "--force", cwd=tmp_path)
    assert forced.returncode == 0, forced.stderr
    assert not np.array_equal(read(tmp_path / "data" / "synergy").inputs["a"], samples.inputs["a"])


def test_a_users_own_file_and_absent_modalities(mmal, tmp_path: Path) -> None:
    (tmp_path / "solo.yaml").write_text("modalities: [left, right]\nlabel: [left.colour]\nabsent: {left: 0.5, right: 0.5}\n")
    done = mmal("gen-quint", "--setting", tmp_path / "solo.yaml", *SMALL, "--out", tmp_path / "solo")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "solo" / "dataset.yaml").read_text()
    assert str(tmp_path) not in text
    dataset = Dataset.read(tmp_path / "solo" / "dataset.yaml")
    assert (dataset.name, dataset.ceiling["right"]) == ("solo", 0.1)
    samples = read(tmp_path / "solo")
    for column, name in enumerate(("left", "right")):
        assert np.array_equal(samples.inputs[name].any(axis=(1, 2, 3)), samples.present[:, column])
    assert read(tmp_path / "solo", "test").present.all()


def test_shards_and_processes_change_nothing(tmp_path: Path) -> None:
    quint = recipe.Quint(load("missing")[1], {"train": 600, "test": 10}, 64, 0)
    for name, jobs, shard_bytes in (("one", 1, 10**9), ("two", 2, 170 * 24_576)):
        with processes(jobs) as in_order:
            plans = recipe.plans(quint, in_order)
            build(tmp_path / name, recipe.head("x", quint), plans, command="x", shard_bytes=shard_bytes)
    one, two = (read(tmp_path / name) for name in ("one", "two"))
    assert len(list((tmp_path / "two").glob("train-*.h5"))) == 4
    for name, array in one.columns().items():
        assert np.array_equal(array, two.columns()[name]), name


def test_a_killed_build_goes_on_with_the_shards_it_has(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mmal_cli.app import main\n"
        "from mmal_cli.core.build import build\n"
        "build.__kwdefaults__['shard_bytes'] = 64 * 24576  # 64 samples\n"
        "sys.argv = 'mmal gen-quint --setting missing --train 1600 --test 10 --out x --jobs 2'.split()\n"
        "if __name__ == '__main__': main()\n"
    )
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, str(tmp_path / "run.py")]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "x" / "train-00003.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = _children(running.pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "x" / "dataset.yaml").exists()
    first = (tmp_path / "x" / "train-00000.h5").stat().st_mtime_ns
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    assert (tmp_path / "x" / "train-00000.h5").stat().st_mtime_ns == first, "the first shard was kept"
    whole = recipe.samples(recipe.Quint(load("missing")[1], {"train": 1600, "test": 10}, 64, 0), "train", 250, 270)
    assert np.array_equal(read(tmp_path / "x").inputs["b"][250:270], whole.inputs["b"])
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers)), "processes outlived the command that started them"


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_preview_is_a_png(mmal, tmp_path: Path) -> None:
    done = mmal("gen-quint", "--preview", "preview.png", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "preview.png\n"), done.stderr
    with Image.open(tmp_path / "preview.png") as page:
        assert page.width > 10 * 2 * 64
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "gen-quint needs --setting: missing, missing-small, synergy, synergy-small, trio, trio-small, unique, "
            "unique-small or the path of a",
        ),
        (("--setting", "uniq"), "unknown setting 'uniq'; did you mean 'unique'?"),
        (("--setting", "synergy", "--size", "65"), "--size 65: expected a multiple of 16"),
        (("--setting", "synergy", "--train", "50"), "--train 50: fewer than the 100 classes"),
        (("--preview", "preview.txt"), "--preview preview.txt: expected a name that ends in .png"),
    ],
)
def test_wrong_use_is_one_message(mmal, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = mmal("gen-quint", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: " + message)
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_bench_runs_an_item_of_ones_own(mmal, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def run(on_progress):\n    return [{'what': 'x', 'seconds': 1.5}]\n")
    done = mmal("bench", "./mine.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["./mine.py"]
    assert found["rows"] == [{"what": "x", "seconds": 1.5}]
    assert "cores" in found["hardware"]
    wrong = mmal("bench", "learnabilty")
    assert wrong.returncode == 2
    assert "unknown bench item 'learnabilty'; did you mean 'learnability'?" in wrong.stderr


def test_the_classifier_of_learnability_learns_colour_a_little() -> None:
    from mmal_cli.bench import learnability

    assert learnability.measure("colour", 2000, 200)["accuracy %"] > 20


def test_ctrl_c_ends_it_with_one_line_and_no_process_left(tmp_path: Path) -> None:
    words = ["gen-quint", "--setting", "unique", "--train", "60000", "--out", "x", "--jobs", "2", "--progress", "none"]
    command = [sys.executable, "-W", "error", "-m", "mmal_cli", *words]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("x/train-00000.h5*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # well into writing, where a plain KeyboardInterrupt can be lost
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the command and its processes
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, ""), err
    assert err == "interrupted: what was finished stays; give the same command again to go on\n"
    assert not list(tmp_path.glob("x/*")), "a shard that was not whole is gone"
