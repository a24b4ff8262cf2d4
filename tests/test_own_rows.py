"""Rows of one's own: what is left out and why, and files and tables of every form."""

import shutil

import fake_own
import numpy as np
import polars as pl
import pytest
from own_data import OUT, all_samples, gathered, lost, prepare, read

from data_recipes.own import card as cards
from data_recipes.own import waveforms
from mmal_cli.core import shards
from mmal_cli.core.manifest import UNLABELLED


def test_bad_rows_are_counted_listed_and_cost_only_themselves(spare):
    rows = fake_own.rows(spare)
    good = {row["visit"] for row in rows[22:]} | {"v1"}
    (spare / "files" / "cut.png").write_bytes((spare / "files" / "0.png").read_bytes()[:60])
    (spare / "files" / "text.png").write_text("no image")
    (spare / "files" / "text.npy").write_text("no array")
    np.save(spare / "files" / "long.npy", np.ones((2, 501)))
    np.save(spare / "files" / "nan.npy", np.full((2, 500), np.nan))
    np.save(spare / "files" / "same.npy", np.ones((2, 500)))
    np.save(spare / "files" / "words.npy", np.array(["a"]))
    header = (spare / "files" / "r2.hea").read_text().splitlines()
    fake_own.write_record(
        spare / "files" / "sum", np.arange(1000, dtype=np.int16).reshape(2, 500), names=("I", "II"), checksum=1
    )
    (spare / "files" / "lone.hea").write_text("\n".join(header).replace("r2", "lone"))
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
    fake_own.write_table(spare, rows)
    said = prepare(spare)
    out = [tuple(row.values()) for row in lost(spare / OUT)]
    assert [row for row in out if row[2] != "test sample without label"] == expected
    reasons = [row[2] for row in out]
    assert read(spare / OUT).counts["dropped"] == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    assert f"Left out: {len(out)} of 60 rows, listed in data/clinic/dropped.csv" in said.stdout
    assert all_samples(spare / OUT).keys() == good - {row[0] for row in out if row[2] == "test sample without label"}


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


def test_a_link_to_itself_is_no_file(spare):
    (spare / "files" / "loop.png").symlink_to("loop.png")
    rows = fake_own.rows(spare)
    rows[0]["photo"] = "files/loop.png"
    fake_own.write_table(spare, rows)
    assert gathered(spare).rows.why[0] == ("image file not there", "photo: files/loop.png")


def test_a_given_split_is_kept_and_its_odd_values_are_left_out(spare):
    rows = fake_own.rows(spare)
    for k, row in enumerate(rows):
        row["part"] = "test" if k % 12 < 3 else "train"
    rows[5]["part"], rows[6]["part"], rows[10]["part"], rows[17]["part"] = "valid", "", "", "unlabelled"
    fake_own.write_table(spare, rows)
    fake_own.write_card(spare, test=None, split="part")
    prepare(spare)
    samples = all_samples(spare / OUT)
    out = {row["id"]: (row["reason"], row["detail"]) for row in lost(spare / OUT)}
    assert out.pop("v5") == ("split unknown", "valid")
    assert out.pop("v6") == ("split unknown", "empty")
    assert set(out.values()) == {("test sample without label", "")}
    assert (samples["v10"][0], samples["v17"][0]) == (UNLABELLED, UNLABELLED)
    for name, found in samples.items():
        assert (found[0] == "test") == (int(name[1:]) % 12 < 3)


def test_without_groups_a_share_of_each_class_is_drawn_and_few_move_when_a_row_comes(spare):
    fake_own.write_card(spare, group=None)
    before = gathered(spare)
    labels = before.rows.cells("diagnosis")
    for c in fake_own.LABELS:
        tested, trained = (sum(labels[row] == c for row in before.splits[split]) for split in ("test", "train"))
        assert tested == round((tested + trained) / 4)
    fake_own.write_table(spare, fake_own.rows(spare, 63))
    after = gathered(spare)
    assert len(set(before.splits["test"]) - set(after.splits["test"])) <= 1


