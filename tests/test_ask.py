"""Campaigns: batches and answers as people see them, what is trained on, journals that lose nothing, and mistakes."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from collections import Counter
from contextlib import chdir, nullcontext
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from sweeps import FAST, until
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.annotation import answering, asking, batch, journal, label_studio
from mmal_cli.annotation.campaign import Ask, Campaign
from mmal_cli.annotation.journal import Answer
from mmal_cli.cell import Cell
from mmal_cli.core import running, shards
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import UNLABELLED, Cycle, Dataset, Run
from mmal_cli.core.settings import resolve

ROOT = Path(__file__).resolve().parent.parent
CAMPAIGN = Path("campaigns/tiny/badge-nomoddrop")
OPTIONS = ["--no-moddrop", "--with", "quick", "--gpu", "none", "--progress", "none"]
OPTIONS += [word for text in (*FAST, "normalise.image={mean: [0.2], std: [0.2]}") for word in ("--set", text)]


def mmal(*words, code=0):
    """Runs a command here; what it said."""
    done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def ask(*words, code=0, size=6):
    return mmal("ask", "--data", "data/tiny", "--qm", "badge", "--size", size, *OPTIONS, *words, code=code)


def table(number=0):
    with (CAMPAIGN / f"ask-{number:02d}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def truth(name):
    return f"class {int(name.rpartition('-')[2]) % 3}"


def fill(number=0, rows=None, label=truth, to=None):
    """Fills a batch's table, or some rows of it; writes it to its place or another."""
    found = table(number)
    for row in found if rows is None else found[rows]:
        row["label"] = label(row["id"])
    path = to or CAMPAIGN / f"ask-{number:02d}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path


