"""Where campaigns stand: how much was asked and answered, and who asks just now, by their folders alone."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmal_cli.annotation import campaign as campaigns
from mmal_cli.annotation import journal
from mmal_cli.annotation.campaign import Campaign
from mmal_cli.core import running
from mmal_cli.core.errors import UserError
from mmal_cli.core.running import Running

ENGINE = "ask"  # by which running.yaml tells an ask from a run


@dataclass(frozen=True)
class Standing:
    """One campaign: batches asked for, samples answered in all, of the last batch how many of how many, an ask at work."""

    folder: Path
    dataset: str
    method: str
    batches: int
    answers: int
    answered: int
    asked: int
    running: Running | None

    def plain(self) -> dict[str, Any]:
        """For JSON; an ask at work as its epoch and how many there are."""
        now = None if self.running is None else self.running.model_dump(mode="json", include={"epoch", "epochs", "started"})
        return vars(self) | {"folder": str(self.folder), "running": now}


def standings(root: Path) -> tuple[list[Standing], list[UserError]]:
    """Of each campaign in a folder or below, by path; and what is wrong with those that are damaged."""
    found, wrong = [], []
    for folder, files in sorted((Path(folder), files) for folder, _, files in os.walk(root)):
        try:
            if campaigns.RECORD in files:
                found.append(_standing(folder))
            elif (said := _at_work(folder)) and said.engine == ENGINE:  # what the first ask is of is written at its end
                found.append(Standing(folder, "", "", 0, 0, 0, 0, said))
        except UserError as error:
            wrong.append(error)
    return found, wrong


def _at_work(folder: Path) -> Running | None:
    return running.read(folder) if running.taken(folder) else None


def _standing(folder: Path) -> Standing:
    """Raises UserError for a damaged campaign."""
    campaign = Campaign.read(folder / campaigns.RECORD)
    asks, labels = campaigns.asks(folder, campaign), journal.labels(journal.read(folder))
    campaigns.must_hold(folder, asks, labels)
    last = asks[-1].asked if asks else []
    return Standing(
        folder=folder,
        dataset=campaign.config["dataset"],
        method=campaign.config["qm"],
        batches=sum(bool(ask.asked) for ask in asks),
        answers=len(labels),
        answered=campaigns.answered(last, labels),
        asked=len(last),
        running=_at_work(folder),
    )
