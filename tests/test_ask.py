"""`mmal ask`: batches as people see them, what is trained on, who may ask, and mistakes."""

import json
import shlex
import shutil
from contextlib import chdir, nullcontext
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from campaigns import CAMPAIGN, OPTIONS, ask, fill, kept, mmal, table, truth
from sweeps import FAST

from mmal_cli.annotation import asking, journal, label_studio
from mmal_cli.annotation.campaign import Ask
from mmal_cli.cell import Cell
from mmal_cli.core import running, shards
from mmal_cli.core.manifest import UNLABELLED, Dataset, Run
from mmal_cli.core.settings import resolve


def test_a_batch_says_whom_to_ask_about_and_what_the_model_thinks(campaign_place, withheld_data):
    rows, dataset = table(), Dataset.read(withheld_data / "dataset.yaml")
    samples = shards.read_split(withheld_data, dataset, UNLABELLED)
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


def test_answers_are_learnt_from_and_the_curve_is_that_of_validation(campaign_place):
    shutil.copytree(campaign_place / "data/tiny", campaign_place / "whole")
    (campaign_place / "data/tiny").unlink()
    (campaign_place / "whole").rename(campaign_place / "data/tiny")
    (campaign_place / "data/tiny/test-00000.h5").unlink()  # nothing opens it
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


def test_the_next_batch_depends_on_no_order_of_answers(campaign_place, tmp_path):
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


def test_other_answers_make_another_batch(campaign_place):
    mmal("answer", fill(label=lambda name: "class 1"))
    ask()
    first = table(1)
    shutil.rmtree(CAMPAIGN)
    ask()
    mmal("answer", fill())
    ask()
    assert table(1) != first


def test_an_open_batch_is_waited_for_unless_told(campaign_place):
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


def test_a_batch_whose_file_is_lost_is_written_again_and_in_another_format(campaign_place):
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


def test_a_labelling_interface_that_people_added_to_stays(campaign_place):
    ask("--format", "label-studio")
    (CAMPAIGN / label_studio.CONFIG).write_text("<View>mine</View>")
    ask("--again", "--format", "label-studio")
    assert (CAMPAIGN / label_studio.CONFIG).read_text() == "<View>mine</View>"


def test_a_campaign_that_was_moved_goes_on_where_it_is(campaign_place):
    fill()
    shutil.move(CAMPAIGN, "our campaign")
    said = mmal("answer", "our campaign/ask-00.csv").stderr
    (command,) = (line.removeprefix("go on: ") for line in said.splitlines() if line.startswith("go on: "))
    mmal(*shlex.split(command)[1:], "--gpu", "none", "--progress", "none")
    assert Path("our campaign/ask-01.csv").exists()
    assert not CAMPAIGN.exists()


def test_a_full_disk_leaves_nobody_at_work(campaign_place, monkeypatch):
    mmal("answer", fill())

    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(running.os, "fdopen", lambda file, mode: nullcontext(Full()))
        assert "No space left on device; make room or take another folder" in ask(code=3).stderr
    assert not (CAMPAIGN / running.RUNNING).exists()
    ask()


def test_a_file_in_the_way_is_never_written_over(campaign_place):
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


def test_a_campaign_goes_on_with_its_own_settings_alone(campaign_place):
    mmal("answer", fill())
    said = ask("--set", "train.lr=0.02", code=2).stderr
    assert "belongs to another configuration: config.settings.train.lr (there 0.01, asked 0.02)" in said
    assert "it goes on with: mmal ask --data data/tiny --qm badge --size 6" in said
    assert "config.seed" in ask("--seed", 1, code=2).stderr


def test_two_asks_at_once(campaign_place):
    mmal("answer", fill())
    with running.claimed(CAMPAIGN, "x", "ask", 1, 1):
        assert "another mmal ask is at work there" in ask(code=2).stderr
    assert not (CAMPAIGN / "cycle-01.yaml").exists()


def test_who_was_taken_over_writes_nothing(campaign_place, monkeypatch):
    def lost(claim, done, total):
        raise running.Lost

    mmal("answer", fill())
    monkeypatch.setattr(running.Claim, "progress", lost)
    assert "was taken over by another mmal ask" in ask(code=2).stderr
    assert not (CAMPAIGN / "cycle-01.yaml").exists()


def test_sizes(campaign_place):
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
