"""`mmal answer`: filled tables taken whole, in part and as spreadsheets save them, and mistakes."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from campaigns import CAMPAIGN, fill, kept, mmal, table, truth
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.annotation import answering, batch, journal
from mmal_cli.annotation.campaign import Ask, Campaign
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Cycle


def test_half_a_batch_is_taken_and_the_same_file_again_changes_nothing(campaign_place):
    said = mmal("answer", fill(rows=slice(0, 4)))
    assert "4 new, 0 there already, 2 without a label" in said.stderr
    assert said.stdout.splitlines()[-1] == str(CAMPAIGN / "answers/000001.jsonl")
    said = mmal("answer", fill(rows=slice(0, 5)))
    assert "1 new, 4 there already, 1 without a label" in said.stderr
    assert "0 new, 5 there already, 1 without a label" in mmal("answer", CAMPAIGN / "ask-00.csv").stderr
    assert len(list((CAMPAIGN / "answers").iterdir())) == 2
    assert Counter(name for name, _ in kept()) == Counter(row["id"] for row in table()[:5])


def test_a_label_is_taken_back_only_when_told(campaign_place):
    mmal("answer", fill())
    name, before = table()[0]["id"], [path.read_bytes() for path in sorted((CAMPAIGN / "answers").iterdir())]
    fill(rows=slice(0, 1), label=lambda name: "class 0" if truth(name) != "class 0" else "class 1")
    new = table()[0]["label"]
    said = mmal("answer", CAMPAIGN / "ask-00.csv", code=2).stderr
    assert f"{name} is {new} here and was answered {truth(name)}; to take that back: --revise" in said
    said = mmal("answer", CAMPAIGN / "ask-00.csv", "--revise").stderr
    assert f"revised: {name} is {new}, was {truth(name)}" in said
    assert [path.read_bytes() for path in sorted((CAMPAIGN / "answers").iterdir())][:1] == before
    answers = journal.read(CAMPAIGN)
    assert [(a.label, a.revises) for a in answers if a.id == name] == [(truth(name), None), (new, truth(name))]
    assert journal.labels(answers)[name] == new


WRONG = {  # what is done to a filled table -> what is said
    "unknown id": (lambda t: t.replace("\n2,", "\n2,x"), "line 3: id 'xunlabelled-"),
    "unknown label": (lambda t: t.replace("class ", "Class ", 1), "unknown label 'Class"),
    "no column": (lambda t: t.replace("label", "Label", 1), "expected one called label"),
    "short row": (lambda t: t + "7\n", "line 8: 1 cells, expected 9"),
    "empty": (lambda t: "", "has columns none; expected one called id"),
    "label studio's table": (lambda t: t.replace("order", "annotation_id", 1), "expected its export as JSON"),
    "not json": (lambda t: "[" + t, "is not JSON"),
    "nested": (lambda t: "[" * 100_000, "is not JSON"),
    "quotation mark": (lambda t: t.replace("class", '"class', 1), "look at its quotation marks"),
    "long head": (lambda t: '"' + "x" * 200_000 + t, "look at its quotation marks"),
    "json of something": (lambda t: '{"a": 1}', "is no list of tasks with annotations"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_whole(campaign_place, case):
    change, said = WRONG[case]
    path = fill()
    path.write_text(change(path.read_text()))
    done = CliRunner().invoke(app.build(), ["answer", str(path)])
    assert done.exit_code in (2, 3)
    assert said in done.stderr
    assert str(path) in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (CAMPAIGN / "answers").exists()


def test_what_is_wrong_is_named_row_by_row(campaign_place):
    path = fill(label=lambda name: "clas 1")
    said = mmal("answer", path, code=2).stderr
    assert "nothing was taken, since 6 of 6 rows are wrong" in said
    assert said.count("unknown label 'clas 1'") == 5
    assert "did you mean 'class 1'? (known: class 0, class 1, class 2)" in said
    assert "and 1 more" in said
    path = fill()
    path.write_text(path.read_text() + path.read_text().splitlines()[1].replace(truth(table()[0]["id"]), "class 9"))
    assert "unknown label 'class 9'" in mmal("answer", path, code=2).stderr
    first = table()[0]["id"]
    other = next(f"class {c}" for c in range(3) if f"class {c}" != truth(first))
    path.write_text(f"id,label\n{first},{truth(first)}\n{first},{other}\n")
    assert f"line 3: {first} is {other} here and {truth(first)} above" in mmal("answer", path, code=2).stderr


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_as_excel_saves_them(campaign_place, delimiter):
    rows = [["label", " id"], *([truth(row["id"]), f" {row['id']} "] for row in table())]
    Path("mine.csv").write_text("\ufeff" + "\r\n".join(map(delimiter.join, rows)) + f"\r\n{delimiter}\r\n", encoding="utf-8")
    assert "6 new" in mmal("answer", "mine.csv").stderr  # the one campaign under ./campaigns
    assert journal.labels(journal.read(CAMPAIGN)) == {row["id"]: truth(row["id"]) for row in table()}


@pytest.mark.parametrize("name", ["An\udcffna", "An\nna"])
def test_a_name_that_nobody_can_read_is_refused(campaign_place, name):
    assert "expected a name in readable characters" in mmal("answer", fill(), "--by", name, code=2).stderr
    assert not (CAMPAIGN / "answers").exists()


def given(ids, guesses=("a",)):
    """Batch 0 of these ids, before it is written."""
    one = dict.fromkeys(guesses, [(0, 0.5)] * len(ids))
    cycle = Cycle(number=0, labels=1, best_epoch=0, validation={}, metrics={}, seconds={}, peak_memory_mb=0.0)
    return Ask(id="0", campaign="0", asked=ids, guesses=one, answers=0, labels_id="0", cycle=cycle, made={})


def test_modalities_may_be_called_as_our_columns_are():
    text = batch.text(given(["s1"], ["label", "id", "label+id"]), ["x", "y"], {})
    assert text.splitlines()[0] == (
        "order,id,label,modality label,modality label p,modality id,modality id p,label+id,label+id p"
    )
    assert [(row.id, row.label) for row in batch.read(text, Path("ask-00.csv"))] == [("s1", "")]


def test_a_note_whose_quotation_mark_nothing_closes_swallows_no_rows():
    with pytest.raises(UserError, match="look at its quotation marks"):
        batch.read('id,label,note\ns1,x,"hm\ns2,y,\n', Path("x.csv"))
    text = '\nid,label,note\ns1,x,5" wide\ns2,y,"so ""called"""\n'
    assert [row.id for row in batch.read(text, Path("x.csv"))] == ["s1", "s2"]


