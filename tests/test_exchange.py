"""`mmal import`: what comes in is what was exported, all or nothing, and nothing is written over."""

import hashlib
import shutil
import zipfile

import fake_runs
import labs
import numpy as np
import pytest
import report_runs
import yaml
from labs import refused
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.core import files, shards
from mmal_cli.exchange import unpack

FIRST = "runs/share/low/random/seed-0"
LIST = "export.yaml"


@pytest.fixture
def mmal_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def sent(tmp_path, mmal_in):
    """Writes runs of another lab and their zip; returns the files in it."""

    def send(*runs, words=()):
        shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
        labs.write(tmp_path / "theirs", *runs)
        done = mmal_in("export", "theirs", *words)
        assert done.exit_code == 0, done.stderr
        return labs.members(tmp_path / "results.zip")

    return send


def relisted(found, edit):
    """The files of a zip whose records were edited, with an honest list."""
    found = {name: edit(data) if name.endswith("run.yaml") else data for name, data in found.items()}
    listed = yaml.safe_load(found[LIST])
    for run in listed["runs"]:
        for member in run["files"]:
            data = found[f"runs/{run['folder']}/{member['file']}"]
            member |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return found | {LIST: yaml.safe_dump(listed).encode()}


def test_tables_and_the_report_of_what_was_imported_are_those_of_what_was_exported(tmp_path, mmal_in, sent):
    runs = [labs.record(seed, qm) for qm in ("random", "badge") for seed in (0, 1)]
    sent(*runs, words=["--cycles"])
    done = mmal_in("import", "results.zip")
    assert (done.exit_code, done.stdout) == (0, "runs\n")
    assert "4 of 4 runs imported" in done.stderr
    tables = []
    for root in ("theirs", "runs"):
        assert mmal_in("aulc", root, "--out", f"{root}.yaml").exit_code == 0
        tables.append(yaml.safe_load((tmp_path / f"{root}.yaml").read_text())["rows"])
        for row in tables[-1]:
            del row["command"]
    assert tables[0] == tables[1]
    assert mmal_in("rank", "runs.yaml", "--out", "rank.yaml").exit_code == 0
    (variant,) = report_runs.gathered(tmp_path / "runs").variants
    assert [(pair.one, pair.other, pair.end) for pair in variant.overlaps["low"]] == [("badge", "random", 1.0)]


def test_seeds_of_another_lab_stand_beside_ours(tmp_path, mmal_in, sent):
    labs.write(tmp_path / "runs", labs.record(0))
    before = labs.tree(tmp_path / "runs")
    sent(labs.record(0), labs.record(1), labs.record(2, "badge"))
    done = mmal_in("import", "results.zip")
    assert "there already, the same, skipped: runs/share/low/random/seed-0\n2 of 3 runs imported" in done.stderr
    after = labs.tree(tmp_path / "runs")
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {"share/low/random/seed-1/run.yaml", "share/low/badge/seed-2/run.yaml"}
    done = mmal_in("import", "results.zip")
    assert "0 of 3 runs imported" in done.stderr
    assert labs.tree(tmp_path / "runs") == after


def test_a_run_that_lies_elsewhere_or_took_longer_is_the_same(tmp_path, mmal_in, sent):
    run = labs.record(0)
    cycles = [cycle.model_copy(update={"seconds": {"train": 9.0}, "asked": None}) for cycle in run.cycles]
    labs.write(tmp_path / "runs", run.model_copy(update={"cycles": cycles}), cycles=False)
    (tmp_path / "runs/share").rename(tmp_path / "runs/ours")
    sent(run)
    assert "skipped: runs/ours/low/random/seed-0" in mmal_in("import", "results.zip").stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["ours"]


@pytest.mark.parametrize(
    ("theirs", "code", "message"),
    [
        (labs.record(1, settings={"train": {"lr": 0.2}}), 2, "settings.train.lr (there 0.2, asked 0.1)"),
        (labs.record(1, data_id="ffffffffffff"), 2, "id (there 'ffffffffffff', asked '0123456789ab')"),
        (labs.record(1, "badge", data_id="ffffffffffff"), 2, "it read other data than runs/share/low/random/seed-0"),
        (labs.record(0, settings={"train": {"lr": 0.2}}), 3, "config.settings.train.lr (there 0.1, in the zip 0.2)"),
        (
            labs.record(0).model_copy(update={"cycles": labs.record(3).cycles}),
            3,
            "is not the run of the same seed in runs/share/low/random/seed-0: cycles.0.metrics.a+b.accuracy (there 0.15, in",
        ),
    ],
)
def test_what_cannot_stand_beside_ours_is_refused_and_nothing_comes_in(tmp_path, mmal_in, sent, theirs, code, message):
    labs.write(tmp_path / "runs", labs.record(0))
    before = labs.tree(tmp_path / "runs")
    sent(labs.record(5, "aaa", data_id=theirs.inputs["dataset"]["id"]), theirs)
    refused(mmal_in("import", "results.zip"), code, message, "nothing was imported, choose another --out")
    assert labs.tree(tmp_path / "runs") == before
    assert mmal_in("import", "results.zip", "--out", "apart").exit_code == 0


