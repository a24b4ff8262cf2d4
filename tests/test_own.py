"""Data of one's own: what becomes of every cell, whom test gets, and the protocol that is proposed."""

import shutil
from contextlib import chdir

import fake_own
import h5py
import numpy as np
import polars as pl
import pytest
import yaml
from own_data import OUT, all_samples, lost, mmal, prepare, read, refused
from sweeps import FAST

from data_recipes.percentiles import percentiles
from data_recipes.waveforms import scaled
from mmal_cli.core import files, shards
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import UNLABELLED, Run
from mmal_cli.core.settings import Protocol, resolve


def test_every_cell_becomes_what_the_page_says(clinic_source, clinic):
    dataset, rows = read(clinic), {row["visit"]: row for row in fake_own.rows(clinic_source)}
    samples = all_samples(clinic)
    assert dataset.class_names == ["cold", "flu", "well"]
    assert [(m.name, m.kind, m.shape[-1]) for m in dataset.modalities] == [
        ("photo", "image", 64),
        ("report", "tokens", 8),
        ("labs", "vector", 6),
        ("ecg", "series", 500),
    ]
    for name, (split, label, present, inputs, group) in samples.items():
        row = rows[name]
        assert label == (dataset.class_names.index(row["diagnosis"]) if row["diagnosis"] else -1)
        assert (split == UNLABELLED) == (label == -1)
        assert present.tolist() == [bool(row["photo"]), bool(row["report"].strip()), True, bool(row["ecg"])]
        assert group == samples[f"v{int(name[1:]) // 3 * 3}"][4] if f"v{int(name[1:]) // 3 * 3}" in samples else True
        for modality, has in zip(dataset.modalities, present, strict=True):
            assert has or not inputs[modality.name].any(), "the bytes of what is absent are zero"
        k = int(name[1:])
        if row["photo"] and k % 6 != 5:  # the colours of CMYK are not kept
            assert abs(inputs["photo"].mean() - (60 * (k % 3) + k) % 256) < 3  # a palette of 216 colours dithers
        if row["ecg"].endswith(".npy"):
            assert np.array_equal(inputs["ecg"], scaled(np.load(clinic_source / row["ecg"]), 1))
        elif row["ecg"]:
            assert (inputs["ecg"].min(axis=None), inputs["ecg"].max(axis=None)) == (-32767, 32767)
        if row["report"].strip():
            assert inputs["report"][0, 0] == 101
            assert inputs["report"][1].sum() == 8


def test_numbers_are_scaled_without_the_test_rows(clinic_source, clinic):
    rows, samples = {row["visit"]: row for row in fake_own.rows(clinic_source)}, all_samples(clinic)
    names = sorted(samples)
    cells = [[rows[name][column] for column in ("age", "sodium", "crp")] for name in names]
    values = np.array([[np.nan if cell in ("", "NA") else float(cell) for cell in of] for of in cells])
    expected = percentiles(values, np.array([samples[name][0] != "test" for name in names]), True, impute=True)
    assert np.array_equal(np.stack([samples[name][3]["labs"] for name in names]), expected)


def test_no_patient_is_in_test_and_elsewhere_and_nobody_is_asked_about_one_of_test(clinic_source, clinic):
    rows, samples = {row["visit"]: row for row in fake_own.rows(clinic_source)}, all_samples(clinic)
    tested = {rows[name]["patient"] for name, found in samples.items() if found[0] == "test"}
    others = {rows[name]["patient"] for name, found in samples.items() if found[0] != "test"}
    assert (len(tested), tested & others) == (5, set())  # a quarter of 20 patients
    out = {row["id"]: row["reason"] for row in lost(clinic)}
    assert set(out.values()) == {"test sample without label"}
    assert {name for name in out} == {name for name, row in rows.items() if not row["diagnosis"] and row["patient"] in tested}
    assert samples.keys() | out.keys() == rows.keys()


