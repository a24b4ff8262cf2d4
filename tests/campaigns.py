"""What tests of campaigns share: commands typed in a campaign's folder, its batches, people who know the labels."""

import csv
from pathlib import Path

from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.annotation import journal

CAMPAIGN = Path("campaigns/tiny/badge-nomoddrop")
OPTIONS = ["--no-moddrop", "--with", "quick", "--gpu", "none", "--progress", "none"]
OPTIONS += [word for text in (*FAST, "normalise.image={mean: [0.2], std: [0.2]}") for word in ("--set", text)]


def mmal(*words, code=0):
    """Runs a command here; what it said."""
    done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def ask(*words, code=0, size=6):
    return mmal("ask", "--data", "data/tiny", "--qm", "badge", "--size", size, *OPTIONS, *words, code=code)


def table(number=0):
    with (CAMPAIGN / f"ask-{number:02d}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def truth(name):
    return f"class {int(name.rpartition('-')[2]) % 3}"


def fill(number=0, rows=None, label=truth, to=None):
    """Fills a batch's table, or some rows of it; writes it to its place or another."""
    found = table(number)
    for row in found if rows is None else found[rows]:
        row["label"] = label(row["id"])
    path = to or CAMPAIGN / f"ask-{number:02d}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path


def kept():
    """Every answer in the journal."""
    return [(answer.id, answer.label) for answer in journal.read(CAMPAIGN)]
