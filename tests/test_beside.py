"""`mmal ask --show`: columns of a table of theirs stand beside each sample that people are asked about."""

import csv
import json
import xml.etree.ElementTree as xml
from contextlib import chdir
from pathlib import Path

import h5py
import pytest
from campaigns import CAMPAIGN, ask, fill, mmal, table

from mmal_cli.annotation import beside, label_studio
from mmal_cli.core.errors import UserError


@pytest.fixture
def fresh(withheld_data, tmp_path):
    """A folder in which nothing was asked yet."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tiny").symlink_to(withheld_data)
    with chdir(tmp_path):
        yield


def ids():
    """Of all samples without a label."""
    with h5py.File("data/tiny/unlabelled-00000.h5") as file:
        return [name.decode() for name in file["id"][:]]


def write(columns, without=()):
    """table.csv: id and columns, name -> what an id has there."""
    with open("table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns])
        writer.writerows([name, *(cell(name) for cell in columns.values())] for name in ids() if name not in without)
    return "table.csv"


def test_columns_stand_in_the_table_and_label_and_order_of_theirs_do_not(fresh):
    write({"photo": lambda name: f"scans/{name}.png", "label": lambda name: "", "a": lambda name: f"{name}, by hand"})
    ask("--show", "table.csv")
    rows = table()
    assert list(rows[0])[:7] == ["order", "id", "label", "photo", "table a", "a", "a p"]
    assert all(row["photo"] == f"scans/{row['id']}.png" and row["table a"] == f"{row['id']}, by hand" for row in rows)
    assert "mmal ask" in (said := mmal("answer", fill()).stderr)
    assert "--show table.csv" in said
    ask("--format", "label-studio", size=3)
    tasks = json.loads((CAMPAIGN / "ask-01.json").read_text())
    rows = [["id", "label"], *([task["data"]["sample_id"], "class 0"] for task in tasks)]
    Path("more.csv").write_text("\n".join(map(",".join, rows)))
    said = mmal("answer", "more.csv", "--campaign", CAMPAIGN).stderr
    assert "--format label-studio" in said
    assert "--show" not in said


def test_label_studio_shows_pictures_as_pictures(campaign_place):
    address = "/data/local-files/?d=scans/{}.PNG".format
    write({"photo": address, "note": lambda name: f"<{name}>", "empty": lambda name: "", 'odd "name"': address})
    ask("--show", "table.csv", "--format", "label-studio")
    view = xml.parse(CAMPAIGN / label_studio.CONFIG).getroot()
    columns = ["Header", "Image", "Header", "Text", "Header", "Text", "Header", "Image"]
    assert [one.tag for one in view] == ["Text", *columns, "Choices"]
    assert [one.get("value") for one in view.iter("Header")] == ["photo", "note", "empty", 'odd "name"']
    for task in json.loads((CAMPAIGN / "ask-00.json").read_text()):
        name = task["data"]["sample_id"]
        shown = [task["data"][one.get("value")[1:]] for one in view if one.get("name", "").startswith("show")]
        assert shown == [address(name), f"<{name}>", "", address(name)]


def test_an_interface_that_is_there_stays_and_what_it_lacks_is_said(campaign_place):
    ask("--format", "label-studio")
    before = (CAMPAIGN / label_studio.CONFIG).read_bytes()
    (CAMPAIGN / "ask-00.json").unlink()
    write({"photo": str, "note": str})
    said = " ".join(ask("--format", "label-studio", "--show", "table.csv").stderr.split())
    assert "label-studio.xml is there and stays; --show gives it more to show: $show_photo, $show_note" in said
    assert (CAMPAIGN / label_studio.CONFIG).read_bytes() == before
    assert "show_note" in json.loads((CAMPAIGN / "ask-00.json").read_text())[0]["data"]


def test_a_column_keeps_its_field_whatever_the_order_of_the_table(campaign_place):
    write({"photo": "{}.png".format, "note": str, "été": str})
    ask("--format", "label-studio", "--show", "table.csv")
    first = json.loads((CAMPAIGN / "ask-00.json").read_text())
    (CAMPAIGN / "ask-00.json").unlink()
    write({"note": str, "été": str, "photo": "{}.png".format})
    assert "stays" not in ask("--format", "label-studio", "--show", "table.csv").stderr
    assert json.loads((CAMPAIGN / "ask-00.json").read_text()) == first
    assert {"show_photo", "show_note", "show__e9_t_e9_"} < first[0]["data"].keys()


def test_names_that_are_taken_and_columns_of_label_studio(fresh):
    write({"annotation_id": str, "a": str, "table a": str, "a p": str, "": str})
    ask("--show", "table.csv")
    columns = list(table()[0])
    assert columns[3:6] == ["table table a", "table a", "table a p"]
    assert len(set(columns)) == len(columns)
    assert "6 new" in mmal("answer", fill()).stderr


def test_an_interface_that_is_no_text_is_said_before_the_file_is_written(campaign_place):
    ask("--format", "label-studio")
    (CAMPAIGN / "ask-00.json").unlink()
    (CAMPAIGN / label_studio.CONFIG).write_bytes("<View>é</View>".encode("latin-1"))
    write({"photo": str})
    assert "could not be read as UTF-8 text" in ask("--format", "label-studio", "--show", "table.csv", code=3).stderr
    assert not (CAMPAIGN / "ask-00.json").exists()


def test_who_forgot_the_table_is_told_what_to_do(campaign_place):
    write({"photo": str})
    said = " ".join(ask("--show", "table.csv", code=2).stderr.split())
    assert "is open: 0 of 6 answered" in said
    assert "for a file with the columns of --show move this one away first" in said


def test_a_row_that_lacks_costs_no_training(campaign_place):
    missing = table()[2]["id"]
    (CAMPAIGN / "ask-00.csv").unlink()
    write({"photo": str}, without=[missing])
    said = " ".join(ask("--show", "table.csv", code=3).stderr.split())
    assert f"table.csv has no row for 1 of 6 samples asked for, the first: {missing}; the batch is kept: add them" in said
    assert not (CAMPAIGN / "ask-00.csv").exists()
    write({"photo": str})
    assert "nothing was trained" in ask("--show", "table.csv").stderr
    assert [row["photo"] for row in table()] == [row["id"] for row in table()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,photo\ns1,x\n", "has columns name, photo; expected one called id"),
        ("", "has columns none; expected one called id"),
        ("id,a\x01b\ns1,x\n", "has a column called 'a\\x01b'; expected a name in readable characters"),
        ("id,photo,photo\ns1,x,y\n", "has two columns called 'photo'; rename one"),
        ("id,photo\ns1,x\n\ns1,y\n", "line 4: 's1' has a row above; keep one of them"),
        ("id;photo\ns1;x\ns2\n", "line 3: 1 cells, expected 2"),
        ('id,photo\ns1,"x\n', "look at its quotation marks"),
    ],
)
def test_mistakes_of_the_table_end_it_before_any_training(fresh, text, message):
    Path("table.csv").write_text(text)
    assert message in " ".join(ask("--show", "table.csv", code=3).stderr.split())
    assert not CAMPAIGN.exists()


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"x\.csv not found; expected a table with a column id"):
        beside.read(tmp_path / "x.csv")
