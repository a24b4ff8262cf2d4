"""`mmal prepare-mimic` as it is typed: made once, continued, the same whatever the order of rows, and silent about patients."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import real
import typer
import yaml
from fake_mimic import source

from data_recipes.mimic.ecg import LEADS, usable
from data_recipes.waveforms import scaled
from mmal_cli.core.manifest import Dataset
from mmal_cli.data import load_split

REAL = real.ROOT / "mimic-iv-linked-demo"
SMALL = ["--with", "quick", "--gpu", "none", "--set", "train.epochs=2", "--set", "train.min_epoch_samples=64"]
FEW = ["--set", "train.epochs=4"]  # quick's own 15 take a minute a run


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """60 patients' files."""
    folder = tmp_path_factory.mktemp("made-up")
    return folder, source(folder, patients=60)


def prepare(mmal, folder: Path, *words: object, cwd: Path):
    return mmal("prepare-mimic", folder / "iv", folder / "ecg", "--jobs", 1, "--decimate", 5, *words, cwd=cwd)


def arrays(folder: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def test_a_sample_is_its_admission_and_the_map_says_which(mmal, made_up, tmp_path):
    folder, rows = made_up
    done = prepare(mmal, folder, "--test-subjects", 10, "--keep-map", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\ndata/mimic\n")
    assert "16 ECGs read by wfdb too: no difference" in done.stderr
    dataset = Dataset.read(tmp_path / "data/mimic/dataset.yaml")
    assert dataset.restricted
    path = tmp_path / f"data/mimic-source-map-{dataset.id}.csv"
    assert (tmp_path / "data/mimic").stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    sources = {row["id"]: row for row in csv.DictReader(path.read_text().splitlines())}
    paths = {str(row["study_id"]): row["path"] for row in rows["record_list"]}
    for split in ("train", "test"):
        made = load_split(tmp_path / "data/mimic", dataset, split)
        assert made.inputs["ecg"].shape[1:] == (12, 1000)
        assert made.inputs["labs"].shape[1:] == (50,)
        subjects = [sources[f"{split}-{k:08d}"]["subject_id"] for k in range(len(made.labels))]
        assert len(set(zip(subjects, made.groups.tolist(), strict=True))) == len(set(subjects)) == len(made.groups.unique())
        assert split == "train" or len(set(subjects)) == 10
        for k in range(0, len(made.labels), 7):
            record = usable(folder / "ecg" / paths[sources[f"{split}-{k:08d}"]["study_id"]])
            assert np.array_equal(made.inputs["ecg"][k], scaled(record.physical, 5))
    table = done.stdout
    for step in dataset.counts["cohort"]:
        assert re.search(rf"{re.escape(step['step'])} .*{step['admissions']} +{step['subjects']} *$", table, re.M), step


def test_nothing_that_is_kept_or_said_tells_who_anybody_is(mmal, made_up, tmp_path):
    folder, rows = made_up
    done = prepare(mmal, folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ran = mmal("al-run", "--qm", "badge", "--regime", "low", *SMALL, "--set", "regimes.low.cycles=2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    names = {
        str(row[key])
        for table in rows.values()
        for row in table
        for key in ("subject_id", "hadm_id", "study_id")
        if row.get(key)
    }
    times = {
        row[key]
        for table in rows.values()
        for row in table
        for key in ("admittime", "charttime", "ecg_time", "dod")
        if row.get(key)
    }
    secret = {*names, *times, *(row["path"] for row in rows["record_list"]), str(folder)}
    assert len(secret) > 500
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} >= {".yaml", ".h5", ".log"}
    for text in [done.stdout, done.stderr, ran.stdout, ran.stderr, *(path.read_bytes().decode("latin-1") for path in kept)]:
        assert [word for word in secret if word in text] == []
    numbers = np.array([int(name) for name in names])
    for array in arrays(tmp_path / "data/mimic"):
        assert array.dtype.kind not in "iuf" or not np.isin(array, numbers).any()


def test_the_order_of_rows_and_columns_and_the_packing_change_nothing(mmal, made_up, tmp_path):
    folder, _ = made_up
    source(tmp_path / "other", patients=60, packed=False, shuffle=3)
    for place in (folder, tmp_path / "other"):
        assert prepare(mmal, place, "--out", tmp_path / f"of-{place.name}", cwd=tmp_path).returncode == 0
    one, other = (tmp_path / f"of-{name}" for name in (folder.name, "other"))
    assert Dataset.read(one / "dataset.yaml").splits == Dataset.read(other / "dataset.yaml").splits
    again = prepare(mmal, folder, "--out", other, "--jobs", 2, cwd=tmp_path)
    assert again.returncode == 0
    assert f"already done: {other}" in again.stderr
    refused = prepare(mmal, folder, "--out", other, "--indicators", cwd=tmp_path)
    assert "reading" not in refused.stderr
    assert refused.returncode == 2
    assert "belongs to another configuration: indicators (there False, asked True)" in refused.stderr


def test_indicators_and_the_whole_series(mmal, made_up, tmp_path):
    folder, _ = made_up
    done = mmal("prepare-mimic", folder / "iv", folder / "ecg", "--indicators", "--test-subjects", 10, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dataset = Dataset.read(tmp_path / "data/mimic/dataset.yaml")
    made = load_split(tmp_path / "data/mimic", dataset, "train")
    assert made.inputs["ecg"].shape[1:] == (len(LEADS), 5000)
    assert made.inputs["ecg"].amin(dim=(1, 2)).unique().tolist() == [-32767]
    values, measured = made.inputs["labs"][:, :50], made.inputs["labs"][:, 50:]
    assert set(measured.unique().tolist()) == {0.0, 1.0}
    assert (values[measured == 0] == 0.5).all()
    assert dataset.counts["train"]["labs_measured"] == pytest.approx(measured.mean().item(), abs=1e-4)


def test_bad_input_is_one_message(mmal, made_up, tmp_path):
    folder, _ = made_up
    said = mmal("prepare-mimic", tmp_path / "nowhere", folder / "ecg", cwd=tmp_path)
    assert said.returncode == 3
    assert said.stderr == "error: MIMIC_IV/hosp is not a folder; give MIMIC-IV's folder, then MIMIC-IV-ECG's\n"
    said = mmal("prepare-mimic", folder / "iv", folder / "iv", cwd=tmp_path)
    assert said.returncode == 3
    assert (
        "error: record_list.csv[.gz] not found in MIMIC_IV_ECG; expected ecg_time, path, study_id, subject_id in it"
        in said.stderr
    )
    source(tmp_path / "alive", patients=4, seed=3)
    for name in ("patients.csv", "patients.csv.gz"):
        (tmp_path / "alive/iv/hosp" / name).unlink(missing_ok=True)
    subjects = {row["subject_id"] for row in source(tmp_path / "again", patients=4, seed=3)["patients"]}
    (tmp_path / "alive/iv/hosp/patients.csv").write_text("subject_id,dod\n" + "".join(f"{s},\n" for s in subjects))
    said = prepare(mmal, folder, "--test-subjects", 60, cwd=tmp_path)
    assert said.returncode == 2
    assert re.search(r"error: --test-subjects 60 leaves none of the \d+ to train on", said.stderr)
    said = prepare(mmal, tmp_path / "alive", "--test-subjects", 1, cwd=tmp_path)
    assert said.returncode == 3
    assert re.search(
        r"error: train has \d+ samples of which none is 'dead within a year of admission'; choose another", said.stderr
    )
    assert not list(tmp_path.glob("data/**/*.h5"))


def test_a_map_never_speaks_of_another_dataset_and_a_bug_never_of_patients(mmal, made_up, tmp_path):
    folder, _ = made_up
    (tmp_path / "here").mkdir()
    for seed in (0, 1):
        done = prepare(mmal, folder, "--seed", seed, "--force", "--keep-map", "--out", ".", cwd=tmp_path / "here")
        assert done.returncode == 0, done.stderr
        made = Dataset.read(tmp_path / "here/dataset.yaml")
        assert (tmp_path / f"here-source-map-{made.id}.csv").exists()
    assert len(list(tmp_path.glob("here-source-map-*.csv"))) == 2


def test_a_bug_shows_frames_and_no_words(capsys):
    from mmal_cli.commands.prepare_mimic import _discreet

    def stumble():
        raise ValueError("subject 10000032")

    with pytest.raises(typer.Exit) as ended, _discreet():
        stumble()
    said = capsys.readouterr().err
    assert ended.value.exit_code == 1
    assert "in stumble" in said
    assert "ValueError (its words may quote the data and are left out)" in said
    assert "10000032" not in said.replace('raise ValueError("subject 10000032")', "")


@pytest.mark.parametrize("package", ["polars", "wfdb"])
def test_a_missing_package_is_named_with_its_extra(made_up, tmp_path, package):
    folder, _ = made_up
    (tmp_path / f"{package}.py").write_text("raise ImportError")
    command = [sys.executable, "-m", "mmal_cli", "prepare-mimic", folder / "iv", folder / "ecg", "--jobs", "1"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2
    assert f"{package}, which is not installed; in mmal's folder: .venv/bin/python -m pip install -e '.[mimic]'" in done.stderr


@real.needs("mimic-iv-linked-demo")
def test_the_real_demo_from_files_to_ranks(mmal, tmp_path):
    done = mmal("prepare-mimic", REAL, REAL / "ecg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = Dataset.read(tmp_path / "data/mimic/dataset.yaml").counts
    assert [counts[split]["classes"] for split in ("train", "test")] == [[78, 15], [17, 7]]
    for qm in ("badge", "random"):
        ran = mmal(
            "al-run",
            "--data",
            "data/mimic",
            "--qm",
            qm,
            "--regime",
            "low",
            "--with",
            "quick",
            *FEW,
            "--gpu",
            "none",
            cwd=tmp_path,
        )
        assert (ran.returncode, ran.stdout) == (0, f"runs/mimic/low/{qm}/seed-0\n"), ran.stderr
    last = tmp_path / "runs/mimic/low/badge/seed-0"
    curve = yaml.safe_load((last / "run.yaml").read_text())["cycles"]
    assert set(curve[0]["metrics"]) == {"labs", "ecg", "labs+ecg"}
    (last / "run.yaml").unlink()
    (last / "cycle-03.h5").unlink()
    again = mmal("al-run", "--qm", "badge", "--regime", "low", "--with", "quick", *FEW, "--gpu", "none", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    resumed = yaml.safe_load((last / "run.yaml").read_text())["cycles"]
    assert [cycle["metrics"] for cycle in resumed] == [cycle["metrics"] for cycle in curve]
    assert mmal("aulc", "runs", cwd=tmp_path).returncode == 0
    ranked = mmal("rank", "results/aulc.yaml", "--json", cwd=tmp_path)
    assert sum(json.loads(ranked.stdout)["sums"]["low"].values()) == 3
