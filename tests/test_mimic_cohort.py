"""The cohort: windows, first values, labels and filters, beside a reading of the same rows one by one; splits; percentiles."""

import csv
import gzip
import io
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import real
from fake_mimic import COLUMNS, heartbeat, source, write_record, write_table

from data_recipes.mimic import cohort, ecg, recipe, tables
from data_recipes.mimic.items import ITEMS
from data_recipes.order import shuffled
from data_recipes.percentiles import percentiles
from data_recipes.workers import processes
from mmal_cli.core.errors import BAD_DATA, UserError

REAL = real.ROOT / "mimic-iv-linked-demo"
HOURS_24 = timedelta(hours=24)


def gather(iv: Path, records: Path) -> cohort.Cohort:
    with processes(1) as in_order:
        return cohort.gather(iv, records, in_order)


def moment(text: str) -> datetime:
    return datetime.strptime(text, tables.TIMES[0])


def one_by_one(rows: dict[str, list[dict]], root: Path) -> tuple[dict, Counter]:
    """(subject, hadm) -> label, study, values by item; and why admissions were dropped. No table library, no cleverness."""
    died = {str(r["subject_id"]): r.get("dod") for r in rows["patients"]}
    found, dropped, of_subject = {}, Counter(), defaultdict(list)
    for lab in rows["labevents"]:
        of_subject[str(lab["subject_id"])].append(lab)
    for r in rows["admissions"]:
        subject, admit, dod = str(r["subject_id"]), moment(r["admittime"]), died[str(r["subject_id"])]
        days = (date.fromisoformat(dod) - admit.date()).days if dod else None
        if days is not None and days < 0:
            dropped["death before admission"] += 1
            continue
        values: dict[int, tuple] = {}
        for lab in of_subject[subject]:
            item = int(lab["itemid"])
            if item in ITEMS and lab["valuenum"] and abs(moment(lab["charttime"]) - admit) <= HOURS_24:
                values[item] = min(values.get(item, (datetime.max, 0)), (moment(lab["charttime"]), float(lab["valuenum"])))
        if not values:
            dropped["no laboratory value in the window"] += 1
            continue
        near = [e for e in rows["record_list"] if str(e["subject_id"]) == subject]
        near = [(moment(e["ecg_time"]), int(e["study_id"]), e["path"]) for e in near]
        near = sorted(e for e in near if abs(e[0] - admit) <= HOURS_24)
        whys = [why_not(root / path) for _, _, path in near]
        if None not in whys:
            dropped[f"ECG {whys[0]}" if whys else "no ECG in the window"] += 1
            continue
        label = int(days is not None and days <= 365)
        found[int(subject), int(r["hadm_id"])] = label, near[whys.index(None)][1], {k: v for k, (_, v) in values.items()}
    return found, dropped


def why_not(path: Path) -> str | None:
    try:
        ecg.usable(path)
    except ecg.BadRecord as error:
        return str(error)
    return None


