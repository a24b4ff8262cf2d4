"""The whole chain on three and four modalities: every subset at test time, its areas, ranks, Shapley values and page."""

import csv
from contextlib import chdir

import pytest
import tiny
import yaml
from report_runs import subsets
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app

OPTIONS = ["--gpu", "none", "--with", "quick", *(word for text in FAST for word in ("--set", text))]


@pytest.fixture(scope="module", params=[("abc", "early"), ("abcd", "cross")], ids=["three", "four"])
def chain(request, tmp_path_factory):
    """Modalities, and the folder of a dataset, two runs by a fusion, and what the commands made of them."""
    modalities, fusion = request.param
    place = tmp_path_factory.mktemp("many")
    tiny.make(place / "data", modalities=tuple(modalities), absent=dict.fromkeys(modalities, 0.3), train=200)
    with chdir(place):
        for words in (
            *(
                ["al-run", "--data", "data", "--qm", qm, "--regime", "low", *OPTIONS, "--set", f"model.fusion={fusion}"]
                for qm in ("random", "bmmal")
            ),
            ["aulc", "runs", "--out", "aulc.yaml"],
            ["rank", "aulc.yaml", "--out", "rank.yaml"],
            ["report", "runs", "--out", "report", "--format", "html"],
        ):
            done = CliRunner().invoke(app.build(), words, prog_name="mmal")
            assert done.exit_code == 0, done.stderr
    return list(modalities), place


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_every_subset_is_tested_and_has_its_area(chain):
    modalities, place = chain
    for qm in ("random", "bmmal"):
        (record,) = place.glob(f"runs/tiny/low/{qm}/seed-0/run.yaml")
        for cycle in read(record)["cycles"]:
            assert list(cycle["metrics"]) == subsets(modalities)
    for row in read(place / "aulc.yaml")["rows"]:
        assert list(row["subsets"]) == subsets(modalities)
    assert read(place / "rank.yaml")["blocks"][0]["weak"] == modalities[-1]


def test_shapley_values_add_up_to_what_all_modalities_gain_over_chance(chain):
    modalities, place = chain
    cycles = read(place / "runs/tiny/low/bmmal/seed-0/run.yaml")["cycles"]
    rows = list(csv.DictReader((place / "report/diagnostics.csv").read_text().splitlines()))
    for cycle in cycles:
        worth = {
            row["of"]: float(row["value"])
            for row in rows
            if (row["qm"], row["cycle"], row["measure"]) == ("bmmal", str(cycle["number"]), "shapley")
        }
        assert list(worth) == modalities
        whole = cycle["metrics"]["+".join(modalities)]["balanced_accuracy"]
        assert sum(worth.values()) == pytest.approx(whole - 1 / 3)


def test_the_page_has_them_all(chain):
    modalities, place = chain
    text = (place / "report/index.html").read_text(encoding="utf-8")
    assert text.count("<caption>AULC of tiny") == {3: 1, 4: 3}[len(modalities)]
    for subset in subsets(modalities):
        assert f'<th scope="col">{subset}{" (weak)" * (subset == modalities[-1])}</th>' in text
    for modality in modalities:
        assert f"φ of {modality}" in text
