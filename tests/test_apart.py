"""`--by` of `mmal aulc` and `mmal report`: runs that differ in a setting stand side by side, named with its value."""

import fake_runs
import pytest
import yaml
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.analysis import apart


@pytest.fixture
def mmal_in(tmp_path, monkeypatch):
    for fusion, high in (("mean", 0.4), ("gated", 0.6)):
        settings = {"model": {"fusion": fusion, "width": 64}, "train": {"lr": 0.1}}
        runs = [
            fake_runs.record({"a": [0.5, 0.5], "b": [0.1, high + seed / 100]}, qm=qm, seed=seed, settings=settings)
            for qm in ("random", "badge")
            for seed in (0, 1)
        ]
        fake_runs.write(tmp_path / "runs" / fusion, *runs)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), list(words), catch_exceptions=False)


def test_methods_are_named_with_the_setting_and_ranked_with_it(tmp_path, mmal_in):
    assert "are the same cell" in mmal_in("aulc", "runs").stderr
    done = mmal_in("aulc", "runs", "--by", "model.fusion")
    assert (done.exit_code, "warning" in done.stderr) == (0, False), done.stderr
    table = yaml.safe_load((tmp_path / "results/aulc.yaml").read_text())
    assert {row["qm"]: row["seeds"] for row in table["rows"]} == {
        f"{qm} {fusion}": [0, 1] for qm in ("badge", "random") for fusion in ("gated", "mean")
    }
    assert "--by model.fusion" in table["made"]["command"]
    assert "badge gated        2" in done.stdout
    assert mmal_in("rank").exit_code == 0
    (block,) = yaml.safe_load((tmp_path / "results/rank.yaml").read_text())["blocks"]
    assert block["ranks"] == {"badge gated": 1.5, "badge mean": 3.5, "random gated": 1.5, "random mean": 3.5}


def test_a_report_names_them_so_in_its_tables_figures_and_readings(tmp_path, mmal_in):
    pytest.importorskip("matplotlib")
    refused = mmal_in("report", "runs")
    assert (refused.exit_code, "tell them apart by a setting: --by KEY" in " ".join(refused.stderr.split())) == (3, True)
    done = mmal_in("report", "runs", "--by", "model.fusion")
    assert (done.exit_code, "warning" in done.stderr) == (0, False), done.stderr
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    readings = (tmp_path / "report/diagnostics.csv").read_text(encoding="utf-8")
    for name in ("badge gated", "badge mean", "random gated", "random mean"):
        assert page.count(name) > 3
        assert f",{name}," in readings
    assert "mmal report RUNS --by model.fusion" in page
    assert mmal_in("report", "runs", "--by", "model.fusions").exit_code == 2


def test_what_else_differs_is_still_said():
    settings = [{"model": {"fusion": fusion, "width": width}} for fusion, width in (("mean", 64), ("gated", 32))]
    runs = {str(k): fake_runs.record({"b": [0.1, 0.2]}, settings=of) for k, of in enumerate(settings)}
    found = apart.by(runs, "model.fusion")
    assert [run.config["settings"] for run in found.values()] == [{"model": {"width": 64}}, {"model": {"width": 32}}]
    assert [run.config["settings"] for run in runs.values()] == settings


def test_a_setting_that_is_none_and_a_grid_beside_it_are_refused(mmal_in):
    done = mmal_in("aulc", "runs", "--by", "model.fusio")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "unknown setting of runs/gated/share/low/badge/seed-0 'model.fusio'; did you mean 'model.fusion'?" in done.stderr
    done = mmal_in("aulc", "runs", "--by", "model.fusion", "--grid", "fusions")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "give --by KEY or --grid NAME" in done.stderr