def kept():
    """Every answer in the journal."""
    return [(answer.id, answer.label) for answer in journal.read(CAMPAIGN)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 samples with labels, 60 without, some of which lack a modality."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny.make(folder, train=60, unlabelled=60, absent={"a": 0.3, "b": 0.2})
    return folder


@pytest.fixture(scope="module")
def asked(data, tmp_path_factory):
    """A folder in which one batch was asked for; not changed by any test."""
    place = tmp_path_factory.mktemp("asked")
    (place / "data").mkdir()
    (place / "data/tiny").symlink_to(data)
    with chdir(place):
        assert ask().stdout.splitlines()[-1] == str(CAMPAIGN / "ask-00.csv")
    return place


@pytest.fixture
def place(asked, tmp_path):
    """A copy of it, to work in."""
    shutil.copytree(asked, tmp_path / "w", symlinks=True)
    with chdir(tmp_path / "w"):
        yield tmp_path / "w"


# --- asking


def test_a_batch_says_whom_to_ask_about_and_what_the_model_thinks(place, data):
    rows, dataset = table(), Dataset.read(data / "dataset.yaml")
    samples = shards.read_split(data, dataset, UNLABELLED)
    present = dict(zip(samples.id.tolist(), samples.present.tolist(), strict=True))
    assert [row["order"] for row in rows] == list("123456")
    assert len({row["id"] for row in rows} & present.keys()) == 6
    assert list(rows[0]) == ["order", "id", "label", "a", "a p", "b", "b p", "a+b", "a+b p"]
    record = Ask.read(CAMPAIGN / "cycle-00.yaml")
    for k, row in enumerate(rows):
        assert row["label"] == ""
        for subset, has in (("a", present[row["id"]][0]), ("b", present[row["id"]][1]), ("a+b", True)):
            guess = record.guesses[subset][k]
            assert bool(row[subset]) == bool(row[f"{subset} p"]) == has == (guess is not None)
            assert not has or (row[subset] in dataset.class_names and 1 / 3 <= float(row[f"{subset} p"]) <= 1)
    assert not all(all(present[row["id"]]) for row in rows), "a sample that lacks a modality is among them"


def test_answers_are_learnt_from_and_the_curve_is_that_of_validation(place):
    shutil.copytree(place / "data/tiny", place / "whole")
    (place / "data/tiny").unlink()
    (place / "whole").rename(place / "data/tiny")
    (place / "data/tiny/test-00000.h5").unlink()  # nothing opens it
    assert "6 new" in mmal("answer", fill(), "--by", "Anna").stderr
    said = ask()
    assert "Balanced accuracy on 15 validation samples" in said.stdout
    assert not {row["id"] for row in table(0)} & {row["id"] for row in table(1)}
    mmal("answer", fill(1))
    ask(size=0)
    run = Run.read(CAMPAIGN / "run.yaml")
    assert [cycle.labels for cycle in run.cycles] == [45, 51, 57]
    assert (run.config["regime"], run.config["measured_on"], run.config["qm"]) == ("campaign", "validation", "badge")
    for cycle in run.cycles:
        assert cycle.metrics["a+b"]["balanced_accuracy"] == pytest.approx(cycle.validation["balanced_accuracy"])
    assert "campaign" in mmal("aulc", "campaigns").stdout
    (row,) = yaml.safe_load(Path("results/aulc.yaml").read_text())["rows"]
    assert (row["labels"], row["cycles"], row["seeds"]) == ([45, 51, 57], 3, [0])
    assert Path(mmal("report", "campaigns").stdout.splitlines()[-1]).exists()
    assert [answer.by for answer in journal.read(CAMPAIGN)] == ["Anna"] * 6 + [None] * 6


def test_the_next_batch_depends_on_no_order_of_answers(place, tmp_path):
    shutil.copytree(CAMPAIGN, tmp_path / "other")
    mmal("answer", fill())
    ask()
    backwards = list(reversed(table()))
    for part in (backwards[:2], backwards[2:]):
        text = "label,id\n" + "".join(f"{truth(row['id'])},{row['id']}\n" for row in part)
        (tmp_path / "some.csv").write_text(text)
        mmal("answer", tmp_path / "some.csv", "--campaign", tmp_path / "other")
    ask("--campaign", tmp_path / "other")
    names = [answer.id for answer in journal.read(tmp_path / "other")]
    assert names != [answer.id for answer in journal.read(CAMPAIGN)]
    assert (tmp_path / "other/ask-01.csv").read_bytes() == (CAMPAIGN / "ask-01.csv").read_bytes()
    one, other = (Run.read(folder / "run.yaml") for folder in (CAMPAIGN, tmp_path / "other"))
    assert one.id == other.id


def test_other_answers_make_another_batch(place):
    mmal("answer", fill(label=lambda name: "class 1"))
    ask()
    first = table(1)
    shutil.rmtree(CAMPAIGN)
    ask()
    mmal("answer", fill())
    ask()
    assert table(1) != first


def test_an_open_batch_is_waited_for_unless_told(place):
    mmal("answer", fill(rows=slice(0, 2)))
    said = ask(code=2).stderr
    assert f"{CAMPAIGN}/ask-00.csv is open: 2 of 6 answered" in said
    assert "--again" in said
    ask("--again")
    assert not {row["id"] for row in table(0)} & {row["id"] for row in table(1)}
    assert Run.read(CAMPAIGN / "run.yaml").cycles[1].labels == 47
    mmal("answer", fill(1))
    ask()  # what is left open of earlier batches is not waited for
    assert len({row["id"] for number in range(3) for row in table(number)}) == 18
    mmal("answer", fill(0))
    assert len(kept()) == 12


def test_a_batch_whose_file_is_lost_is_written_again_and_in_another_format(place):
    before = (CAMPAIGN / "ask-00.csv").read_bytes()
    (CAMPAIGN / "ask-00.csv").unlink()
    (CAMPAIGN / "run.yaml").unlink()
    assert "nothing was trained" in ask().stderr
    assert (CAMPAIGN / "ask-00.csv").read_bytes() == before
    assert len(Run.read(CAMPAIGN / "run.yaml").cycles) == 1
    assert "labelling interface label-studio.xml" in ask("--format", "label-studio").stderr
    assert "mmal answer EXPORT.json; or ask on" in ask("--format", "label-studio", code=2).stderr
    tasks = json.loads((CAMPAIGN / "ask-00.json").read_text())
    assert [task["data"]["sample_id"] for task in tasks] == [row["id"] for row in table()]
    assert not (CAMPAIGN / "cycle-01.yaml").exists()


def test_a_labelling_interface_that_people_added_to_stays(place):
    ask("--format", "label-studio")
    (CAMPAIGN / label_studio.CONFIG).write_text("<View>mine</View>")
    ask("--again", "--format", "label-studio")
    assert (CAMPAIGN / label_studio.CONFIG).read_text() == "<View>mine</View>"


def test_a_campaign_that_was_moved_goes_on_where_it_is(place):
    fill()
    shutil.move(CAMPAIGN, "our campaign")
    said = mmal("answer", "our campaign/ask-00.csv").stderr
    (command,) = (line.removeprefix("go on: ") for line in said.splitlines() if line.startswith("go on: "))
    mmal(*shlex.split(command)[1:], "--gpu", "none", "--progress", "none")
    assert Path("our campaign/ask-01.csv").exists()
    assert not CAMPAIGN.exists()


def test_a_full_disk_leaves_nobody_at_work(place, monkeypatch):
    mmal("answer", fill())

    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(running.os, "fdopen", lambda file, mode: nullcontext(Full()))
        assert "No space left on device; make room or take another folder" in ask(code=3).stderr
    assert not (CAMPAIGN / running.RUNNING).exists()
    ask()


def test_a_file_in_the_way_is_never_written_over(place):
    mmal("answer", fill())
    (CAMPAIGN / "ask-01.csv").write_text("somebody's")
    assert "ask-01.csv is there, though nothing of it was asked" in ask(code=3).stderr
    assert (CAMPAIGN / "ask-01.csv").read_text() == "somebody's"


@pytest.mark.parametrize("grouped", [False, True])
def test_validation_shares_no_group_with_what_is_learnt_from_or_asked(tmp_path, grouped):
    dataset = tiny.make(tmp_path / "g", train=60, unlabelled=60, grouped=grouped)
    cell = Cell(dataset, "badge", "low", 3, resolve(dataset, "low", "badge", ["quick"], FAST)[0])
    labels = {"unlabelled-00000007": "class 2", "unlabelled-00000030": "class 0"}
    seen = {*labels, "unlabelled-00000031"}
    found = asking.gather(cell, tmp_path / "g", labels, seen, torch.device("cpu"))
    groups = torch.cat([torch.arange(60), torch.arange(60)]) // tiny.GROUP
    tested = set(groups[found.validation].tolist()) if grouped else set()
    answered = found.pool.labelled_index[found.pool.labelled_index >= 60]
    assert answered.tolist() == [67, 90]
    assert found.split.labels[answered].tolist() == [2, 0]
    in_train = found.pool.labelled_index[found.pool.labelled_index < 60]
    assert (found.split.labels[found.pool.unlabelled_index] == -1).all()
    assert not tested & set(groups[in_train].tolist())
    assert not tested & set(groups[found.pool.unlabelled_index].tolist())
    assert not {91, *answered.tolist()} & set(found.pool.unlabelled_index.tolist())
    outside = sum(int(group) in tested for group in groups[60:])
    assert len(found.pool.unlabelled_index) >= 60 - 3 - outside
    assert len(found.validation) == 15
    assert int(found.validation.max()) < 60


def test_a_campaign_goes_on_with_its_own_settings_alone(place):
    mmal("answer", fill())
    said = ask("--set", "train.lr=0.02", code=2).stderr
    assert "belongs to another configuration: config.settings.train.lr (there 0.01, asked 0.02)" in said
    assert "it goes on with: mmal ask --data data/tiny --qm badge --size 6" in said
    assert "config.seed" in ask("--seed", 1, code=2).stderr


def test_two_asks_at_once(place):
    mmal("answer", fill())
    with running.claimed(CAMPAIGN, "x", "ask", 1, 1):
        assert "another mmal ask is at work there" in ask(code=2).stderr
    assert not (CAMPAIGN / "cycle-01.yaml").exists()


def test_who_was_taken_over_writes_nothing(place, monkeypatch):
    def lost(claim, done, total):
        raise running.Lost

    mmal("answer", fill())
    monkeypatch.setattr(running.Claim, "progress", lost)
    assert "was taken over by another mmal ask" in ask(code=2).stderr
    assert not (CAMPAIGN / "cycle-01.yaml").exists()


def test_sizes(place):
    mmal("answer", fill())
    said = ask(size=55, code=2).stderr
    assert "54 of 60 unlabelled samples are left to be asked for, --size is 55; at most: --size 54" in said
    ask(size=54)
    mmal("answer", fill(1))
    assert "measure what there is: --size 0" in ask(size=1, code=2).stderr
    said = ask(size=0)
    assert said.stdout.splitlines()[-1] == str(CAMPAIGN)
    assert [cycle.labels for cycle in Run.read(CAMPAIGN / "run.yaml").cycles] == [45, 51, 105]


def test_a_class_without_a_label_and_other_data_are_refused_and_leave_nothing(tmp_path, tiny_data):
    dataset = tiny.make(tmp_path / "data/tiny", train=2, unlabelled=9)
    with chdir(tmp_path):
        said = ask("--set", "regimes.low.validation=1", code=2).stderr
        assert f"{dataset.name}: 2 of 3 classes have no labelled sample to train on beside the 1 of validation" in said
        assert "--set regimes.low.validation=..." in said
        assert "validation size 15 is not smaller than train with its 2 samples" in ask(code=2).stderr
        words = ["ask", "--data", tiny_data, "--qm", "badge", "--size", 3, *OPTIONS]
        assert "has no sample without a label to ask about; mmal prepare-own" in mmal(*words, code=2).stderr
        assert not Path("campaigns").exists()


def test_restricted_data_make_a_private_folder(tmp_path):
    tiny.make(tmp_path / "data/tiny", train=60, unlabelled=9, restricted=True)
    with chdir(tmp_path):
        assert "tiny is restricted" in ask().stderr
        assert CAMPAIGN.stat().st_mode & 0o777 == 0o700
        mmal("answer", fill())


# --- answering


def test_half_a_batch_is_taken_and_the_same_file_again_changes_nothing(place):
    said = mmal("answer", fill(rows=slice(0, 4)))
    assert "4 new, 0 there already, 2 without a label" in said.stderr
    assert said.stdout.splitlines()[-1] == str(CAMPAIGN / "answers/000001.jsonl")
    said = mmal("answer", fill(rows=slice(0, 5)))
    assert "1 new, 4 there already, 1 without a label" in said.stderr
    assert "0 new, 5 there already, 1 without a label" in mmal("answer", CAMPAIGN / "ask-00.csv").stderr
    assert len(list((CAMPAIGN / "answers").iterdir())) == 2
    assert Counter(name for name, _ in kept()) == Counter(row["id"] for row in table()[:5])


def test_a_label_is_taken_back_only_when_told(place):
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
def test_a_wrong_file_is_refused_whole(place, case):
    change, said = WRONG[case]
    path = fill()
    path.write_text(change(path.read_text()))
    done = CliRunner().invoke(app.build(), ["answer", str(path)])
    assert done.exit_code in (2, 3)
    assert said in done.stderr
    assert str(path) in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (CAMPAIGN / "answers").exists()


def test_what_is_wrong_is_named_row_by_row(place):
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
def test_tables_as_excel_saves_them(place, delimiter):
    rows = [["label", " id"], *([truth(row["id"]), f" {row['id']} "] for row in table())]
    Path("mine.csv").write_text("\ufeff" + "\r\n".join(map(delimiter.join, rows)) + f"\r\n{delimiter}\r\n", encoding="utf-8")
    assert "6 new" in mmal("answer", "mine.csv").stderr  # the one campaign under ./campaigns
    assert journal.labels(journal.read(CAMPAIGN)) == {row["id"]: truth(row["id"]) for row in table()}


@pytest.mark.parametrize("name", ["An\udcffna", "An\nna"])
def test_a_name_that_nobody_can_read_is_refused(place, name):
    assert "expected a name in readable characters" in mmal("answer", fill(), "--by", name, code=2).stderr
    assert not (CAMPAIGN / "answers").exists()


def given(ids, guesses=("a",)):
    """Batch 0 of these ids, before it is written."""
    one = dict.fromkeys(guesses, [(0, 0.5)] * len(ids))
    cycle = Cycle(number=0, labels=1, best_epoch=0, validation={}, metrics={}, seconds={}, peak_memory_mb=0.0)
    return Ask(id="0", campaign="0", asked=ids, guesses=one, answers=0, labels_id="0", cycle=cycle, made={})


def test_modalities_may_be_called_as_our_columns_are():
    text = batch.text(given(["s1"], ["label", "id", "label+id"]), ["x", "y"])
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
    campaign = Campaign(id="0", config={}, inputs={}, class_names=["x", "y"], command="")
    with pytest.raises(UserError) as refused:
        answering.take(tmp_path / "x.csv", tmp_path, campaign, [ask], None, False)
    assert "id '7' was never asked for; did you mean '007'" in str(refused.value)
    assert str(refused.value).endswith("line 3: id '8' was never asked for")


def test_files_that_are_not_there_or_belong_nowhere(place):
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


# --- Label Studio


def exported(change=lambda tasks: None):
    """What Label Studio exports of the batch, everything answered."""
    tasks = json.loads((CAMPAIGN / "ask-00.json").read_text())
    for number, task in enumerate(tasks):
        task |= {"id": 70 + number, "annotations": [annotation(truth(task["data"]["sample_id"]))]}
    change(tasks)
    Path("export.json").write_text(json.dumps(tasks))
    return "export.json"


def annotation(label, cancelled=False):
    result = [{"id": "x", "from_name": "label", "to_name": "sample", "type": "choices", "value": {"choices": [label]}}]
    return {"id": 1, "completed_by": 1, "was_cancelled": cancelled, "result": result if label else []}


def test_tasks_match_the_labelling_interface(place):
    ask("--format", "label-studio")
    root = xml.parse(CAMPAIGN / label_studio.CONFIG).getroot()
    shown, control = root.find("Text"), root.find("Choices")
    tasks = json.loads((CAMPAIGN / "ask-00.json").read_text())
    choices = [choice.get("value") for choice in control]
    assert choices == ["class 0", "class 1", "class 2"]
    ids = set()
    for task, row in zip(tasks, table(), strict=True):
        assert task["data"][shown.get("value")[1:]] == row["id"]
        said = {}
        for prediction in task["predictions"]:
            (result,) = prediction["result"]
            assert (result["from_name"], result["to_name"]) == (control.get("name"), shown.get("name"))
            assert result["type"] == "choices"
            ids.add(result["id"])
            (said[prediction["model_version"].split()[1]],) = result["value"]["choices"]
            assert 1 / 3 <= prediction["score"] <= 1
        assert said == {subset: row[subset] for subset in ("a", "b", "a+b") if row[subset]}
    assert len(ids) == sum(len(task["predictions"]) for task in tasks)


def test_an_export_is_taken(place):
    ask("--format", "label-studio")

    def change(tasks):
        tasks[0]["annotations"] = []
        tasks[1]["annotations"] = [annotation("class 0", cancelled=True)]
        tasks[2]["annotations"] += [annotation(truth(tasks[2]["data"]["sample_id"]))]
        tasks[3]["annotations"] = [annotation("")]
        note = {"from_name": "note", "type": "textarea", "value": {"text": ["?"]}}
        tasks[3]["annotations"] += [annotation("") | {"result": [note]}]
        tasks[4]["annotations"][0]["result"] += [note, {"type": "relation", "from_id": "x", "to_id": "y"}]

    said = mmal("answer", exported(change)).stderr
    assert "3 new, 0 there already, 3 without a label" in said
    assert kept() == [(row["id"], truth(row["id"])) for k, row in enumerate(table()) if k in (2, 4, 5)]


def two_choices(tasks):
    tasks[1]["annotations"][0]["result"][0]["value"]["choices"] = ["class 0", "class 1"]


def no_id(tasks):
    del tasks[1]["data"]["sample_id"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (two_choices, "one choice of 'label', as label-studio.xml has it"),
        (no_id, "task 71 is not of this campaign"),
    ],
)
def test_an_odd_export_is_refused(place, change, said):
    ask("--format", "label-studio")
    assert said in mmal("answer", exported(change), code=3).stderr
    assert not (CAMPAIGN / "answers").exists()