def test_the_manifest_counts_what_the_shards_hold(clinic):
    dataset, samples = read(clinic), all_samples(clinic)
    counts = dataset.counts
    assert counts["rows"] == len(samples) + sum(counts["dropped"].values())
    for split in dataset.splits:
        of = [found for found in samples.values() if found[0] == split]
        assert sum(counts[split]["present"].values()) == len(of) == dataset.splits[split].samples
        assert counts[split]["groups"] == len({found[4] for found in of})
        if split != UNLABELLED:
            assert counts[split]["classes"] == np.bincount([found[1] for found in of], minlength=3).tolist()
    assert "classes" not in counts[UNLABELLED]
    assert str(clinic.parent) not in (clinic / "dataset.yaml").read_text()


def test_a_second_call_finds_it_done_and_processes_change_no_byte(clinic_source, clinic, tmp_path):
    before = (clinic / "dataset.yaml").read_bytes()
    assert f"already done: {OUT}" in prepare(clinic_source).stderr
    assert (clinic / "dataset.yaml").read_bytes() == before
    with chdir(clinic_source):
        mmal("prepare-own", "clinic.yaml", "--jobs", 2, "--out", tmp_path / "two")
    assert read(tmp_path / "two").splits == read(clinic).splits


def test_the_order_of_rows_the_place_of_files_and_the_kind_of_table_do_not_matter(spare, clinic):
    rows = fake_own.rows(spare)
    (spare / "files").rename(spare / "elsewhere")
    (spare / "elsewhere").rename(spare / "sub")
    (spare / "sub").mkdir(exist_ok=True)
    (spare / "root").mkdir()
    (spare / "sub").rename(spare / "root" / "files")
    frame = pl.DataFrame([{"more": 1.5, **row} for row in reversed(rows)])
    frame.with_columns(pl.col("age").cast(pl.Int64), pl.col("crp").replace("", None).cast(pl.Float64)).write_parquet(
        spare / "v.parquet"
    )
    fake_own.write_card(spare, table="v.parquet", files="root")
    prepare(spare)
    assert (read(spare / OUT).id, read(spare / OUT).splits) == (read(clinic).id, read(clinic).splits)


