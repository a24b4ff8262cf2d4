"""Data of one's own: what becomes of every cell, whom test gets, what is left out and why, and mistakes in a card."""

import csv
import io
import shutil
import sys
from contextlib import chdir

import fake_own
import h5py
import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image
from sweeps import FAST
from typer.testing import CliRunner

from data_recipes.own import card as cards
from data_recipes.own import data as reading
from data_recipes.own import recipe, waveforms
from data_recipes.percentiles import percentiles
from data_recipes.waveforms import scaled
from mmal_cli import app
from mmal_cli.core import files, shards
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import UNLABELLED, Dataset, Run
from mmal_cli.core.settings import Protocol, resolve

OUT = "data/clinic"


def mmal(*words, code=0):
    """Runs a command here; what it said on stdout and stderr."""
    done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def prepare(place, *words, code=0):
    with chdir(place):
        return mmal("prepare-own", "clinic.yaml", "--jobs", 1, *words, code=code)


def read(folder) -> Dataset:
    return Dataset.read(folder / "dataset.yaml")


def lost(folder):
    """The rows of dropped.csv."""
    return list(csv.DictReader(io.StringIO((folder / "dropped.csv").read_text(encoding="utf-8"), newline="")))


def gathered(place):
    return reading.gather(cards.read(place / "clinic.yaml"), lambda make, tasks: (make(*task) for task in tasks))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The page's card and its table; not changed by any test."""
    place = tmp_path_factory.mktemp("source")
    fake_own.make(place)
    return place


@pytest.fixture(scope="module")
def made(source):
    """The page's dataset."""
    said = prepare(source)
    assert said.stdout.splitlines()[-1] == OUT
    return source / OUT


@pytest.fixture
def copy(source, tmp_path):
    """A source to be spoilt."""
    shutil.copytree(source, tmp_path / "c", ignore=shutil.ignore_patterns("data"))
    return tmp_path / "c"


def all_samples(folder):
    """id -> split, label, present, inputs, group."""
    dataset, found = read(folder), {}
    for split in dataset.splits:
        samples = shards.read_split(folder, dataset, split)
        for k, name in enumerate(samples.id):
            inputs = {m: x[k] for m, x in samples.inputs.items()}
            found[str(name)] = (split, int(samples.label[k]), samples.present[k], inputs, int(samples.group[k]))
    return found


def test_every_cell_becomes_what_the_page_says(source, made):
    dataset, rows = read(made), {row["visit"]: row for row in fake_own.rows(source)}
    samples = all_samples(made)
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
            assert np.array_equal(inputs["ecg"], scaled(np.load(source / row["ecg"]), 1))
        elif row["ecg"]:
            assert (inputs["ecg"].min(axis=None), inputs["ecg"].max(axis=None)) == (-32767, 32767)
        if row["report"].strip():
            assert inputs["report"][0, 0] == 101
            assert inputs["report"][1].sum() == 8


def test_numbers_are_scaled_without_the_test_rows(source, made):
    rows, samples = {row["visit"]: row for row in fake_own.rows(source)}, all_samples(made)
    names = sorted(samples)
    cells = [[rows[name][column] for column in ("age", "sodium", "crp")] for name in names]
    values = np.array([[np.nan if cell in ("", "NA") else float(cell) for cell in of] for of in cells])
    expected = percentiles(values, np.array([samples[name][0] != "test" for name in names]), True, impute=True)
    assert np.array_equal(np.stack([samples[name][3]["labs"] for name in names]), expected)


def test_no_patient_is_in_test_and_elsewhere_and_nobody_is_asked_about_one_of_test(source, made):
    rows, samples = {row["visit"]: row for row in fake_own.rows(source)}, all_samples(made)
    tested = {rows[name]["patient"] for name, found in samples.items() if found[0] == "test"}
    others = {rows[name]["patient"] for name, found in samples.items() if found[0] != "test"}
    assert (len(tested), tested & others) == (5, set())  # a quarter of 20 patients
    out = {row["id"]: row["reason"] for row in lost(made)}
    assert set(out.values()) == {"test sample without label"}
    assert {name for name in out} == {name for name, row in rows.items() if not row["diagnosis"] and row["patient"] in tested}
    assert samples.keys() | out.keys() == rows.keys()


