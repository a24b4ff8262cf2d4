"""Mistakes in a card, a table or a place, each one message that names it."""

import csv
import io
import sys

import fake_own
import polars as pl
import pytest
from own_data import OUT, gathered, prepare, read, refused
from PIL import Image

from data_recipes.own import recipe
from mmal_cli.core.errors import UserError


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
def test_a_card_s_mistakes_end_the_command_before_any_work(spare, change, message):
    text = fake_own.CARD
    if "modalities" in change:
        text = text[: text.index("modalities:")] + "modalities:\n" + text[text.index("weak:") :]
    fake_own.write_card(spare, text, **change)
    refused(spare, 2, message)
    assert not (spare / "data").exists()


def test_several_mistakes_are_one_message(spare):
    fake_own.write_card(spare, weak="x", table="none.csv", files="none")
    assert len(refused(spare, 2, "weak is 'x'", "none.csv not found", "none is not a folder").splitlines()) == 3
    fake_own.write_card(spare, label="diagnose", group="patiens")
    said = refused(
        spare, 2, "lacks the column 'diagnose' (label)", "lacks the column 'patiens' (group)", "its columns: visit, "
    )
    assert len(said.splitlines()) == 3


def test_a_card_that_is_not_there_or_no_yaml(spare):
    (spare / "clinic.yaml").write_text("name: [")
    refused(spare, 2, "clinic.yaml is not a YAML file")
    (spare / "clinic.yaml").unlink()
    refused(spare, 2, "clinic.yaml not found")


def test_a_place_that_cannot_be_written_ends_it_before_anything_is_read(spare):
    (spare / "file").write_text("mine")
    for out in ("file", "file/below"):
        refused(spare, 2, "file is no folder; choose another --out", force=("--out", out))
    mine = spare / "mine/dropped.csv"
    mine.parent.mkdir()
    mine.write_text("a,b\nmy,own\n")
    refused(spare, 2, "mine/dropped.csv is not one of mmal prepare-own and would be written over", force=("--out", "mine"))
    assert mine.read_text() == "a,b\nmy,own\n"


def test_tables_that_cannot_be_read(spare):
    rows = fake_own.rows(spare)
    (spare / "visits.csv").write_text("")
    refused(spare, 3, "visits.csv could not be read as csv (NoDataError")
    (spare / "visits.csv").write_text(",".join(fake_own.COLUMNS) + "\n" + "ü," * 9, encoding="latin-1")
    refused(
        spare,
        3,
        "visits.csv could not be read as csv (ComputeError",
        "expected commas, a heading and UTF-8 (from Latin-1: iconv",
    )
    (spare / "visits.csv").write_text(",".join(fake_own.COLUMNS) + "\n")
    refused(spare, 3, "visits.csv has no rows")
    (spare / "visits.csv").write_text(",".join((*fake_own.COLUMNS, "visit")) + "\n" + ",".join("a" * 10) + "\n")
    refused(spare, 2, "visits.csv has the column 'visit' (id) twice")
    (spare / "v.parquet").write_bytes(b"PAR1")
    fake_own.write_card(spare, table="v.parquet")
    refused(spare, 3, "v.parquet could not be read as parquet")
    pl.DataFrame(rows).with_columns(diagnosis=1.5, age=pl.lit(True)).write_parquet(spare / "v.parquet")
    said = "v.parquet: column 'diagnosis' (label) holds Float64, expected text or whole numbers"
    refused(spare, 2, said, "v.parquet: column 'age' (modalities.labs) holds Boolean, expected numbers")


def test_a_group_in_both_splits_is_named(spare):
    rows = fake_own.rows(spare)
    for k, row in enumerate(rows):
        row["part"] = "test" if k % 4 == 0 else "train"
    fake_own.write_table(spare, rows)
    fake_own.write_card(spare, test=None, split="part")
    refused(
        spare,
        3,
        "of column 'patient' are in test and in another split by column 'part': p0, p1, p10, p12, p13, ...; mend",
    )
    fake_own.write_card(spare, test=None, split="part", restricted="true")
    assert "p0" not in refused(spare, 3, "of column 'patient' are in test and in another split by column 'part'; mend")


def test_nothing_to_learn_from(spare):
    rows = fake_own.rows(spare)
    for row in rows:
        row["photo"] = "gone/x.png"
    fake_own.write_table(spare, rows)
    refused(spare, 3, "no row of visits.csv can be used for train (left out: image file not there 60)")
    rows = fake_own.rows(spare)
    for row in rows:
        row["diagnosis"] = "well"
    fake_own.write_table(spare, rows)
    refused(spare, 3, "column 'diagnosis' holds one label alone, 'well'; expected two or more")
    for row in rows:
        row["diagnosis"] = ""
    fake_own.write_table(spare, rows)
    refused(spare, 3, "column 'diagnosis' has no label in any row that can be used (none was left out)")
    fake_own.write_table(spare, [{**row, "patient": "p"} for row in fake_own.rows(spare)])
    refused(spare, 3, "can be used for test (none was left out; column 'patient' holds one group alone)")


def test_another_dataset_in_the_folder_is_left_as_it_is(spare):
    prepare(spare)
    before = {path.name: path.read_bytes() for path in (spare / OUT).iterdir()}
    fake_own.write_card(spare, seed="1")
    refused(spare, 2, "data/clinic belongs to another configuration: card.seed (there 0, asked 1)", "--force to make it anew")
    assert {path.name: path.read_bytes() for path in (spare / OUT).iterdir()} == before
    prepare(spare, "--force")
    assert read(spare / OUT).recipe["card"]["seed"] == 1


def test_a_file_that_changes_while_it_is_read_is_an_error(spare, monkeypatch):
    data = gathered(spare)
    plans = recipe.plans(data, lambda make, tasks: (make(*task) for task in tasks))
    Image.new("RGB", (40, 40)).save(spare / "files" / "0.png")
    with pytest.raises(UserError, match="changed while it was read"):
        [list(plan.chunks(0, plan.samples)) for plan in plans.values()]


@pytest.mark.parametrize("package", ["polars", "wfdb"])
def test_a_package_that_is_not_there_names_the_extra(spare, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    refused(spare, 2, f"by {package}, which is not installed; in mmal's folder: .venv/bin/python -m pip install -e '.[own]'")


def test_dropped_is_csv_whatever_the_cells_hold(spare):
    rows = fake_own.rows(spare)
    rows[0]["photo"] = 'a "quoted",\nname.png'
    fake_own.write_table(spare, rows)
    (first, *_) = csv.DictReader(io.StringIO(recipe.dropped(gathered(spare))))
    assert first == {"id": "v0", "row": "1", "reason": "image file not there", "detail": 'photo: a "quoted",\nname.png'}
