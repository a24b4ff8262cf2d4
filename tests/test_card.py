"""`mmal card`: what it says of every kind of dataset, what it hides of restricted ones, and the picture of a few samples."""

from contextlib import chdir

import fake_own
import numpy as np
import pytest
import tiny
from PIL import Image
from typer.testing import CliRunner

from mmal_cli import app, dataset_card, sheet
from mmal_cli.core import build, shards
from mmal_cli.core.manifest import Dataset


def mmal(*words, code=0):
    done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def table(text, heading):
    """The rows of the table below a heading, without its head."""
    block = text.split(f"## {heading}\n\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in block.splitlines()[2:]]


def made(folder, labels, present, restricted=False, weak="x", counts=None) -> Dataset:
    """A dataset of vectors x and y whose splits have these labels and patterns of present modalities."""

    def chunks(split):
        n = len(labels[split])
        yield shards.Samples(
            {name: np.ones((n, 3), np.float32) for name in ("x", "y")},
            np.array(present[split], dtype=bool).reshape(n, 2),
            np.array(labels[split]),
            np.array([f"s{k}" for k in range(n)]),
            {},
        )

    head = {
        "name": "d",
        "recipe": {"name": "made", "restricted": restricted},
        "modalities": [{"name": name, "kind": "vector", "shape": [3], "dtype": "float32"} for name in ("x", "y")],
        "classes": 3,
        "class_names": ["p", "q", "r"],
        "targets": ["class"],
        "weak": weak,
        "counts": counts or {},
        "restricted": restricted,
    }
    plans = {split: build.Plan(len(of), lambda a, b, s=split: chunks(s)) for split, of in labels.items()}
    return build.build(folder, head, plans, command="mmal make-d")[0]


LABELS = {"train": [0] * 40 + [1] * 12 + [2] * 3, "test": [0] * 5 + [1] * 20 + [2] * 4}
PRESENT = {"train": [[1, 1]] * 50 + [[1, 0]] * 5, "test": [[1, 1]] * 28 + [[0, 0]]}


def test_counts_come_from_the_shards_of_any_recipe(tmp_path):
    counts = {"dropped": {"cut": 2}, "train": {"dropped": {"cut": 1}, "unmatched": {"alone": 3}, "subjects": 9}}
    text = dataset_card.text(tmp_path, made(tmp_path, LABELS, PRESENT, counts=counts))
    assert text.startswith("# Dataset card: d\n\nId ")
    assert "84 samples, 3 classes by class. Made by `mmal make-d`, mmal 0." in text
    assert table(text, "Modalities")[0] == ["x (weak)", "vector", "3", "float32"]
    assert table(text, "Splits") == [["samples", "55", "29"], ["subjects", "9", ""]]
    assert table(text, "Classes")[1:] == [["q", "12 (21.8%)", "20 (69.0%)"], ["r", "3 (5.5%)", "4 (13.8%)"]]
    expected = [["none", "0 (0.0%)", "1 (3.4%)"], ["x", "5 (9.1%)", "0 (0.0%)"], ["x+y", "50 (90.9%)", "28 (96.6%)"]]
    assert table(text, "Which modalities a sample has") == expected
    assert table(text, "Left out") == [["cut", "3"], ["alone", "3"]]
    assert "Restricted" not in text


def test_of_restricted_data_no_small_count_is_shown_or_can_be_told(tmp_path):
    counts = {"cohort": [{"step": "no value", "dropped": 4}, {"step": "no ECG", "dropped": 150}], "train": {"subjects": 9}}
    text = dataset_card.text(tmp_path, made(tmp_path, LABELS, PRESENT, restricted=True, counts=counts))
    assert "> **Restricted.**" in text
    assert table(text, "Splits") == [["samples", "55", "29"], ["subjects", "<10", ""]]
    # in train 3 is hidden, and the next smallest too, since 55 less the others would tell it; in test two are hidden as it is
    assert table(text, "Classes") == [["p", "40", "<10"], ["q", "hidden", "20"], ["r", "<10", "<10"]]
    assert table(text, "Which modalities a sample has")[1:] == [["x", "<10", "0"], ["x+y", "hidden", "hidden"]]
    assert table(text, "Left out") == [["no value", "<10"], ["no ECG", "150"]]


def test_small_counts_whose_sum_tells_them_are_hidden_too(tmp_path):
    labels = {"train": [0] * 40 + [1] + [2], "test": [0] * 30 + [1] * 9 + [2] * 9}
    present = {split: [[1, 1]] * len(of) for split, of in labels.items()}
    text = dataset_card.text(tmp_path, made(tmp_path, labels, present, restricted=True))
    assert table(text, "Classes") == [["p", "hidden", "hidden"], ["q", "<10", "<10"], ["r", "<10", "<10"]]


def test_class_names_of_several_lines_or_a_page_are_a_line(tmp_path):
    dataset = made(tmp_path, LABELS, PRESENT).model_copy(update={"class_names": ["a\n| b", "x" * 3000, "r"]})
    rows = table(dataset_card.text(tmp_path, dataset), "Classes")
    assert [row[0] for row in rows] == ["a \\| b", "x" * 77 + "...", "r"]


def test_of_many_classes_the_ends_are_shown(tmp_path):
    dataset = tiny.make(tmp_path, train=80, test=40, classes=40)
    rows = table(dataset_card.text(tmp_path, dataset), "Classes")
    assert len(rows) == 20
    assert "The 10 most frequent in train and the 10 rarest, of 40 classes." in dataset_card.text(tmp_path, dataset)


def test_a_dataset_of_one_s_own_with_a_picture(tmp_path):
    fake_own.make(tmp_path)
    with chdir(tmp_path):
        mmal("prepare-own", "clinic.yaml", "--jobs", 1)
        done = mmal("card", "--sheet", "clinic.png")
    assert done.stdout.endswith("\n\n![Six samples of clinic](clinic.png)\n")
    assert table(done.stdout, "Splits")[0][0] == "samples"
    assert len(table(done.stdout, "Splits")[0]) == 4  # unlabelled too
    assert len(table(done.stdout, "Classes")[0]) == 3  # unlabelled has none
    with Image.open(tmp_path / "clinic.png") as page:
        assert page.size == (sheet.LEFT + 6 * (sheet.CELL + sheet.GAP), sheet.TOP + 4 * (sheet.CELL + sheet.GAP))
        assert len(page.getcolors(10**6)) > 100


def test_what_is_absent_is_not_drawn_and_classes_come_first(tiny_data):
    assert sheet._of_many_classes(np.array([1, 1, 1, 0, 1, 1, 1, 2, 1])) == [0, 1, 2, 3, 4, 7]
    assert sheet._of_many_classes(np.array([1, 1])) == [0, 1]
    page = sheet.draw(tiny_data, Dataset.read(tiny_data / "dataset.yaml"))
    assert page.size == (sheet.LEFT + 6 * (sheet.CELL + sheet.GAP), sheet.TOP + 2 * (sheet.CELL + sheet.GAP))


def test_letters_beyond_ascii_are_drawn():
    pytest.importorskip("matplotlib")
    cells = [np.asarray(sheet._words(text, (0, 0, 0))) for text in "üäя"]
    assert not any(np.array_equal(a, b) for a, b in ((cells[0], cells[1]), (cells[0], cells[2]), (cells[1], cells[2])))


@pytest.mark.parametrize("value", [np.zeros(1), np.array([-3.0, 5.0]), np.linspace(0, 1, 400)])
def test_bars_fit_whatever_the_numbers(value):
    assert sheet._bars(value).size == (sheet.CELL, sheet.CELL)


def test_no_sample_of_restricted_data_is_drawn(tmp_path):
    made(tmp_path / "d", LABELS, PRESENT, restricted=True)
    done = mmal("card", tmp_path / "d", "--sheet", tmp_path / "d.png", code=2)
    assert (done.stdout, done.stderr) == ("", "error: d is restricted: no sample of it is drawn\n")
    assert not (tmp_path / "d.png").exists()


def test_bad_input_is_one_message(tmp_path, tiny_data):
    with chdir(tmp_path):
        assert "no dataset under data/" in mmal("card", code=3).stderr
        assert (
            "data/share/dataset.yaml not found; make it by: mmal prepare-share SOURCE"
            in mmal("card", "data/share", code=3).stderr
        )
    assert "--sheet x.jpg: expected a name that ends in .png" in mmal("card", tiny_data, "--sheet", "x.jpg", code=2).stderr
    made(tmp_path / "d", LABELS, PRESENT)
    (tmp_path / "d" / "train-00000.h5").write_bytes(b"")
    said = mmal("card", tmp_path / "d", code=3).stderr
    assert f"train-00000.h5 is missing or damaged; make it again: mmal make-d --out {tmp_path / 'd'}" in said
