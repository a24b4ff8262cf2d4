"""Where campaigns stand: how much was asked and answered, by their folders alone."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmal_cli.annotation import campaign as campaigns
from mmal_cli.annotation import journal
from mmal_cli.annotation.campaign import Campaign


@dataclass(frozen=True)
class Standing:
    """One campaign: batches asked for, samples answered in all, and of the last batch how many of how many."""

    folder: Path
    dataset: str
    method: str
    batches: int
    answers: int
    answered: int
    asked: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"folder": str(self.folder)}


def standings(root: Path) -> Iterator[Standing]:
    """Of each campaign in a folder or below, by path.

    Raises:
        UserError: a damaged campaign.
    """
    for record in sorted(root.glob(f"**/{campaigns.RECORD}")):
        folder, campaign = record.parent, Campaign.read(record)
        asks, labels = campaigns.asks(folder, campaign), journal.labels(journal.read(folder))
        campaigns.must_hold(folder, asks, labels)
        last = asks[-1].asked if asks else []
        of = campaign.config["dataset"], campaign.config["qm"]
        yield Standing(
            folder, *of, sum(bool(ask.asked) for ask in asks), len(labels), campaigns.answered(last, labels), len(last)
        )
