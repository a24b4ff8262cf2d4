"""Tasks for Label Studio, and what its export says."""

import json
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from campaigns import CAMPAIGN, ask, kept, mmal, table, truth

from mmal_cli.annotation import label_studio


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


def test_tasks_match_the_labelling_interface(campaign_place):
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


def test_an_export_is_taken(campaign_place):
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
def test_an_odd_export_is_refused(campaign_place, change, said):
    ask("--format", "label-studio")
    assert said in mmal("answer", exported(change), code=3).stderr
    assert not (CAMPAIGN / "answers").exists()


def test_annotators_who_disagree_are_named_task_by_task(campaign_place):
    def change(tasks):
        for task in tasks[1:3]:
            task["annotations"] = [annotation("class 0"), annotation("class 1")]

    ask("--format", "label-studio")
    said = mmal("answer", exported(change), code=2).stderr
    for number, row in ((71, table()[1]), (72, table()[2])):
        assert f"task {number}: {row['id']} is class 1 here and class 0 above" in said
    assert not (CAMPAIGN / "answers").exists()