@pytest.mark.parametrize("name", ["cycle-00.h5", "run.log", "running.yaml"])
def test_an_unfinished_run_of_ours_is_not_written_over(tmp_path, mmal_in, sent, name):
    sent(labs.record(0), labs.record(1))
    (tmp_path / FIRST).mkdir(parents=True)
    (tmp_path / FIRST / name).write_bytes(b"ours")
    before = labs.tree(tmp_path / "runs")
    refused(mmal_in("import", "results.zip"), 3, f"{FIRST} holds {name} of another run", "nothing was imported")
    assert labs.tree(tmp_path / "runs") == before


@pytest.mark.parametrize("place", ["runs", "runs/share", FIRST])
def test_a_file_in_the_place_of_a_folder(tmp_path, mmal_in, sent, place):
    sent(labs.record(0))
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("mine")
    refused(mmal_in("import", "results.zip"), 2 if place == "runs" else 3, f"{place} is a file")
    assert (tmp_path / place).read_text() == "mine"


@pytest.mark.parametrize("stop", ["cycle-01.h5", "run.yaml"])
def test_an_import_that_was_interrupted_goes_on(tmp_path, mmal_in, sent, monkeypatch, stop):
    sent(labs.record(0), labs.record(1), words=["--cycles"])
    with monkeypatch.context() as patch:
        real = files.atomic

        def atomic(path):
            if path.name == stop and "seed-1" in str(path):
                raise KeyboardInterrupt
            return real(path)

        patch.setattr(files, "atomic", atomic)
        done = mmal_in("import", "results.zip")
    assert done.exit_code == 130
    assert "give the same command again to go on" in done.stderr
    assert (tmp_path / FIRST / "run.yaml").exists()
    (tmp_path / "runs/share/low/random/seed-1/cycle-01.h5.7-ab.part").write_bytes(b"of a killed one")
    done = mmal_in("import", "results.zip")
    assert f"skipped: {FIRST}\n" in done.stderr
    assert "1 of 2 runs imported" in done.stderr
    (tmp_path / "runs/share/low/random/seed-1/cycle-01.h5.7-ab.part").unlink()
    assert mmal_in("import", "results.zip", "--out", "whole").exit_code == 0
    assert labs.tree(tmp_path / "runs") == labs.tree(tmp_path / "whole")


DAMAGE = [
    (lambda found: found | {FIRST + "/run.yaml": found[FIRST + "/run.yaml"].replace(b"0.1", b"0.2")}, "is damaged or edited"),
    (lambda found: {n: d for n, d in found.items() if n != FIRST + "/run.yaml"}, f"lacks {FIRST}/run.yaml, which is in its"),
    (lambda found: found | {"runs/x.sh": b"x"}, "holds runs/x.sh, which is not in its export.yaml"),
    (lambda found: {n: d for n, d in found.items() if n != LIST}, "has no export.yaml; make it by: mmal export RUNS"),
    (lambda found: [*found.items(), (LIST, b"x")], "holds two files of one name"),
    (lambda found: found | {"../evil": b"x"}, "holds '../evil', a path that leads out"),
    (lambda found: found | {"runs/../../evil/": b""}, "a path that leads out"),
    (lambda found: found | {"/evil": b"x"}, "holds '/evil', a path that leads out"),
    (lambda found: found | {r"runs\..\evil": b"x"}, "a path that leads out"),
    (lambda found: found | {"runs/a\x1b[31mb": b"x"}, r"holds 'runs/a\x1b[31mb', a path that leads out"),
    (lambda found: found | {"C:evil": b"x"}, "holds 'C:evil', a path that leads out"),
    (lambda found: found | {FIRST + "/cycle-00.h5": bytes(5_000_000)}, "would unpack to 5,"),
    (lambda found: found | {LIST: b"kind: run\n"}, "results.zip/export.yaml holds 'run', expected kind 'export'"),
    (lambda found: found | {LIST: found[LIST].replace(b"format: 1", b"format: 2")}, "has format 2, this mmal"),
    (lambda found: found | {LIST: b"a: &x [1]\nb: *x\n"}, "results.zip/export.yaml has aliases or tags"),
    (lambda found: found | {LIST: b"a: [\n"}, "results.zip/export.yaml is not a YAML file"),
    (
        lambda found: found | {LIST: found[LIST].replace(b"share/low/random", b"../../x/random/y")},
        "runs.0.folder: String",
    ),
    (
        lambda found: found | {LIST: found[LIST].replace(b"file: run.yaml", b"file: run.sh")},
        "runs.0.files.0.file: String",
    ),
    (lambda found: relisted(found, lambda data: data.replace(b"seed: 0", b"seed: 4")), "expected share/low/random/seed-4"),
    (
        lambda found: relisted(found, lambda data: data.replace(b"regime: low", b"regime: ../../x")),
        "expected share/../../x",
    ),
    (lambda found: relisted(found, lambda data: b"kind: run\nformat: 1\n"), "run.yaml: id: Field required"),
    (lambda found: relisted(found, lambda data: b"a: &x [1]\nb: *x\n"), "run.yaml has aliases"),
]


