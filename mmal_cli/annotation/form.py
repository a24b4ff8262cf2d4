"""How people get a batch: a table to fill or tasks to import, and what they see beside each sample."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmal_cli.annotation import batch, label_studio
from mmal_cli.annotation.beside import Table
from mmal_cli.annotation.campaign import Ask, Campaign, place_of
from mmal_cli.core import files

SUFFIX = {"csv": ".csv", "label-studio": ".json"}
Format = Literal["csv", "label-studio"]


@dataclass(frozen=True)
class Form:
    """A format, and the table whose columns stand beside each sample, if any."""

    format: Format
    table: Table | None = None

    def path(self, place: Path, ask: Ask) -> Path:
        """Of the file."""
        return place / f"{place_of(ask.cycle.number)}{SUFFIX[self.format]}"

    def write(self, place: Path, campaign: Campaign, ask: Ask) -> Path | None:
        """Writes a batch's file and returns its path; None where it is there already, since it may be filled, or empty.

        The interface of Label Studio is written once: people add to it.

        Raises:
            UserError: the table has no row for a sample.
        """
        path = self.path(place, ask)
        if path.exists() or not ask.asked:
            return None
        beside = self.table.of(ask.asked) if self.table else {}
        if self.format == "csv":
            files.write_text(path, batch.text(ask, campaign.class_names, beside))
            return path
        if not (place / label_studio.CONFIG).exists():
            files.write_text(place / label_studio.CONFIG, label_studio.config(campaign.class_names, beside))
        files.write_text(path, label_studio.text(ask, campaign.class_names, beside))
        return path

    def not_in_interface(self, place: Path) -> list[str]:
        """What the interface of Label Studio, which was there before, does not show of the table: `$show_photo`."""
        if self.format == "csv" or not self.table or not (place / label_studio.CONFIG).exists():
            return []
        there = batch.decoded(place / label_studio.CONFIG, "the interface of the tasks")
        fields = [f"${label_studio.field(column)}" for column in self.table.columns]
        return [field for field in fields if not re.search(rf"{re.escape(field)}\b", there)]


def names(number: int) -> list[str]:
    """What the files of an ask may be called."""
    return [f"{place_of(number)}{suffix}" for suffix in SUFFIX.values()]
