"""Files of titles: whatever the web put into them, each row is read, repaired or counted."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_recipes.food101 import titles
from mmal_cli.core.errors import BAD_DATA, UserError


def parsed(text: str | bytes, folder) -> list:
    path = folder / "titles.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [row and tuple(row) for row in titles.read(path)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("image,title,class\n", []),
        ("image,title,class\na.jpg,Pie,pie\n", [("a.jpg", "Pie", "pie")]),
        ("a.jpg,Pie,pie", [("a.jpg", "Pie", "pie")]),
        ("\n\r\na.jpg,Pie,pie\r\n\r\n", [("a.jpg", "Pie", "pie")]),
        ('a.jpg,"Pie, ""the"" one\nof two",pie\n', [("a.jpg", 'Pie, "the" one\nof two', "pie")]),
        ("a.jpg,Pie, a, b,pie\n", [("a.jpg", "Pie, a, b", "pie")]),
        (" images/train/pie/a.JPEG ,, pie \n", [("a.JPEG", "", "pie")]),
        ("a.jpg,Pie\nb.jpg,Pie,\nc.jpg\n", [None, ("b.jpg", "Pie", ""), None]),
        ("a.jpg,Pie,pie\nb.txt,Pie,pie\n", [("a.jpg", "Pie", "pie"), None]),
        (b"\xef\xbb\xbfa.jpg,Pi\xff\x00e,pie\n", [("a.jpg", "Pi\ufffd\x00e", "pie")]),
        ("a.jpg,Pie\u2028 \x0b,pie\n", [("a.jpg", "Pie\u2028 \x0b", "pie")]),
    ],
)
def test_rows(tmp_path, text, rows):
    assert parsed(text, tmp_path) == rows


def test_a_stray_quote_costs_one_row_not_the_rest_of_the_file(tmp_path):
    lines = [f"{k}.jpg,Pie {k},pie\n" for k in range(500)]
    lines[10] = '10.jpg,"Pie,pie\n'
    lines[300] = '300.jpg,"Pie, quoted",pie\n'
    rows = parsed("".join(lines), tmp_path)
    assert len(rows) == 500
    assert rows[10] is None
    assert rows[300] == ("300.jpg", "Pie, quoted", "pie")
    assert rows[499] == ("499.jpg", "Pie 499", "pie")
    assert rows.count(None) == 1


def test_a_field_of_any_length_is_read(tmp_path):
    assert parsed(f"a.jpg,{'x' * 200_000},pie\n", tmp_path)[0][1] == "x" * 200_000


cell = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(st.lists(cell, min_size=1, max_size=8))
def test_what_a_csv_writer_writes_comes_back(tmp_path_factory, said):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([f"{k}.jpg", title, "pie"] for k, title in enumerate(said))
    found = parsed(text.getvalue(), tmp_path_factory.mktemp("titles"))
    assert found == [(f"{k}.jpg", title, "pie") for k, title in enumerate(said)]


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text('a.jpg,"\n\r x', max_size=80).map(str.encode))
def test_no_bytes_are_fatal(tmp_path_factory, content):
    parsed(content, tmp_path_factory.mktemp("titles"))


def test_a_file_that_cannot_be_read_is_one_message(tmp_path):
    (tmp_path / "titles").mkdir()
    with pytest.raises(UserError, match=r"titles could not be read: Is a directory") as error:
        titles.read(tmp_path / "titles")
    assert error.value.code == BAD_DATA