@pytest.mark.parametrize(("harm", "message"), DAMAGE)
def test_a_zip_that_is_not_as_it_was_made_is_refused_before_anything_is_written(tmp_path, mmal_in, sent, harm, message):
    found = sent(labs.record(0))
    labs.made_by_others(tmp_path / "results.zip", harm(found))
    before = labs.tree(tmp_path)
    refused(mmal_in("import", "results.zip"), 3, "results.zip", message)
    assert labs.tree(tmp_path) == before


def test_a_zip_packed_again_by_hand_is_taken(tmp_path, mmal_in, sent):
    found = sent(labs.record(0), words=["--cycles"])
    labs.made_by_others(tmp_path / "again.zip", {"runs/": b"", "runs/share/": b"", **dict(reversed(found.items()))})
    assert mmal_in("import", "again.zip").exit_code == 0


def test_a_zip_that_is_cut_flipped_or_none(tmp_path, mmal_in, sent):
    sent(labs.record(0), words=["--cycles"])
    whole = (tmp_path / "results.zip").read_bytes()
    at = whole.index(b"\x89HDF") + 3000
    for data in (whole[:-30], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :], b"", b"no zip"):
        (tmp_path / "bad.zip").write_bytes(data)
        refused(mmal_in("import", "bad.zip"), 3, "bad.zip is damaged, or not made by mmal export", "have it sent again")
    refused(mmal_in("import", "none.zip"), 3, "none.zip not found; make one by: mmal export RUNS --out none.zip")
    refused(mmal_in("import", "theirs"), 3, "theirs is a folder; pack it by: mmal export theirs --out results.zip")
    assert not (tmp_path / "runs").exists()


def test_a_file_too_large_for_any_run_is_refused(tmp_path, mmal_in, sent, monkeypatch):
    sent(labs.record(0))
    monkeypatch.setattr(unpack, "MOST_YAML", 100)
    refused(mmal_in("import", "results.zip"), 3, f"results.zip: {FIRST}/run.yaml has ", "bytes, expected 100 at most")


def test_what_must_not_leave_does_not_come_in(tmp_path, mmal_in):
    """A zip of restricted data that was not made by mmal export."""
    run = labs.record(restricted=True)
    labs.write(tmp_path / "theirs", run)
    digest = files.sha256(fake_runs.folder_of(tmp_path / "theirs", run) / "run.yaml")
    data = (fake_runs.folder_of(tmp_path / "theirs", run) / "run.yaml").read_bytes()
    member = {"file": "run.yaml", "bytes": len(data), "sha256": digest}
    one = {"folder": "share/low/random/seed-0", "id": run.id, "restricted": True, "files": [member]}
    listed = yaml.safe_dump({"format": 1, "kind": "export", "id": "x", "mmal": "0.1.0", "runs": [one]})
    labs.made_by_others(tmp_path / "x.zip", {LIST: listed.encode(), FIRST + "/run.yaml": data})
    refused(mmal_in("import", "x.zip"), 3, "is of restricted data and more than aggregate metrics, so it is not taken")


def test_real_runs_go_out_and_come_in(tmp_path, mmal_in, tiny_data):
    words = ["--regime", "low", "--with", "quick", "--gpu", "none", "--qm", "random", "--data", tiny_data, "--progress", "none"]
    done = mmal_in("al-run", *words, *(word for text in FAST for word in ("--set", text)))
    assert done.exit_code == 0, done.stderr
    assert mmal_in("export", "runs", "--cycles", "--logits").exit_code == 0
    assert mmal_in("import", "results.zip", "--out", "there").exit_code == 0
    assert mmal_in("import", "results.zip").exit_code == 0
    place = "tiny/low/random/seed-0"
    for number in (0, 1):
        ours, theirs = (shards.read_arrays(tmp_path / root / place / f"cycle-0{number}.h5")[0] for root in ("runs", "there"))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert not any(str(tiny_data.parent).encode() in archive.read(name) for name in archive.namelist())


def test_another_method_by_another_protocol_is_refused_and_options_of_methods_are_not(tmp_path, mmal_in, sent):
    labs.write(tmp_path / "ours", labs.record())
    sent(labs.record(0, "badge", {"train": {"lr": 0.2}}))
    before = labs.tree(tmp_path / "ours")
    done = mmal_in("import", "results.zip", "--out", "ours")
    refused(
        done,
        3,
        "results.zip: share/low/badge/seed-0 and ours/share/low/random/seed-0 stand in one table, but differ in train.lr",
    )
    assert labs.tree(tmp_path / "ours") == before
    sent(labs.record(0, "badge", {"train": {"lr": 0.1}, "query_options": {"badge": {"x": 1}}}))
    assert mmal_in("import", "results.zip", "--out", "ours").exit_code == 0