def test_a_long_label_does_not_stretch_the_screen(spare):
    rows = fake_own.rows(spare)
    for row in rows:
        row["diagnosis"] = row["diagnosis"].replace("flu", f"flu\n{'x' * 3000}")
    fake_own.write_table(spare, rows)
    said = prepare(spare).stdout
    assert f"label flu {'x' * 33}... " in said
    assert max(map(len, said.splitlines())) < 100


def test_labels_that_are_whole_numbers_are_sorted_as_such(spare):
    rows = fake_own.rows(spare)
    for row in rows:
        row["diagnosis"] = row["diagnosis"] and {"cold": "10", "flu": "9", "well": "-1"}[row["diagnosis"]]
    fake_own.write_table(spare, rows)
    assert gathered(spare).class_names == ["-1", "9", "10"]


def test_ids_of_any_length_and_script_are_kept(spare):
    rows = fake_own.rows(spare, 150)
    for k, row in enumerate(rows):
        row["visit"] = f"{'é' * (k + 1)}{k}"
    fake_own.write_table(spare, rows)
    fake_own.write_card(spare, group=None)
    prepare(spare)
    dataset = read(spare / OUT)
    names = {str(name) for split in dataset.splits for name in shards.read_split(spare / OUT, dataset, split).id}
    assert names == {row["visit"] for row in rows}


def test_floats_of_parquet_that_are_whole_are_labels_as_of_csv(spare):
    """pandas makes floats of whole numbers where a cell is empty."""
    rows = fake_own.rows(spare)
    for row in rows:
        row["diagnosis"] = row["diagnosis"] and str(fake_own.LABELS.index(row["diagnosis"]))
    fake_own.write_table(spare, rows)
    before = gathered(spare)
    labels = [float(row["diagnosis"] or "nan") for row in rows]
    pl.DataFrame(rows).with_columns(diagnosis=pl.Series(labels)).write_parquet(spare / "v.parquet")
    fake_own.write_card(spare, table="v.parquet")
    assert gathered(spare).digest == before.digest


def test_a_name_with_brackets_is_no_pattern(spare):
    for name in ("visits[1].csv", "visits1.csv"):
        shutil.copy(spare / "visits.csv", spare / name)
    (spare / "visits1.csv").write_text("none,of,these\n")
    fake_own.write_card(spare, table="'visits[1].csv'")
    assert gathered(spare).rows.table.rows == 60


def test_series_as_they_are_and_a_tokenizer_of_one_s_own(spare):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: k for k, word in enumerate(["[UNK]", "looks", "like", *fake_own.LABELS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (spare / "mine").mkdir()
    tokenizer.save(str(spare / "mine" / "tokenizer.json"))
    text = fake_own.CARD.replace("tokenizer: minilm", "tokenizer: mine").replace("scale: record", "scale: none")
    fake_own.write_card(spare, text)
    prepare(spare)
    rows, samples = {row["visit"]: row for row in fake_own.rows(spare)}, all_samples(spare / OUT)
    assert read(spare / OUT).modalities[1].vocabulary != cards.minilm.vocabulary(cards.minilm.find())
    for name, (_, _, _, inputs, _) in samples.items():
        if rows[name]["ecg"].endswith(".npy"):
            assert np.array_equal(inputs["ecg"], np.load(spare / rows[name]["ecg"]).astype(np.float32))
    assert "tokens: wordbag" in (spare / OUT / "protocol.yaml").read_text()
    (spare / "mine").rename(spare / "yours")
    fake_own.write_card(spare, text.replace("tokenizer: mine", "tokenizer: yours"))
    assert "already done" in prepare(spare).stderr


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


def test_a_column_may_have_several_uses(spare):
    text = fake_own.CARD.replace("group: patient", "group: age").replace("column: report,", "column: sodium,")
    fake_own.write_card(spare, text)
    data = gathered(spare)
    assert data.rows.table.numbers.keys() == {"age", "sodium", "crp"}
    assert len(set(data.groups.tolist())) == 60


def test_a_restricted_folder_is_its_owner_s_alone(spare):
    fake_own.write_card(spare, restricted="true")
    prepare(spare)
    assert (spare / OUT).stat().st_mode & 0o777 == 0o700
    assert (spare / OUT / "dropped.csv").stat().st_mode & 0o777 == 0o600
    assert read(spare / OUT).restricted


# --- the protocol
