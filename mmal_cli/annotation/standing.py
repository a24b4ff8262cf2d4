"""Where campaigns stand: how much was asked and answered, and who asks just now, by their folders alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmal_cli.annotation import campaign as campaigns
from mmal_cli.annotation import journal
from mmal_cli.annotation.campaign import Campaign
from mmal_cli.core import running
from mmal_cli.core.errors import UserError
from mmal_cli.core.running import Running


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
        said = self.running
        now = None if said is None else {"epoch": said.epoch, "epochs": said.epochs, "started": said.started.isoformat()}
        return vars(self) | {"folder": str(self.folder), "running": now}


def standings(root: Path) -> tuple[list[Standing], list[UserError]]:
    """Of each campaign in a folder or below, by path; and what is wrong with those that are damaged."""
    found, wrong = [], []
    for record in sorted(root.rglob(campaigns.RECORD)):
        try:
            found.append(_standing(record))
        except UserError as error:
            wrong.append(error)
    return found, wrong


def _standing(record: Path) -> Standing:
    """Raises UserError for a damaged campaign."""
    folder, campaign = record.parent, Campaign.read(record)
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
        running=running.read(folder) if running.taken(folder) else None,
    )