def assert_as_one_by_one(found: cohort.Cohort, rows: dict[str, list[dict]], root: Path) -> None:
    expected, dropped = one_by_one(rows, root)
    assert {step["step"]: step["dropped"] for step in found.steps if step["dropped"]} == dict(dropped)
    names = list(zip(found.table["subject_id"], found.table["hadm_id"], strict=True))
    assert sorted(expected) == sorted(names)
    for name, study, label, values in zip(names, found.table["study_id"], found.label, found.labs, strict=True):
        measured = {item: value for item, value in zip(ITEMS, values.tolist(), strict=True) if not np.isnan(value)}
        assert (label, study) == expected[name][:2]
        assert measured == {item: np.float32(value) for item, value in expected[name][2].items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_made_up_files_are_read_as_one_by_one(tmp_path, seed):
    rows = source(tmp_path, patients=60, seed=seed)
    found = gather(tmp_path / "iv", tmp_path / "ecg")
    assert_as_one_by_one(found, rows, tmp_path / "ecg")
    assert {step["step"] for step in found.steps if step["dropped"]} >= {
        "death before admission", "no laboratory value in the window", "no ECG in the window", f"ECG {ecg.NAN}"
    }  # fmt: skip
    assert 0 < found.label.mean() < 1
    assert found.passed_over[ecg.EMPTY] > 0


@real.needs("mimic-iv-linked-demo")
def test_the_real_demo_is_read_as_one_by_one():
    rows = {}
    for name in COLUMNS:
        path = REAL / "ecg" / "record_list.csv" if name == "record_list" else REAL / "hosp" / f"{name}.csv.gz"
        with path.open(newline="") if path.suffix == ".csv" else gzip.open(path, "rt", newline="") as file:
            rows[name] = list(csv.DictReader(file))
    keys = {r["subject_id"] for r in rows["admissions"]}
    rows["labevents"] = [r for r in rows["labevents"] if r["subject_id"] in keys and int(r["itemid"]) in ITEMS]
    found = gather(REAL, REAL / "ecg")
    assert_as_one_by_one(found, rows, REAL / "ecg")
    assert [step["admissions"] for step in found.steps] == [275, 275, 275, 268, 118, 118, 118, 118, 118, 117]
    assert tables.unknown_items(REAL / "hosp") == []


def tables_of(folder: Path, **rows: list[dict]) -> cohort.Cohort:
    """Gathers from tables given row by row; each study has a good record unless its path is there already."""
    for name, columns in COLUMNS.items():
        place = folder / ("ecg" if name == "record_list" else "iv/hosp") / f"{name}.csv"
        write_table(place, rows.get(name, []), columns)
    for record in rows["record_list"]:
        if not (folder / "ecg" / f"{record['path']}.hea").exists():
            write_record(folder / "ecg" / record["path"], heartbeat(1))
    return gather(folder / "iv", folder / "ecg")


def admission(subject: int = 1, hadm: int = 5, when: str = "2150-01-01 10:00:00", dod: str = "", **labs: object) -> dict:
    """A patient with one admission, a value and an ECG at its hour, but for what is said otherwise."""
    return {
        "admissions": [{"subject_id": subject, "hadm_id": hadm, "admittime": when}],
        "patients": [{"subject_id": subject, "dod": dod}],
        "labevents": [{"subject_id": subject, "itemid": 50912, "charttime": when, "valuenum": 1.5} | labs],
        "record_list": [{"subject_id": subject, "study_id": 9, "ecg_time": when, "path": "files/9"}],
    }


@pytest.mark.parametrize(
    ("dod", "label"), [("2151-01-01", 1), ("2151-01-02", 0), ("2150-01-01", 1), ("", 0), ("2149-12-31", None)]
)
def test_the_label_is_death_within_365_days_of_the_day_of_admission(tmp_path, dod, label):
    if label is None:
        with pytest.raises(UserError, match="no admission is left of 1: dropped 1 death before admission") as caught:
            tables_of(tmp_path, **admission(dod=dod))
        assert caught.value.code == BAD_DATA
    else:
        assert tables_of(tmp_path, **admission(dod=dod)).label.tolist() == [label]


def test_a_time_of_death_before_admission_counts_as_well(tmp_path):
    rows = admission(dod="2150-03-01")
    rows["admissions"][0]["deathtime"] = "2149-12-30 12:00:00"
    with pytest.raises(UserError, match="dropped 1 death before admission"):
        tables_of(tmp_path, **rows)


@pytest.mark.parametrize(
    ("charttime", "inside"),
    [
        ("2149-12-31 10:00:00", True),
        ("2149-12-31 09:59:59", False),
        ("2150-01-02 10:00:00", True),
        ("2150-01-02 10:00:01", False),
        ("", False),
        ("2150-01-02T10:00:00", True),
        ("2150-01-02 10:00:00.000", True),
        ("2150-01-02 10:01", False),
    ],
)
def test_windows_are_24_hours_and_their_ends_are_inside(tmp_path, charttime, inside):
    rows = admission(charttime=charttime)
    if inside:
        assert np.isfinite(tables_of(tmp_path, **rows).labs).sum() == 1
    else:
        with pytest.raises(UserError, match="dropped 1 no laboratory value in the window"):
            tables_of(tmp_path, **rows)


def test_the_first_value_counts_and_of_one_moment_the_smallest(tmp_path):
    rows = admission()
    early, late = "2150-01-01 08:00:00", "2150-01-01 09:00:00"
    given = [
        (late, 50912, 9),
        (early, 50912, 3),
        (early, 50912, 2),
        (early, 50912, "inf"),
        (late, 50971, 4),
        (early, 50971, ""),
    ]
    rows["labevents"] = [{"subject_id": 1, "itemid": i, "charttime": t, "valuenum": v} for t, i, v in given]
    (values,) = tables_of(tmp_path, **rows).labs
    assert {item: v for item, v in zip(ITEMS, values.tolist(), strict=True) if v == v} == {50912: 2.0, 50971: 4.0}


def test_the_first_usable_ecg_is_taken_and_the_others_counted(tmp_path):
    rows = admission()
    times = {3: "2150-01-01 09:00:00", 4: "2150-01-01 08:00:00", 5: "2150-01-01 11:00:00", 6: "2149-12-31 09:00:00"}
    rows["record_list"] = [{"subject_id": 1, "study_id": s, "ecg_time": t, "path": f"files/{s}"} for s, t in times.items()]
    write_record(tmp_path / "ecg/files/4", np.zeros((12, 5000), np.int16))
    found = tables_of(tmp_path, **rows)
    assert found.table["study_id"].to_list() == [3]
    assert found.passed_over == {ecg.EMPTY: 1}


def test_rows_of_no_use_are_dropped_and_counted(tmp_path):
    rows = admission()
    rows["admissions"] += [
        {"subject_id": 1, "hadm_id": 6, "admittime": "yesterday"},
        {"subject_id": 2, "hadm_id": 7, "admittime": "2150-01-01 10:00:00"},
        {"subject_id": 1, "hadm_id": 5, "admittime": "2150-01-01 10:00:00"},
        {"subject_id": "", "hadm_id": 8, "admittime": "2150-01-01 10:00:00"},
        {"subject_id": 3, "hadm_id": 9, "admittime": "2150-01-01 10:00:00"},
    ]
    rows["patients"].append({"subject_id": 3, "dod": "unknown"})
    found = tables_of(tmp_path, **rows)
    assert (len(found.label), found.steps[1]["dropped"]) == (1, 5)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda f: (f / "iv/hosp/labevents.csv").unlink(),
            r"labevents.csv\[.gz\] not found in MIMIC_IV/hosp; expected charttime",
        ),
        (lambda f: (f / "ecg/record_list.csv").unlink(), r"record_list.csv\[.gz\] not found in MIMIC_IV_ECG"),
        (
            lambda f: (f / "iv/hosp/patients.csv").write_text("subject_id,gender\n10000032,F\n"),
            r"patients.csv in MIMIC_IV/hosp lacks dod among its 2 columns; has it a header line\?",
        ),
        (lambda f: (f / "iv/hosp/patients.csv").write_text(""), "patients.csv is not a table that can be read"),
        (lambda f: (f / "iv/hosp/patients.csv").write_text('subject_id,dod\n"10000032'), "patients.csv is not a table"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_without_its_rows(tmp_path, harm, message):
    tables_of(tmp_path, **admission())
    harm(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        gather(tmp_path / "iv", tmp_path / "ecg")
    assert caught.value.code == BAD_DATA
    assert "10000032" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_without_its_header_shows_no_row(tmp_path, name):
    source(tmp_path, patients=20, packed=False)
    path = next(tmp_path.rglob(f"{name}.csv"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(UserError, match=rf"{name}.csv in .* columns; has it a header line") as caught:
        tables.unknown_items(tmp_path / "iv/hosp") if name == "d_labitems" else gather(tmp_path / "iv", tmp_path / "ecg")
    assert not [word for word in lines[1].strip().split(",") if len(word) > 4 and word in str(caught.value)]


def test_a_column_of_another_kind_is_an_error_not_a_small_cohort(tmp_path):
    with pytest.raises(
        UserError, match=r"labevents.csv in MIMIC_IV/hosp: 1 of the first 1 values of charttime are not times like"
    ):
        tables_of(tmp_path, **admission(charttime="soon"))
    with pytest.raises(
        UserError, match=r"record_list.csv in MIMIC_IV_ECG: 1 of the first 1 values of subject_id are not whole numb"
    ):
        tables_of(
            tmp_path, **{**admission(), "record_list": [{"subject_id": "p1", "study_id": 9, "ecg_time": "", "path": "files/9"}]}
        )


@pytest.mark.parametrize("export", ["quote all", "NA", "T in every second row", "floats", "spaces"])
def test_other_exports_of_the_same_tables_give_the_same_cohort(tmp_path, export):
    rows = source(tmp_path, patients=60, packed=False)
    expected = gather(tmp_path / "iv", tmp_path / "ecg")
    for name, table in rows.items():
        path = next(tmp_path.rglob(f"{name}.csv"))
        names = {"T in every second row": ("admittime", "charttime", "ecg_time"), "floats": ("subject_id", "hadm_id", "itemid")}
        for number, row in enumerate(table):
            for key in [key for key in names.get(export, ()) if row.get(key)]:
                if export == "floats":
                    row[key] = f"{row[key]}.0"
                elif number % 2:
                    row[key] = row[key].replace(" ", "T")
        lines = csv.DictWriter(
            text := io.StringIO(),
            COLUMNS[name],
            restval="NA" if export == "NA" else "",
            extrasaction="ignore",
            quoting=csv.QUOTE_ALL if export == "quote all" else csv.QUOTE_MINIMAL,
        )
        lines.writeheader()
        blank = "NA" if export == "NA" else ""
        pad = " " if export == "spaces" else ""
        lines.writerows(
            {k: pad + str(v) if k.endswith("_id") and v != "" else (blank if v == "" else v) for k, v in row.items()}
            for row in table
        )
        path.write_text(text.getvalue())
    found = gather(tmp_path / "iv", tmp_path / "ecg")
    assert found.steps == expected.steps
    assert np.array_equal(found.labs, expected.labs, equal_nan=True)
    assert found.label.tolist() == expected.label.tolist()


def test_a_table_that_is_there_twice_is_not_chosen_from(tmp_path):
    source(tmp_path, patients=20)
    (tmp_path / "iv/hosp/labevents.csv").write_text("half unpacked")
    with pytest.raises(
        UserError, match=r"MIMIC_IV/hosp has both labevents.csv and labevents.csv.gz; remove the one that may not"
    ):
        gather(tmp_path / "iv", tmp_path / "ecg")


def test_bytes_that_are_no_utf8_harm_nothing(tmp_path):
    rows = admission()
    rows["admissions"][0]["race"] = "M\xe4nnlich"
    tables_of(tmp_path, **rows)
    path = tmp_path / "iv/hosp/admissions.csv"
    path.write_bytes(path.read_text().encode("latin-1"))
    assert len(gather(tmp_path / "iv", tmp_path / "ecg").label) == 1


def test_a_death_in_hospital_without_dod_is_a_death(tmp_path):
    rows = admission()
    rows["admissions"][0]["deathtime"] = "2150-01-09 12:00:00"
    assert tables_of(tmp_path, **rows).label.tolist() == [1]


def test_rows_that_are_there_twice_count_once(tmp_path):
    rows = admission()
    rows["patients"] *= 2
    rows["admissions"] = [rows["admissions"][0] | {"admittime": ""}, *rows["admissions"] * 2]
    found = tables_of(tmp_path, **rows)
    assert (len(found.label), found.steps[1]["dropped"]) == (1, 2)


@pytest.mark.parametrize("path", ["../elsewhere/9", "{}/elsewhere/9"])
def test_no_record_outside_the_folder_is_read(tmp_path, path):
    write_record(tmp_path / "elsewhere/9", heartbeat(1))
    rows = admission()
    rows["record_list"][0]["path"] = path.format(tmp_path)
    with pytest.raises(UserError, match=f"dropped 1 ECG {ecg.ABSENT}"):
        tables_of(tmp_path, **rows)


@pytest.mark.parametrize("name", ["admissions", "labevents", "patients"])
@pytest.mark.parametrize("harm", [lambda x: x[: len(x) // 2], lambda x: x[:200] + bytes([x[200] ^ 255]) + x[201:]])
def test_a_packed_table_that_is_cut_or_damaged_is_one_message(tmp_path, name, harm):
    source(tmp_path, patients=60)
    path = tmp_path / "iv/hosp" / f"{name}.csv.gz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(
        UserError, match=rf"{name}.csv is not a table that can be read \(OSError\); unpack or fetch it anew"
    ) as caught:
        gather(tmp_path / "iv", tmp_path / "ecg")
    assert caught.value.code == BAD_DATA
    assert str(tmp_path) not in str(caught.value)


def test_percentiles_are_fitted_on_some_rows_and_right_continuous():
    values = np.array([[1, np.nan], [2, np.nan], [2, np.nan], [4, np.nan], [0, 5], [3, np.nan], [9, np.nan]], np.float32)
    fit_on = np.array([1, 1, 1, 1, 0, 0, 0], bool)
    found = percentiles(values, fit_on, indicators=True)
    assert found[:, 0].tolist() == [0.25, 0.75, 0.75, 1, 0, 0.75, 1]
    assert found[:, 1].tolist() == [0.5] * 7
    assert found[:, 2:].tolist() == np.isfinite(values).astype(float).tolist()
    assert percentiles(values, fit_on, indicators=False).shape == (7, 2)


def test_what_was_not_measured_is_the_median_of_the_fitted_where_that_is_asked():
    values = np.array([[0.0, 5, np.nan], [0, 5, np.nan], [0, np.nan, np.nan], [1, 5, 3], [np.nan, 5, 4], [np.nan, 9, 4]])
    fit_on = np.array([True] * 4 + [False] * 2)
    found = percentiles(values, fit_on, indicators=False, impute=True)
    assert np.array_equal(found[:, 0], np.float32([0.75, 0.75, 0.75, 1, 0.75, 0.75]))  # of 0 0 0 1
    assert np.array_equal(found[:, 1], np.float32([1, 1, 1, 1, 1, 1]))  # a constant tells nothing, not even who lacks it
    assert np.array_equal(found[:, 2], np.float32([1, 1, 1, 1, 1, 1]))  # of 3 alone


def test_who_lacks_the_source_cannot_undo_the_orders(tmp_path):
    source(tmp_path, patients=60)
    found = gather(tmp_path / "iv", tmp_path / "ecg")
    mimic = recipe.Mimic(found, tmp_path / "ecg", 10, False, 5, seed=0)
    subjects = np.unique(found.table["subject_id"].to_numpy(), return_inverse=True)[1]
    for known in (("mimic", "subjects"), ("mimic", "subjects", recipe.head(mimic)["recipe"]["sources"])):
        order = shuffled(mimic.subjects, 0, *known)  # all that the manifest gives away
        assert (order[mimic.groups] == subjects).mean() < 0.2


def test_no_patient_is_in_both_splits_and_nobody_tested_on_is_fitted_on(tmp_path):
    source(tmp_path, patients=60)
    found = gather(tmp_path / "iv", tmp_path / "ecg")
    few, many = (recipe.Mimic(found, tmp_path / "ecg", asked, False, 5, seed=0) for asked in (10, None))
    subjects = found.table["subject_id"].to_numpy()
    for mimic, tested in ((few, 10), (many, len(set(subjects)) // 4)):
        inside = {split: set(subjects[rows]) for split, rows in mimic.splits.items()}
        assert len(inside["test"]) == tested
        assert not inside["train"] & inside["test"]
        assert sorted(np.concatenate(list(mimic.splits.values()))) == list(range(len(subjects)))
        assert len(set(zip(subjects, mimic.groups, strict=True))) == len(set(subjects)) == len(set(mimic.groups))
        train = mimic.splits["train"]
        assert np.array_equal(mimic.labs, percentiles(found.labs, np.isin(np.arange(len(subjects)), train), False))
    assert sorted(Counter(few.groups).values()) == sorted(Counter(subjects).values())
    assert few.splits["test"].tolist() != recipe.Mimic(found, tmp_path, 10, False, 5, seed=1).splits["test"].tolist()