def test_what_was_interrupted_goes_on(clinic_source, clinic, tmp_path):
    shutil.copytree(clinic, tmp_path / "d")
    (tmp_path / "d" / "dataset.yaml").unlink()
    (tmp_path / "d" / "test-00000.h5").unlink()
    before = (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns
    prepare(clinic_source, "--out", tmp_path / "d")
    assert read(tmp_path / "d").splits == read(clinic).splits
    assert (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns == before


def test_an_interrupted_build_is_not_gone_on_with_by_another_card(clinic, spare):
    shutil.copytree(clinic, spare / OUT)
    for name in ("dataset.yaml", "test-00000.h5"):
        (spare / OUT / name).unlink()
    before = {path.name: path.read_bytes() for path in (spare / OUT).iterdir()}
    rows = fake_own.rows(spare)
    rows[0]["age"] = "x"
    fake_own.write_table(spare, rows)
    refused(spare, 2, "data/clinic/train-00000.h5 belongs to another configuration: sources", "--force to make it anew")
    fake_own.write_table(spare, fake_own.rows(spare))
    head, tail = fake_own.CARD.split("modalities:")
    tail, end = tail.split("weak:")
    others = "\n".join(sorted(tail.strip("\n").splitlines(), reverse=True))
    fake_own.write_card(spare, f"{head}modalities:\n{others}\nweak:{end}")
    refused(spare, 2, "card.order (there ['photo', 'report', 'labs', 'ecg'], asked ['report', 'photo', 'labs', 'ecg'])")
    assert {path.name: path.read_bytes() for path in (spare / OUT).iterdir()} == before


def test_runs_read_the_labelled_rows_alone(clinic, tmp_path):
    dataset = read(clinic)
    settings, _ = resolve(dataset, "low", "random", [str(clinic / "protocol.yaml"), "quick"])
    assert settings.budget.start >= 1
    without = tmp_path / "without"
    shutil.copytree(clinic, without)
    (without / f"{UNLABELLED}-00000.h5").unlink()  # nothing opens it
    words = ["--data", without, "--with", clinic / "protocol.yaml", "--with", "quick", "--gpu", "none", "--progress", "none"]
    words += [word for text in FAST for word in ("--set", text)]
    small = ["--set", "regimes.low={start: 6, validation: 6, query: 3, cycles: 2}"]
    said = mmal("al-run", "--qm", "badge", "--regime", "low", "--out", tmp_path / "runs", *words, *small)
    run = Run.read(tmp_path / said.stdout.splitlines()[-1] / "run.yaml")
    assert [cycle.labels for cycle in run.cycles] == [6, 9]
    assert run.cycles[0].asked.pool_present.keys() <= dataset.counts["train"]["present"].keys()
    (tmp_path / "grid.yaml").write_text("train.weight_decay: [1.0e-4, 1.0e-3]\n")
    tuning = ["--regime", "low", "--seeds", 1, "--grid", tmp_path / "grid.yaml", "--out", tmp_path / "t.yaml"]
    assert mmal("tune", *tuning, *words, *small).stdout


@pytest.mark.parametrize(("split", "label"), [("train", -1), (UNLABELLED, 0)])
def test_minus_one_is_a_label_of_unlabelled_alone(clinic, tmp_path, split, label):
    shutil.copytree(clinic, tmp_path / "d")
    name = f"{split}-00000.h5"
    with h5py.File(tmp_path / "d" / name, "r+") as file:
        file["label"][0] = label
    text = (tmp_path / "d" / "dataset.yaml").read_text()
    old, new = (files.sha256(folder / name) for folder in (clinic, tmp_path / "d"))
    (tmp_path / "d" / "dataset.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=f"label has {label}, expected"):
        shards.read_split(tmp_path / "d", read(tmp_path / "d"), split)


def test_the_proposed_protocol_is_one_and_fits_what_train_has(clinic):
    raw = yaml.safe_load((clinic / "protocol.yaml").read_text())
    Protocol.model_validate(raw)
    dataset = read(clinic)
    assert raw["model"]["encoders"] == {
        "image": "efficientnet",
        "vector": "mlp",
        "series": "efficientnet1d",
        "tokens": "minilm",
    }
    for train in (25, 100, 3000, 10**6):
        splits = {name: files.model_copy(update={"samples": train}) for name, files in dataset.splits.items()}
        sized = dataset.model_copy(update={"splits": splits})
        for regime, labels in (("low", 5), ("mid", 25), ("high", 100)):
            budget = resolve(sized, regime, "random", [str(clinic / "protocol.yaml")])[0].budget
            assert budget.start + budget.validation + 9 * budget.query <= 0.81 * train
            assert train < 10**6 or (budget.start, budget.validation) == (3 * labels, 15 * labels)


def test_an_edited_protocol_stays_and_an_unedited_one_follows_the_data(spare):
    prepare(spare)
    path = spare / OUT / "protocol.yaml"
    proposed = path.read_text()
    assert "start_set: balanced" in proposed
    rows = [
        row for row in fake_own.rows(spare, 90) if row["diagnosis"] != "flu" or row["visit"] in ("v1", "v4", "v7", "v13", "v16")
    ]
    fake_own.write_table(spare, rows)
    said = prepare(spare, "--force")
    assert "start_set: random" in path.read_text()
    assert "balanced_sampling: true" in path.read_text()
    assert f"run: mmal al-run --data {OUT} --with {OUT}/protocol.yaml --qm badge --regime low" in said.stderr
    path.write_text(path.read_text().replace("epochs: 60", "epochs: 6"))
    edited = path.read_text()
    fake_own.write_table(spare, fake_own.rows(spare))
    assert f"{OUT}/protocol.yaml was edited and stays as it is" in prepare(spare, "--force").stderr
    assert path.read_text() == edited
