"""A method that is a file of one's own stands in every table by its sha256 too."""

import csv
import io

import fake_runs
import pytest
from typer.testing import CliRunner

from mmal_cli import app

SHA256 = "5a" * 32


@pytest.fixture
def mmal_in(tmp_path, monkeypatch):
    curves = {"a": [0.5, 0.5], "b": [0.1, 0.3], "a+b": [0.5, 0.6]}
    own = [fake_runs.record(curves, qm="mine", seed=seed, sha256=SHA256) for seed in (0, 1)]
    fake_runs.write(tmp_path / "runs", *(fake_runs.record(curves, seed=seed) for seed in (0, 1)), *own)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), list(words), catch_exceptions=False)


def digests(text: str) -> set[tuple[str, str]]:
    """(qm, sha256) of all rows of a CSV."""
    return {(row["qm"], row["qm_sha256"]) for row in csv.DictReader(io.StringIO(text))}


def test_in_the_csv_of_every_command(tmp_path, mmal_in):
    assert digests(mmal_in("aulc", "runs", "--format", "csv").stdout) == {("mine", SHA256), ("random", "")}
    assert digests(mmal_in("rank", "--stats", "--format", "csv").stdout) == {("mine", SHA256), ("random", ""), ("", "")}
    assert mmal_in("report", "runs", "--format", "html").exit_code == 0
    assert digests((tmp_path / "report/diagnostics.csv").read_text()) == {("mine", SHA256), ("random", "")}


def test_on_the_page_below_what_was_run(tmp_path, mmal_in):
    assert mmal_in("report", "runs", "--format", "html").exit_code == 0
    page = (tmp_path / "report/index.html").read_text()
    assert page.count(f'<p class="foot">mine.py: sha256 {SHA256}</p>') == 1
    assert page.index("Seeds of each cell") < page.index(SHA256) < page.index("Learning curves")