def test_annotators_who_disagree_are_named_task_by_task(place):
    def change(tasks):
        for task in tasks[1:3]:
            task["annotations"] = [annotation("class 0"), annotation("class 1")]

    ask("--format", "label-studio")
    said = mmal("answer", exported(change), code=2).stderr
    for number, row in ((71, table()[1]), (72, table()[2])):
        assert f"task {number}: {row['id']} is class 1 here and class 0 above" in said
    assert not (CAMPAIGN / "answers").exists()


# --- the journal


def line(name, label, **more):
    return Answer(id=name, label=label, ask=0, at="2026-01-01T00:00:00Z", **more)


def test_the_last_answer_counts_and_the_rest_of_the_order_does_not():
    answers = [line("b", "x"), line("a", "x"), line("b", "y", revises="x")]
    assert list(journal.labels(answers).items()) == [("a", "x"), ("b", "y")]
    assert journal.labels([answers[1], answers[0], answers[2]]) == journal.labels(answers)


def test_who_was_slower_decides_again_on_what_the_quicker_said(tmp_path):
    calls = []

    def slow(there):
        calls.append([answer.id for answer in there])
        if len(calls) == 1:
            journal.append(tmp_path, lambda there: [line("quick", "x")])
        return [line("slow", "x")]

    assert journal.append(tmp_path, slow) == tmp_path / "answers/000002.jsonl"
    assert calls == [[], ["quick"]]
    assert [answer.id for answer in journal.read(tmp_path)] == ["quick", "slow"]
    assert not list((tmp_path / "answers").glob("*.part"))