def test_the_manifest_counts_what_the_shards_hold(made):
    dataset, samples = read(made), all_samples(made)
    counts = dataset.counts
    assert counts["rows"] == len(samples) + sum(counts["dropped"].values())
    for split in dataset.splits:
        of = [found for found in samples.values() if found[0] == split]
        assert sum(counts[split]["present"].values()) == len(of) == dataset.splits[split].samples
        assert counts[split]["groups"] == len({found[4] for found in of})
        if split != UNLABELLED:
            assert counts[split]["classes"] == np.bincount([found[1] for found in of], minlength=3).tolist()
    assert "classes" not in counts[UNLABELLED]
    assert str(made.parent) not in (made / "dataset.yaml").read_text()


def test_a_second_call_finds_it_done_and_processes_change_no_byte(source, made, tmp_path):
    before = (made / "dataset.yaml").read_bytes()
    assert f"already done: {OUT}" in prepare(source).stderr
    assert (made / "dataset.yaml").read_bytes() == before
    with chdir(source):
        mmal("prepare-own", "clinic.yaml", "--jobs", 2, "--out", tmp_path / "two")
    assert read(tmp_path / "two").splits == read(made).splits


def test_the_order_of_rows_the_place_of_files_and_the_kind_of_table_do_not_matter(copy, made):
    rows = fake_own.rows(copy)
    (copy / "files").rename(copy / "elsewhere")
    (copy / "elsewhere").rename(copy / "sub")
    (copy / "sub").mkdir(exist_ok=True)
    (copy / "root").mkdir()
    (copy / "sub").rename(copy / "root" / "files")
    frame = pl.DataFrame([{"more": 1.5, **row} for row in reversed(rows)])
    frame.with_columns(pl.col("age").cast(pl.Int64), pl.col("crp").replace("", None).cast(pl.Float64)).write_parquet(
        copy / "v.parquet"
    )
    fake_own.write_card(copy, table="v.parquet", files="root")
    prepare(copy)
    assert (read(copy / OUT).id, read(copy / OUT).splits) == (read(made).id, read(made).splits)


