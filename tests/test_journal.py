"""The journal of answers: nothing is lost, whoever answers at once, is killed, or finds the disk full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import CAMPAIGN, ask, fill, kept, mmal, table, truth
from sweeps import until

from mmal_cli.annotation import journal
from mmal_cli.annotation.journal import Answer

ROOT = Path(__file__).resolve().parent.parent


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


def test_people_who_answer_at_once_lose_nothing(campaign_place):
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


def test_a_killed_answer_leaves_the_journal_whole(campaign_place, monkeypatch):
    path = fill()

    def killed(*where):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", killed)
        mmal("answer", path, code=130)
    assert journal.read(CAMPAIGN) == []
    (CAMPAIGN / "answers/0123456789abcdef.part").write_text('{"id": "half')  # of a process that could not even clean up
    assert "6 new" in mmal("answer", path).stderr


def test_a_disk_that_refuses(campaign_place, monkeypatch):
    path = fill()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "answers could not be written: No space left on device; nothing was taken" in mmal("answer", path, code=3).stderr
    assert not list((CAMPAIGN / "answers").iterdir())


def test_a_damaged_journal_or_campaign_is_named(campaign_place):
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


def test_answers_need_nothing_but_the_campaign_s_folder(campaign_place):
    (campaign_place / "data/tiny").unlink()
    assert "6 new" in mmal("answer", fill()).stderr