@pytest.mark.parametrize("name", ["An\u2028na", "An\x85na", "An\nna"])
def test_a_journal_is_read_whatever_counts_as_the_end_of_a_line_elsewhere(tmp_path, name):
    journal.append(tmp_path, lambda there: [line("a", "x", by=name), line("b", "x")])
    assert [(answer.id, answer.by) for answer in journal.read(tmp_path)] == [("a", name), ("b", None)]


PEOPLE, FILES = 4, 10
PERSON = """
import sys
import time
from pathlib import Path

from mmal_cli.annotation import answering
from mmal_cli.annotation.campaign import Campaign, asks
from mmal_cli.core.errors import UserError

folder, me, refused = Path(sys.argv[1]), sys.argv[2], 0
campaign = Campaign.read(folder / "campaign.yaml")
asked = asks(folder, campaign)
Path(f"ready-{me}").touch()
while not Path("go").exists():
    time.sleep(0.001)
for path in sorted(Path().glob(f"{me}-*.csv")):
    try:
        answering.take(path, folder, campaign, asked, me, False)
    except UserError as error:
        assert "to take that back: --revise" in str(error)
        refused += 1
print(refused)
"""


def test_people_who_answer_at_once_lose_nothing(place):
    """Processes that start together give ten files each: a sample of his own in each, and one of all, seen differently."""
    ask("--again", size=PEOPLE * FILES)
    common, names = [row["id"] for row in table(0)], [row["id"] for row in table(1)]
    for k in range(PEOPLE):
        for number, name in enumerate(names[k::PEOPLE]):
            Path(f"{k}-{number:02d}a.csv").write_text(f"id,label\n{name},{truth(name)}\n")
        for number, name in enumerate(common):
            Path(f"{k}-{number:02d}b.csv").write_text(f"id,label\n{name},class {k % 3}\n")
    words, env = [sys.executable, "-c", PERSON, CAMPAIGN], os.environ | {"PYTHONPATH": str(ROOT)}
    people = [subprocess.Popen([*words, str(k)], stdout=subprocess.PIPE, text=True, env=env) for k in range(PEOPLE)]
    until(lambda: len(list(Path().glob("ready-*"))) == PEOPLE)
    Path("go").touch()
    refused = [int(process.communicate()[0]) for process in people]
    found = kept()
    assert len(found) == len(dict(found)) == len(names) + len(common)
    assert dict(found).items() >= {name: truth(name) for name in names}.items()
    first = [int(dict(found)[name][-1]) for name in common]  # the quickest: who said the same is content, others are told
    assert refused == [sum(k % 3 != label for label in first) for k in range(PEOPLE)]


