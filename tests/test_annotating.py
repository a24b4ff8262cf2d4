"""docs/annotating.md keeps its promise: its blocks, run one after the other in an empty folder, are a whole campaign."""

import csv

import pages
import pytest
import yaml

from mmal_cli.annotation import journal
from mmal_cli.core.manifest import Run

pytest.importorskip("polars")


def test_a_campaign_on_real_images_whose_labels_are_withheld(tmp_path):
    work, said = pages.run("annotating.md", tmp_path)
    campaign = work / "campaigns/digits/badge"
    run = Run.read(campaign / "run.yaml")
    first = run.cycles[0].labels
    assert [cycle.labels for cycle in run.cycles] == [first, first + 12, first + 24]
    assert run.cycles[-1].metrics["one+two"]["balanced_accuracy"] > 0.5
    with (work / "truth.csv").open(newline="") as file:
        truth = dict(csv.reader(file))
    answers = journal.read(campaign)
    assert {answer.by for answer in answers[:12]} == {"Anna", "Ben"}
    assert len(journal.labels(answers)) == len(answers) == 24
    assert all(truth[answer.id] == answer.label for answer in answers)
    (row,) = yaml.safe_load((work / "results/aulc.yaml").read_text(encoding="utf-8"))["rows"]
    assert (row["dataset"], row["regime"], row["qm"], row["cycles"]) == ("digits", "campaign", "badge", 3)
    assert "order,id,label,table one,table two,one,one p,two,two p,one+two,one+two p\n1,s" in said
    assert '<Image name="show_two" value="$show_two"/>' in said
