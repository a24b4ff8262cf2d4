"""`mmal import`: YAML that no mmal export wrote is refused before it fills the memory or a folder that nothing can read."""

import labs
import pytest
from labs import refused
from test_exchange import relisted
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.exchange import unpack


@pytest.fixture
def mmal_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), list(words), catch_exceptions=False)


def sent(tmp_path, mmal_in, run):
    """Exports one run of another lab; returns the files in the zip."""
    labs.write(tmp_path / "theirs", run)
    assert mmal_in("export", "theirs").exit_code == 0
    return labs.members(tmp_path / "results.zip")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"lr: 0.1", b"lr: !!binary aaaa", "run.yaml has aliases or tags, which mmal export never writes"),
        (b"lr: 0.1", b"lr: " + b"[" * 60 + b"]" * 60, "run.yaml has too much in it, which mmal export never writes"),
        (b"lr: 0.1", b"lr: 2026-13-45", "run.yaml is not a YAML file: month must be in 1..12"),
        (b"mmal al-run", b"mmal don't", "made.command is \"mmal don't --data"),
        (b"settings:", b"set:", "config.settings is None, expected keys and values"),
    ],
)
def test_a_record_that_no_export_holds(tmp_path, mmal_in, old, new, message):
    found = relisted(sent(tmp_path, mmal_in, labs.record()), lambda data: data.replace(old, new))
    labs.made_by_others(tmp_path / "results.zip", found)
    refused(mmal_in("import", "results.zip"), 3, "results.zip", message)
    assert not (tmp_path / "runs").exists()


def test_more_words_than_any_list_of_runs_has(tmp_path, mmal_in, monkeypatch):
    sent(tmp_path, mmal_in, labs.record())
    monkeypatch.setattr(unpack, "MOST_TOKENS", 20)
    refused(mmal_in("import", "results.zip"), 3, "results.zip/export.yaml has too much in it, which mmal export never writes")


def test_a_metric_that_is_no_number_is_the_same_twice(tmp_path, mmal_in):
    run = labs.record()
    metrics = run.cycles[0].metrics | {"a": run.cycles[0].metrics["a"] | {"nll": float("nan")}}
    first = run.cycles[0].model_copy(update={"metrics": metrics})
    sent(tmp_path, mmal_in, run.model_copy(update={"cycles": [first, run.cycles[1]]}))
    assert mmal_in("import", "results.zip").exit_code == 0
    assert "0 of 1 runs imported" in mmal_in("import", "results.zip").stderr
