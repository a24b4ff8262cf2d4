"""`mmal status` of a folder of campaigns: how much was asked and answered."""

import json

from campaigns import CAMPAIGN, ask, fill, mmal


def test_campaigns_are_counted_from_their_folders(campaign_place):
    expected = {"folder": str(CAMPAIGN), "dataset": "tiny", "method": "badge"}
    expected |= {"batches": 1, "answers": 0, "answered": 0, "asked": 6}
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


def test_an_edited_journal_is_not_counted(campaign_place):
    mmal("answer", fill())
    ask(size=0)
    for path in (CAMPAIGN / "answers").iterdir():
        path.unlink()
    assert "is damaged or edited" in mmal("status", "campaigns", code=3).stderr
