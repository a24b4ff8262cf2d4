"""`mmal prepare-own` of the card of fake_own, and what tests ask of the folder that it makes."""

import csv
import io
from contextlib import chdir

from typer.testing import CliRunner

from data_recipes.own import card as cards
from data_recipes.own import data as reading
from mmal_cli import app
from mmal_cli.core import shards
from mmal_cli.core.manifest import Dataset

OUT = "data/clinic"


def mmal(*words, code=0):
    """Runs a command here; what it said on stdout and stderr."""
    done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def prepare(place, *words, code=0):
    with chdir(place):
        return mmal("prepare-own", "clinic.yaml", "--jobs", 1, *words, code=code)


def read(folder) -> Dataset:
    return Dataset.read(folder / "dataset.yaml")


def lost(folder):
    """The rows of dropped.csv."""
    return list(csv.DictReader(io.StringIO((folder / "dropped.csv").read_text(encoding="utf-8"), newline="")))


def gathered(place):
    return reading.gather(cards.read(place / "clinic.yaml"), lambda make, tasks: (make(*task) for task in tasks))


def all_samples(folder):
    """id -> split, label, present, inputs, group."""
    dataset, found = read(folder), {}
    for split in dataset.splits:
        samples = shards.read_split(folder, dataset, split)
        for k, name in enumerate(samples.id):
            inputs = {m: x[k] for m, x in samples.inputs.items()}
            found[str(name)] = (split, int(samples.label[k]), samples.present[k], inputs, int(samples.group[k]))
    return found


def refused(place, code, *messages, force=()):
    said = prepare(place, *force, code=code)
    assert said.stdout == ""
    for message in messages:
        assert message in said.stderr, said.stderr
    assert "Traceback" not in said.stderr
    assert said.stderr.count("error: ") == 1
    return said.stderr
