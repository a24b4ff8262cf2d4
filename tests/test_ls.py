"""`mmal ls`: what it lists is what the folders hold."""

import shutil

import fake_runs
import pytest

from mmal_cli.commands import ls
from mmal_cli.core import plugins


@pytest.mark.parametrize("what", ls.FOLDERS)
def test_names_and_their_first_sentence(invoke, what) -> None:
    done = invoke("ls", what)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == plugins.names(*ls.FOLDERS[what])
    assert all(len(line.split()) > 3 for line in lines), "each of them says what it is"
    assert lines or done.stderr.endswith("is empty\n")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "x.py",
            '"""Asks at random (Ash et al. 2020).\nMore text.\n"""\nimport no_such_module\n',
            "Asks at random (Ash et al. 2020).",
        ),
        ("x.py", '"""One title\n\nThen more.\n"""\n', "One title"),
        ("x.py", "a = 1\n", ""),
        ("x.yaml", "# A setting in\n# two lines. And more.\na: 1  # not this\n", "A setting in two lines."),
        ("x.yaml", "a: 1\n", ""),
    ],
)
def test_first_sentence(tmp_path, name, text, sentence) -> None:
    (tmp_path / name).write_text(text)
    assert ls.first_sentence(tmp_path / name) == sentence


def test_datasets(tmp_path, invoke, tiny_data) -> None:
    assert "no dataset under data/; make one" in invoke("ls", "datasets").stderr
    shutil.copytree(tiny_data, tmp_path / "data/tiny")
    shutil.copytree(tiny_data, tmp_path / "data/cut", ignore=shutil.ignore_patterns("*.yaml"))
    shown = [line.split() for line in invoke("ls", "datasets").stdout.splitlines()]
    assert ["data/cut", "not", "complete"] in shown
    line = next(words for words in shown if words[:2] == ["data/tiny", "tiny"])
    assert line[-3:] == ["3", "120", "30"]
    manifest = tmp_path / "data/cut/dataset.yaml"
    manifest.write_text("kind: dataset\nformat: 2\n")
    done = invoke("ls", "datasets")
    assert done.exit_code == 0
    assert ["data/cut", "not", "readable"] in [line.split() for line in done.stdout.splitlines()]
    assert "data/tiny" in done.stdout
    assert "data/cut/dataset.yaml has format 2" in done.stderr


def test_runs(tmp_path, invoke) -> None:
    assert "no run under runs/; make one" in invoke("ls", "runs").stderr
    made = [
        fake_runs.record({"a": [0.1]}, qm=qm, regime=regime, seed=seed)
        for qm, regime, seed in (("kcg", "mid", 0), ("kcg", "low", 0), ("kcg", "low", 1))
    ]
    fake_runs.write(tmp_path / "runs", *made)
    (tmp_path / "runs/share/low/bald/seed-0").mkdir(parents=True)
    (tmp_path / "runs/share/low/bald/seed-0/cycle-00.h5").touch()
    shown = [line.split() for line in invoke("ls", "runs").stdout.splitlines() if "share" in line]
    assert shown == [["runs/share/low/bald", "0", "1"], ["runs/share/low/kcg", "2", "0"], ["runs/share/mid/kcg", "1", "0"]]


def test_an_unknown_word(invoke) -> None:
    done = invoke("ls", "qm")
    assert done.exit_code == 2
    assert "did you mean 'qms'?" in done.stderr


def test_as_typed(mmal) -> None:
    done = mmal("ls", "qms")
    assert done.returncode == 0
    assert done.stdout.startswith("badge")