def test_ids_that_lost_their_zeros_are_recognised(tmp_path):
    (tmp_path / "x.csv").write_text("id,label\n7,x\n8,x\n")
    ask = given(["007", "070"])
    campaign = Campaign(id="0", config={"dataset": "d", "qm": "kcg"}, inputs={}, class_names=["x", "y"], command="")
    with pytest.raises(UserError) as refused:
        answering.take(tmp_path / "x.csv", tmp_path, campaign, [ask], None, False)
    assert "id '7' was never asked for; did you mean '007'" in str(refused.value)
    assert str(refused.value).endswith("line 3: id '8' was never asked for")


def test_files_that_are_not_there_or_belong_nowhere(campaign_place):
    assert "nothing.csv not found; expected a filled ask-00.csv" in mmal("answer", "nothing.csv", code=3).stderr
    Path("latin.csv").write_bytes("id,label\né,ü\n".encode("latin-1"))
    assert "data could not be read: Is a directory" in mmal("answer", "data", code=3).stderr
    assert "save it as CSV UTF-8" in mmal("answer", "latin.csv", code=3).stderr
    shutil.copytree(CAMPAIGN, "campaigns/tiny/random")
    said = mmal("answer", "latin.csv", code=2).stderr
    assert f"--campaign FOLDER (there: {CAMPAIGN}, campaigns/tiny/random)" in said
    shutil.rmtree("campaigns")
    assert "(there: none)" in mmal("answer", "latin.csv", code=2).stderr
    assert "campaign.yaml not found; make it by: mmal ask" in mmal("answer", "latin.csv", "--campaign", "c", code=3).stderr