def test_a_killed_answer_leaves_the_journal_whole(place, monkeypatch):
    path = fill()

    def killed(*where):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", killed)
        mmal("answer", path, code=130)
    assert journal.read(CAMPAIGN) == []
    (CAMPAIGN / "answers/0123456789abcdef.part").write_text('{"id": "half')  # of a process that could not even clean up
    assert "6 new" in mmal("answer", path).stderr


def test_a_disk_that_refuses(place, monkeypatch):
    path = fill()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "answers could not be written: No space left on device; nothing was taken" in mmal("answer", path, code=3).stderr
    assert not list((CAMPAIGN / "answers").iterdir())


def test_a_damaged_journal_or_campaign_is_named(place):
    mmal("answer", fill(rows=slice(0, 2)))
    mmal("answer", fill())
    first = CAMPAIGN / "answers/000001.jsonl"
    text = first.read_text()
    first.write_text(text[:-20])
    assert f"{first} is damaged or edited" in ask(code=3).stderr
    first.write_text(text.replace('"label"', '"labl"'))
    assert f"{first}, line 1: unknown key 'labl'" in ask(code=3).stderr
    first.write_text(text.replace("class ", "klass "))
    assert "the journal of answers was edited" in ask(code=3).stderr
    first.unlink()
    assert f"{first} is missing, 000002.jsonl is there" in ask(code=3).stderr
    first.write_text(text)
    first.write_text("")
    assert f"{first} is damaged or edited" in mmal("answer", CAMPAIGN / "ask-00.csv", code=3).stderr
    first.write_text(text)
    ask()
    first.write_text(text.partition("\n")[0] + "\n")  # whole lines are gone
    for words in (ask, lambda code: mmal("answer", CAMPAIGN / "ask-00.csv", code=code)):
        said = words(code=3).stderr
        assert "5 samples are answered there, a model learnt from 6; bring back what it was" in " ".join(said.split())
    first.write_text(text)
    shutil.copy(CAMPAIGN / "cycle-00.yaml", CAMPAIGN / "cycle-03.yaml")
    assert "cycle-03.yaml is not cycle 2" in mmal("answer", CAMPAIGN / "ask-00.csv", code=3).stderr


def test_answers_need_nothing_but_the_campaign_s_folder(place):
    (place / "data/tiny").unlink()
    assert "6 new" in mmal("answer", fill()).stderr