def test_what_was_interrupted_goes_on(source, made, tmp_path):
    shutil.copytree(made, tmp_path / "d")
    (tmp_path / "d" / "dataset.yaml").unlink()
    (tmp_path / "d" / "test-00000.h5").unlink()
    before = (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns
    prepare(source, "--out", tmp_path / "d")
    assert read(tmp_path / "d").splits == read(made).splits
    assert (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns == before


def test_an_interrupted_build_is_not_gone_on_with_by_another_card(made, copy):
    shutil.copytree(made, copy / OUT)
    for name in ("dataset.yaml", "test-00000.h5"):
        (copy / OUT / name).unlink()
    before = {path.name: path.read_bytes() for path in (copy / OUT).iterdir()}
    rows = fake_own.rows(copy)
    rows[0]["age"] = "x"
    fake_own.write_table(copy, rows)
    refused(copy, 2, "data/clinic/train-00000.h5 belongs to another configuration: sources", "--force to make it anew")
    fake_own.write_table(copy, fake_own.rows(copy))
    head, tail = fake_own.CARD.split("modalities:")
    tail, end = tail.split("weak:")
    others = "\n".join(sorted(tail.strip("\n").splitlines(), reverse=True))
    fake_own.write_card(copy, f"{head}modalities:\n{others}\nweak:{end}")
    refused(copy, 2, "card.order (there ['photo', 'report', 'labs', 'ecg'], asked ['report', 'photo', 'labs', 'ecg'])")
    assert {path.name: path.read_bytes() for path in (copy / OUT).iterdir()} == before


def test_runs_read_the_labelled_rows_alone(made, tmp_path):
    dataset = read(made)
    settings, _ = resolve(dataset, "low", "random", [str(made / "protocol.yaml"), "quick"])
    assert settings.budget.start >= 1
    without = tmp_path / "without"
    shutil.copytree(made, without)
    (without / f"{UNLABELLED}-00000.h5").unlink()  # nothing opens it
    words = ["--data", without, "--with", made / "protocol.yaml", "--with", "quick", "--gpu", "none", "--progress", "none"]
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
def test_minus_one_is_a_label_of_unlabelled_alone(made, tmp_path, split, label):
    shutil.copytree(made, tmp_path / "d")
    name = f"{split}-00000.h5"
    with h5py.File(tmp_path / "d" / name, "r+") as file:
        file["label"][0] = label
    text = (tmp_path / "d" / "dataset.yaml").read_text()
    old, new = (files.sha256(folder / name) for folder in (made, tmp_path / "d"))
    (tmp_path / "d" / "dataset.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=f"label has {label}, expected"):
        shards.read_split(tmp_path / "d", read(tmp_path / "d"), split)


def test_bad_rows_are_counted_listed_and_cost_only_themselves(copy):
    rows = fake_own.rows(copy)
    good = {row["visit"] for row in rows[22:]} | {"v1"}
    (copy / "files" / "cut.png").write_bytes((copy / "files" / "0.png").read_bytes()[:60])
    (copy / "files" / "text.png").write_text("no image")
    (copy / "files" / "text.npy").write_text("no array")
    np.save(copy / "files" / "long.npy", np.ones((2, 501)))
    np.save(copy / "files" / "nan.npy", np.full((2, 500), np.nan))
    np.save(copy / "files" / "same.npy", np.ones((2, 500)))
    np.save(copy / "files" / "words.npy", np.array(["a"]))
    header = (copy / "files" / "r2.hea").read_text().splitlines()
    fake_own.write_record(
        copy / "files" / "sum", np.arange(1000, dtype=np.int16).reshape(2, 500), names=("I", "II"), checksum=1
    )
    (copy / "files" / "lone.hea").write_text("\n".join(header).replace("r2", "lone"))
    changes = [
        ("visit", "", "id empty", ""),
        ("visit", "v1", "id repeated", "first in row 2"),
        ("patient", " ", "group empty", ""),
        ("sodium", "12,5", "number unreadable", "labs.sodium: 12,5"),
        ("crp", "inf", "number unreadable", "labs.crp: inf"),
        ("photo", "files/none.png", "image file not there", "photo: files/none.png"),
        ("photo", "files", "image file not there", "photo: files"),
        ("photo", "~nobody/x.png", "image file not there", "photo: ~nobody/x.png"),
        ("photo", "x" * 300, "image file not there", f"photo: {'x' * 300}"),
        ("photo", "files/cut.png", "image truncated", "photo: files/cut.png"),
        ("photo", "files/text.png", "image unreadable", "photo: files/text.png"),
        ("ecg", "files/none", "waveform file not there", "ecg: files/none"),
        ("ecg", ".hea", "waveform file not there", "ecg: .hea"),
        ("ecg", "files/lone", "waveform file not there", "ecg: files/lone"),
        ("ecg", "files/text.npy", "waveform unreadable", "ecg: files/text.npy: ValueError"),
        ("ecg", "files/words.npy", "waveform unreadable", "ecg: files/words.npy: no array of numbers"),
        ("ecg", "files/long.npy", "waveform of another shape", "ecg: files/long.npy: 2 x 501, expected 2 x 500"),
        ("ecg", "files/nan.npy", "waveform has missing samples", "ecg: files/nan.npy: NaN or infinite"),
        ("ecg", "files/same.npy", "waveform constant", "ecg: files/same.npy: all 1.0"),
        ("ecg", "files/sum.hea", "waveform checksum wrong", "ecg: files/sum.hea: channel 1"),
    ]
    places = [k for k in range(22) if k != 1]
    expected = []
    for k, (column, cell, reason, detail) in zip(places, changes, strict=False):
        rows[k][column] = cell
        expected.append((rows[k]["visit"], str(k + 1), reason, detail))
    for column in fake_own.COLUMNS[3:]:
        rows[places[len(changes)]][column] = ""
    expected.append((rows[places[len(changes)]]["visit"], str(places[len(changes)] + 1), "no modality present", ""))
    fake_own.write_table(copy, rows)
    said = prepare(copy)
    out = [tuple(row.values()) for row in lost(copy / OUT)]
    assert [row for row in out if row[2] != "test sample without label"] == expected
    reasons = [row[2] for row in out]
    assert read(copy / OUT).counts["dropped"] == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    assert f"Left out: {len(out)} of 60 rows, listed in data/clinic/dropped.csv" in said.stdout
    assert all_samples(copy / OUT).keys() == good - {row[0] for row in out if row[2] == "test sample without label"}


def header(shape: str) -> bytes:
    """The beginning of an .npy file, without any values."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(("content", "detail"), [
    (header("(10000000000000, 50), }"), "MemoryError"),
    (header("(100000000000000000000, 50), }"), "OverflowError"),
    (header("(2, 50 "), "TokenError"),
    (b"PK\x03\x04no archive", "BadZipFile"),
])  # fmt: skip
def test_whatever_an_npy_file_s_bytes_are(tmp_path, content, detail):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(waveforms.Unusable) as error:
        waveforms.read(tmp_path / "x.npy", cards.Series(kind="series", column="x", shape=(2, 50)))
    assert error.value.args == ("waveform unreadable", detail)


@pytest.mark.parametrize("scale", ["record", "none"])
def test_numbers_that_overflow_are_no_waveform(tmp_path, scale):
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 100).reshape(2, 50) * 1.7e308)
    with pytest.raises(waveforms.Unusable, match="values beyond float32"):
        waveforms.read(tmp_path / "x.npy", cards.Series(kind="series", column="x", shape=(2, 50), scale=scale))


def test_a_link_to_itself_is_no_file(copy):
    (copy / "files" / "loop.png").symlink_to("loop.png")
    rows = fake_own.rows(copy)
    rows[0]["photo"] = "files/loop.png"
    fake_own.write_table(copy, rows)
    assert gathered(copy).rows.why[0] == ("image file not there", "photo: files/loop.png")


def test_a_given_split_is_kept_and_its_odd_values_are_left_out(copy):
    rows = fake_own.rows(copy)
    for k, row in enumerate(rows):
        row["part"] = "test" if k % 12 < 3 else "train"
    rows[5]["part"], rows[6]["part"], rows[10]["part"], rows[17]["part"] = "valid", "", "", "unlabelled"
    fake_own.write_table(copy, rows)
    fake_own.write_card(copy, test=None, split="part")
    prepare(copy)
    samples = all_samples(copy / OUT)
    out = {row["id"]: (row["reason"], row["detail"]) for row in lost(copy / OUT)}
    assert out.pop("v5") == ("split unknown", "valid")
    assert out.pop("v6") == ("split unknown", "empty")
    assert set(out.values()) == {("test sample without label", "")}
    assert (samples["v10"][0], samples["v17"][0]) == (UNLABELLED, UNLABELLED)
    for name, found in samples.items():
        assert (found[0] == "test") == (int(name[1:]) % 12 < 3)


def test_without_groups_a_share_of_each_class_is_drawn_and_few_move_when_a_row_comes(copy):
    fake_own.write_card(copy, group=None)
    before = gathered(copy)
    labels = before.rows.cells("diagnosis")
    for c in fake_own.LABELS:
        tested, trained = (sum(labels[row] == c for row in before.splits[split]) for split in ("test", "train"))
        assert tested == round((tested + trained) / 4)
    fake_own.write_table(copy, fake_own.rows(copy, 63))
    after = gathered(copy)
    assert len(set(before.splits["test"]) - set(after.splits["test"])) <= 1


def test_a_long_label_does_not_stretch_the_screen(copy):
    rows = fake_own.rows(copy)
    for row in rows:
        row["diagnosis"] = row["diagnosis"].replace("flu", f"flu\n{'x' * 3000}")
    fake_own.write_table(copy, rows)
    said = prepare(copy).stdout
    assert f"label flu {'x' * 33}... " in said
    assert max(map(len, said.splitlines())) < 100


def test_labels_that_are_whole_numbers_are_sorted_as_such(copy):
    rows = fake_own.rows(copy)
    for row in rows:
        row["diagnosis"] = row["diagnosis"] and {"cold": "10", "flu": "9", "well": "-1"}[row["diagnosis"]]
    fake_own.write_table(copy, rows)
    assert gathered(copy).class_names == ["-1", "9", "10"]


def test_ids_of_any_length_and_script_are_kept(copy):
    rows = fake_own.rows(copy, 150)
    for k, row in enumerate(rows):
        row["visit"] = f"{'é' * (k + 1)}{k}"
    fake_own.write_table(copy, rows)
    fake_own.write_card(copy, group=None)
    prepare(copy)
    dataset = read(copy / OUT)
    names = {str(name) for split in dataset.splits for name in shards.read_split(copy / OUT, dataset, split).id}
    assert names == {row["visit"] for row in rows}


def test_floats_of_parquet_that_are_whole_are_labels_as_of_csv(copy):
    """pandas makes floats of whole numbers where a cell is empty."""
    rows = fake_own.rows(copy)
    for row in rows:
        row["diagnosis"] = row["diagnosis"] and str(fake_own.LABELS.index(row["diagnosis"]))
    fake_own.write_table(copy, rows)
    before = gathered(copy)
    labels = [float(row["diagnosis"] or "nan") for row in rows]
    pl.DataFrame(rows).with_columns(diagnosis=pl.Series(labels)).write_parquet(copy / "v.parquet")
    fake_own.write_card(copy, table="v.parquet")
    assert gathered(copy).digest == before.digest


def test_a_name_with_brackets_is_no_pattern(copy):
    for name in ("visits[1].csv", "visits1.csv"):
        shutil.copy(copy / "visits.csv", copy / name)
    (copy / "visits1.csv").write_text("none,of,these\n")
    fake_own.write_card(copy, table="'visits[1].csv'")
    assert gathered(copy).rows.table.rows == 60


def test_series_as_they_are_and_a_tokenizer_of_one_s_own(copy):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: k for k, word in enumerate(["[UNK]", "looks", "like", *fake_own.LABELS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (copy / "mine").mkdir()
    tokenizer.save(str(copy / "mine" / "tokenizer.json"))
    text = fake_own.CARD.replace("tokenizer: minilm", "tokenizer: mine").replace("scale: record", "scale: none")
    fake_own.write_card(copy, text)
    prepare(copy)
    rows, samples = {row["visit"]: row for row in fake_own.rows(copy)}, all_samples(copy / OUT)
    assert read(copy / OUT).modalities[1].vocabulary != cards.minilm.vocabulary(cards.minilm.find())
    for name, (_, _, _, inputs, _) in samples.items():
        if rows[name]["ecg"].endswith(".npy"):
            assert np.array_equal(inputs["ecg"], np.load(copy / rows[name]["ecg"]).astype(np.float32))
    assert "tokens: wordbag" in (copy / OUT / "protocol.yaml").read_text()
    (copy / "mine").rename(copy / "yours")
    fake_own.write_card(copy, text.replace("tokenizer: mine", "tokenizer: yours"))
    assert "already done" in prepare(copy).stderr


def test_wfdb_records_of_other_forms(tmp_path):
    spec = cards.Series(kind="series", column="x", shape=(2, 10), scale="none")
    np.arange(20, dtype="<i2").tofile(tmp_path / "x.dat")
    (tmp_path / "plain.hea").write_text("plain 2 500 10\nx.dat 16 200\nx.dat 16 100 16 0\n")  # no checksums
    values, _ = waveforms.read(tmp_path / "plain", spec)
    assert values.tolist() == np.float32([np.arange(0, 20, 2) / 200, np.arange(1, 20, 2) / 100]).tolist()
    (tmp_path / "fast.hea").write_text("fast 2 500 5\n" + "x.dat 16x2 200 16 0 0 1 0 a\n" * 2)  # two samples a frame
    assert waveforms.read(tmp_path / "fast", spec.model_copy(update={"shape": (2, 5)}))[0].shape == (2, 5)
    (tmp_path / "long.hea").write_text("long/2 2 500 20\nplain 10\nplain 10\n")
    with pytest.raises(waveforms.Unusable, match="several segments"):
        waveforms.read(tmp_path / "long", spec)


def test_a_column_may_have_several_uses(copy):
    text = fake_own.CARD.replace("group: patient", "group: age").replace("column: report,", "column: sodium,")
    fake_own.write_card(copy, text)
    data = gathered(copy)
    assert data.rows.table.numbers.keys() == {"age", "sodium", "crp"}
    assert len(set(data.groups.tolist())) == 60


def test_a_restricted_folder_is_its_owner_s_alone(copy):
    fake_own.write_card(copy, restricted="true")
    prepare(copy)
    assert (copy / OUT).stat().st_mode & 0o777 == 0o700
    assert (copy / OUT / "dropped.csv").stat().st_mode & 0o777 == 0o600
    assert read(copy / OUT).restricted


# --- the protocol


def test_the_proposed_protocol_is_one_and_fits_what_train_has(made):
    raw = yaml.safe_load((made / "protocol.yaml").read_text())
    Protocol.model_validate(raw)
    dataset = read(made)
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
            budget = resolve(sized, regime, "random", [str(made / "protocol.yaml")])[0].budget
            assert budget.start + budget.validation + 9 * budget.query <= 0.81 * train
            assert train < 10**6 or (budget.start, budget.validation) == (3 * labels, 15 * labels)


def test_an_edited_protocol_stays_and_an_unedited_one_follows_the_data(copy):
    prepare(copy)
    path = copy / OUT / "protocol.yaml"
    proposed = path.read_text()
    assert "start_set: balanced" in proposed
    rows = [
        row for row in fake_own.rows(copy, 90) if row["diagnosis"] != "flu" or row["visit"] in ("v1", "v4", "v7", "v13", "v16")
    ]
    fake_own.write_table(copy, rows)
    said = prepare(copy, "--force")
    assert "start_set: random" in path.read_text()
    assert "balanced_sampling: true" in path.read_text()
    assert f"run: mmal al-run --data {OUT} --with {OUT}/protocol.yaml --qm badge --regime low" in said.stderr
    path.write_text(path.read_text().replace("epochs: 60", "epochs: 6"))
    edited = path.read_text()
    fake_own.write_table(copy, fake_own.rows(copy))
    assert f"{OUT}/protocol.yaml was edited and stays as it is" in prepare(copy, "--force").stderr
    assert path.read_text() == edited


# --- mistakes


def refused(place, code, *messages, force=()):
    said = prepare(place, *force, code=code)
    assert said.stdout == ""
    for message in messages:
        assert message in said.stderr, said.stderr
    assert "Traceback" not in said.stderr
    assert said.stderr.count("error: ") == 1
    return said.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labell": "x"}, "clinic.yaml: unknown key 'labell'; did you mean 'label'?"),
        ({"label": None}, "clinic.yaml: label: Field required"),
        ({"name": "a/b"}, "clinic.yaml: name 'a/b' is to have letters, digits, _ and - alone"),
        ({"name": "a" * 300}, "is to have letters, digits, _ and - alone, 100 at most"),
        ({"name": "mimic"}, "clinic.yaml: name 'mimic' is that of one of mmal's own protocols"),
        ({"test": "1.5"}, "clinic.yaml: test: Input should be less than 1 (found 1.5)"),
        ({"split": "diagnosis"}, "clinic.yaml: test would have no effect, since split names the column"),
        ({"group": "diagnosis"}, "label and group are the same column, 'diagnosis'"),
        ({"weak": "foto"}, "weak is 'foto', expected one of photo, report, labs, ecg"),
        ({"table": "none.csv"}, "clinic.yaml: table: none.csv not found"),
        ({"files": "none"}, "clinic.yaml: files: none is not a folder"),
        (
            {"table": "clinic.yaml"},
            "clinic.yaml is no table that mmal reads, expected a name that ends in .csv, .csv.gz, .parquet",
        ),
        ({"label": "diagnosys"}, "visits.csv lacks the column 'diagnosys' (label); did you mean 'diagnosis'?"),
        ({"modalities": "{a: {kind: text}}"}, "modalities.a: unknown kind 'text'"),
        (
            {"modalities": "{a: {kind: imag}}"},
            "modalities.a: unknown kind 'imag'; did you mean 'image'? (known: image, series, ",
        ),
        ({"modalities": "{a: {kind: [image]}}"}, """modalities.a: unknown kind "['image']"; did you mean 'image'? (known: """),
        ({"modalities": "{a: {column: x}}"}, "modalities.a: kind is missing; known: image, series, tokens, vector"),
        (
            {"modalities": "{a: {kind: image, column: photo, sise: 64}}"},
            "modalities.a: unknown key 'sise'; did you mean 'size'?",
        ),
        ({"modalities": "{a: {kind: image, column: photo}}"}, "modalities.a: size: Field required"),
        ({"modalities": "{a+b: {kind: image, column: photo, size: 64}}"}, "modalities.a+b"),
        ({"modalities": "{a: {kind: vector, columns: [age, age]}}", "weak": None}, "modalities.a: columns names age twice"),
        (
            {"modalities": "{a: {kind: tokens, column: diagnosis}}", "weak": None},
            "modalities.a is made of the label, 'diagnosis'",
        ),
        ({"modalities": "{a: {kind: tokens, column: report, tokenizer: none}}", "weak": None}, "none holds no tokenizer.json"),
    ],
)
def test_a_card_s_mistakes_end_the_command_before_any_work(copy, change, message):
    text = fake_own.CARD
    if "modalities" in change:
        text = text[: text.index("modalities:")] + "modalities:\n" + text[text.index("weak:") :]
    fake_own.write_card(copy, text, **change)
    refused(copy, 2, message)
    assert not (copy / "data").exists()


def test_several_mistakes_are_one_message(copy):
    fake_own.write_card(copy, weak="x", table="none.csv", files="none")
    assert len(refused(copy, 2, "weak is 'x'", "none.csv not found", "none is not a folder").splitlines()) == 3
    fake_own.write_card(copy, label="diagnose", group="patiens")
    said = refused(copy, 2, "lacks the column 'diagnose' (label)", "lacks the column 'patiens' (group)", "its columns: visit, ")
    assert len(said.splitlines()) == 3


def test_a_card_that_is_not_there_or_no_yaml(copy):
    (copy / "clinic.yaml").write_text("name: [")
    refused(copy, 2, "clinic.yaml is not a YAML file")
    (copy / "clinic.yaml").unlink()
    refused(copy, 2, "clinic.yaml not found")


def test_a_place_that_cannot_be_written_ends_it_before_anything_is_read(copy):
    (copy / "file").write_text("mine")
    for out in ("file", "file/below"):
        refused(copy, 2, "file is no folder; choose another --out", force=("--out", out))
    mine = copy / "mine/dropped.csv"
    mine.parent.mkdir()
    mine.write_text("a,b\nmy,own\n")
    refused(copy, 2, "mine/dropped.csv is not one of mmal prepare-own and would be written over", force=("--out", "mine"))
    assert mine.read_text() == "a,b\nmy,own\n"


def test_tables_that_cannot_be_read(copy):
    rows = fake_own.rows(copy)
    (copy / "visits.csv").write_text("")
    refused(copy, 3, "visits.csv could not be read as csv (NoDataError")
    (copy / "visits.csv").write_text(",".join(fake_own.COLUMNS) + "\n" + "ü," * 9, encoding="latin-1")
    refused(
        copy,
        3,
        "visits.csv could not be read as csv (ComputeError",
        "expected commas, a heading and UTF-8 (from Latin-1: iconv",
    )
    (copy / "visits.csv").write_text(",".join(fake_own.COLUMNS) + "\n")
    refused(copy, 3, "visits.csv has no rows")
    (copy / "visits.csv").write_text(",".join((*fake_own.COLUMNS, "visit")) + "\n" + ",".join("a" * 10) + "\n")
    refused(copy, 2, "visits.csv has the column 'visit' (id) twice")
    (copy / "v.parquet").write_bytes(b"PAR1")
    fake_own.write_card(copy, table="v.parquet")
    refused(copy, 3, "v.parquet could not be read as parquet")
    pl.DataFrame(rows).with_columns(diagnosis=1.5, age=pl.lit(True)).write_parquet(copy / "v.parquet")
    said = "v.parquet: column 'diagnosis' (label) holds Float64, expected text or whole numbers"
    refused(copy, 2, said, "v.parquet: column 'age' (modalities.labs) holds Boolean, expected numbers")


def test_a_group_in_both_splits_is_named(copy):
    rows = fake_own.rows(copy)
    for k, row in enumerate(rows):
        row["part"] = "test" if k % 4 == 0 else "train"
    fake_own.write_table(copy, rows)
    fake_own.write_card(copy, test=None, split="part")
    refused(copy, 3, "of column 'patient' are in test and in another split by column 'part': p0, p1, p10, p12, p13, ...; mend")
    fake_own.write_card(copy, test=None, split="part", restricted="true")
    assert "p0" not in refused(copy, 3, "of column 'patient' are in test and in another split by column 'part'; mend")


def test_nothing_to_learn_from(copy):
    rows = fake_own.rows(copy)
    for row in rows:
        row["photo"] = "gone/x.png"
    fake_own.write_table(copy, rows)
    refused(copy, 3, "no row of visits.csv can be used for train (left out: image file not there 60)")
    rows = fake_own.rows(copy)
    for row in rows:
        row["diagnosis"] = "well"
    fake_own.write_table(copy, rows)
    refused(copy, 3, "column 'diagnosis' holds one label alone, 'well'; expected two or more")
    for row in rows:
        row["diagnosis"] = ""
    fake_own.write_table(copy, rows)
    refused(copy, 3, "column 'diagnosis' has no label in any row that can be used (none was left out)")
    fake_own.write_table(copy, [{**row, "patient": "p"} for row in fake_own.rows(copy)])
    refused(copy, 3, "can be used for test (none was left out; column 'patient' holds one group alone)")


def test_another_dataset_in_the_folder_is_left_as_it_is(copy):
    prepare(copy)
    before = {path.name: path.read_bytes() for path in (copy / OUT).iterdir()}
    fake_own.write_card(copy, seed="1")
    refused(copy, 2, "data/clinic belongs to another configuration: card.seed (there 0, asked 1)", "--force to make it anew")
    assert {path.name: path.read_bytes() for path in (copy / OUT).iterdir()} == before
    prepare(copy, "--force")
    assert read(copy / OUT).recipe["card"]["seed"] == 1


def test_a_file_that_changes_while_it_is_read_is_an_error(copy, monkeypatch):
    data = gathered(copy)
    plans = recipe.plans(data, lambda make, tasks: (make(*task) for task in tasks))
    Image.new("RGB", (40, 40)).save(copy / "files" / "0.png")
    with pytest.raises(UserError, match="changed while it was read"):
        [list(plan.chunks(0, plan.samples)) for plan in plans.values()]


@pytest.mark.parametrize("package", ["polars", "wfdb"])
def test_a_package_that_is_not_there_names_the_extra(copy, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    refused(copy, 2, f"by {package}, which is not installed; in mmal's folder: .venv/bin/python -m pip install -e '.[own]'")


def test_dropped_is_csv_whatever_the_cells_hold(copy):
    rows = fake_own.rows(copy)
    rows[0]["photo"] = 'a "quoted",\nname.png'
    fake_own.write_table(copy, rows)
    (first, *_) = csv.DictReader(io.StringIO(recipe.dropped(gathered(copy))))
    assert first == {"id": "v0", "row": "1", "reason": "image file not there", "detail": 'photo: a "quoted",\nname.png'}
