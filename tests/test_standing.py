"""`mmal status` of a folder of campaigns: how much was asked and answered."""

import json
import shutil
from datetime import UTC, datetime

from campaigns import CAMPAIGN, ask, fill, mmal

from mmal_cli.core import files, running


def test_campaigns_are_counted_from_their_folders(campaign_place):
    expected = {"folder": str(CAMPAIGN), "dataset": "tiny", "method": "badge"}
    expected |= {"batches": 1, "answers": 0, "answered": 0, "asked": 6, "running": None}
    assert json.loads(mmal("status", "campaigns", "--json").stdout) == [expected]
    mmal("answer", fill(rows=slice(0, 4)))
    assert json.loads(mmal("status", CAMPAIGN, "--json").stdout) == [expected | {"answers": 4, "answered": 4}]
    said = mmal("status", "campaigns").stdout.splitlines()
    assert next(line for line in said if str(CAMPAIGN) in line).split() == [
        str(CAMPAIGN),
        "tiny",
        "badge",
        "1",
        "4",
        "4",
        "of",
        "6",
    ]
    assert "mmal aulc FOLDER" in said[-1]


def test_an_ask_at_work_is_seen(campaign_place):
    with running.claimed(CAMPAIGN, "token", "ask", 1, 40) as claim:
        claim.progress(0, 40)
        claim.progress(3, 40)
        claim.path.write_text(files.dump_yaml(claim.said.model_dump(mode="json")))
        (one,) = json.loads(mmal("status", "campaigns", "--json").stdout)
        assert (one["running"]["epoch"], one["running"]["epochs"]) == (3, 40)
        assert datetime.fromisoformat(one["running"]["started"]) <= datetime.now(UTC)
        assert "asking, epoch 3 of 40" in mmal("status", "campaigns", "--format", "md").stdout
    assert json.loads(mmal("status", "campaigns", "--json").stdout)[0]["running"] is None


def test_the_first_ask_is_seen_before_its_campaign_is_written(tmp_path):
    with running.claimed(tmp_path / "mine", "token", "ask", 1, 40):
        (one,) = json.loads(mmal("status", tmp_path, "--json").stdout)
    assert (one["folder"], one["dataset"], one["batches"], one["running"]["epochs"]) == (str(tmp_path / "mine"), "", 0, 40)


def test_damaged_campaigns_leave_the_others_alone(campaign_place):
    for name in ("kcg-nomoddrop", "zcg-nomoddrop"):
        shutil.copytree(CAMPAIGN, CAMPAIGN.parent / name)
    (CAMPAIGN.parent / "kcg-nomoddrop/campaign.yaml").write_text("qm: [")
    record = CAMPAIGN.parent / "zcg-nomoddrop/campaign.yaml"
    record.write_text(record.read_text().replace("qm:", "method:"))
    said = mmal("status", "campaigns", code=3)
    assert str(CAMPAIGN) in said.stdout
    assert "kcg-nomoddrop" in said.stderr
    assert "damaged campaigns beside it: 1" in said.stderr
    assert len(json.loads(mmal("status", "campaigns", "--json", code=3).stdout)) == 1
    shutil.rmtree(CAMPAIGN.parent / "kcg-nomoddrop")
    assert "zcg-nomoddrop/campaign.yaml: config has no qm\n" in mmal("status", "campaigns", code=3).stderr


def test_an_edited_journal_is_not_counted(campaign_place):
    mmal("answer", fill())
    ask(size=0)
    for path in (CAMPAIGN / "answers").iterdir():
        path.unlink()
    assert "is damaged or edited" in mmal("status", "campaigns", code=3).stderr
