"""docs/results/campaign.md keeps its promise on the real Share: two campaigns that two people answer, as its blocks have it."""

import csv
from itertools import pairwise

import pages
import pytest
import real
import yaml

from mmal_cli.annotation import journal
from mmal_cli.annotation.campaign import Ask
from mmal_cli.core.manifest import Run

pytest.importorskip("polars")


@real.needs("cifar-10-batches-py", "MNIST/raw")
def test_two_campaigns_on_photographs_and_digits_whose_labels_are_withheld(tmp_path):
    work, said = pages.run("results/campaign.md", tmp_path, {"sources": real.ROOT.resolve()}, seconds=1800)
    with (work / "truth.csv").open(newline="") as file:
        truth = dict(csv.reader(file))
    first = {}
    for qm in ("random", "badge"):
        campaign = work / "campaigns/pairs" / qm
        run = Run.read(campaign / "run.yaml")
        assert [cycle.labels for cycle in run.cycles] == [200, 250, 300, 350, 400, 450]
        first[qm] = run.cycles[0].metrics
        answers = journal.read(campaign)
        assert len(journal.labels(answers)) == len(answers) == 250
        assert all(truth[answer.id] == answer.label for answer in answers)
        counts = [[answer.by for answer in answers if answer.ask == ask] for ask in range(5)]
        assert [(of.count("Anna"), of.count("Ben")) for of in counts] == [(25, 25)] * 5
        assert all(set(one.asked).isdisjoint(other.asked) for one, other in pairwise(asked(campaign)))
    assert first["random"] == first["badge"]  # the same labels, the same seed
    assert run.cycles[-1].metrics["digit"]["balanced_accuracy"] > run.cycles[-1].metrics["photo"]["balanced_accuracy"] > 0.1
    rows = yaml.safe_load((work / "results/aulc.yaml").read_text(encoding="utf-8"))["rows"]
    assert [(row["dataset"], row["regime"], row["qm"], row["cycles"]) for row in rows] == [
        ("pairs", "campaign", qm, 6) for qm in ("badge", "random")
    ]
    assert (work / "report/index.html").exists()
    assert "photo" in said


def asked(campaign):
    return [Ask.read(path) for path in sorted(campaign.glob("cycle-*.yaml"))]
