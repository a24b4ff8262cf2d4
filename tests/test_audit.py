"""The audit of an export finds what was planted, and nothing in what runs hold."""

import fake_runs
import labs
import numpy as np
import pytest
import torch

from mmal_cli.exchange import audit, clean
from mmal_cli.metrics import metrics

PLANTED = [
    ("/mnt/home/alice/cache", "an absolute path"),
    ("cache=/mnt/scratch/x, y", "an absolute path"),
    ("file:///data", "an absolute path"),
    (r"C:\Users\alice", "a Windows path"),
    (r"\\server\share", "a Windows path"),
    ("~/cache", "a home folder"),
    ("~alice/cache", "a home folder"),
    ("$HOME/cache", "a home folder"),
    ("home/alice", "a home folder"),
    ("../secret/x", "a path that leads out"),
    ("s3://bucket/alice/x", "an address of files"),
    ("ssh://node17/data", "an address of files"),
    ("http://node17:8888/x", "a host name"),
    ("alice.b@lab.example", "an e-mail address"),
    ("10.0.17.4:8080", "an IP address"),
    ("at [fe80::1ff:fe23:4567:890a]", "an IP address"),
    ("node17.cluster.internal", "a host name"),
    ("subject_id", "a name of MIMIC's identifiers"),
    ("labs.HADM_ID", "a name of MIMIC's identifiers"),
    ("the stay_id's", "a name of MIMIC's identifiers"),
    ("subjectId", "a name of MIMIC's identifiers"),
    ("10000032", "a number as MIMIC's identifiers are"),
    ("hadm 20000019, 20000020", "a number as MIMIC's identifiers are"),
    ("stay_30000153", "a number as MIMIC's identifiers are"),
    ("subject10000032", "a number as MIMIC's identifiers are"),
    ("id10000032.csv", "a number as MIMIC's identifiers are"),
    ("study 40689238", "a number as MIMIC's identifiers are"),
    ("files/p1000/p10000032/s40689238", "a number as MIMIC's identifiers are"),
]
HARMLESS = [
    "data/share",
    "mine.py",
    "2.15.0.dev20260115+cu128",
    "NVIDIA H100 80GB HBM3",
    "Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads",
    "GeForce RTX 3090/PCIe/SSE2",
    "12:30:45",
    "1234567 and 123456789",
    "e67dfd0f6cc22dc7d768bf65ed96f4b955927241d304d9f749af3450f6b1f7f7",
    "100000320123",
    "a+b",
    "2.0.1",
    "+/-0.1, n/a, a / b",
    "https://arxiv.example/abs",
    "query_options.mine.net=3",
    "--set query_options.mine.local=3",
    "0.1.0+a10000032",
    "student_id",
]


def found(content, names=None):
    return [(one.key, one.what) for one in audit.findings("f", content, names or {})]


@pytest.mark.parametrize(("text", "what"), PLANTED)
@pytest.mark.parametrize(
    "plant",
    [
        lambda text: {"here": {"inner": text}},
        lambda text: {"here": {"inner": ["fine", [text]]}},
        lambda text: {"here.inner": np.array(["fine", text])},
        lambda text: {"here.inner": np.array([b"fine", text.encode()])},
        lambda text: {"here.inner": np.array([text], dtype=object)},
    ],
)
def test_what_was_planted_is_found(text, what, plant):
    assert ("here.inner", what) in found(plant(text))


def test_keys_are_looked_at_too():
    assert found({"config": {"subject_id": 3}}) == [("config.subject_id", "a name of MIMIC's identifiers")]


@pytest.mark.parametrize(
    "content",
    [{"n": 10_000_032}, {"n": [1, 10_000_032]}, {"n": 10_000_032.0}, {"n": 40_689_238}, {"n": np.array([5, 10_000_032])}],
)
def test_a_number_of_a_patient_is_found(content):
    assert found(content) == [("n", "a number as MIMIC's identifiers are")]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_passes(text):
    assert found({"here": text, "there": [text]}) == []


def test_numbers_pass():
    content = {"labels": 500, "accuracy": 0.12345678, "seconds": 12345678.5, "on": True, "none": None}
    assert found(content | {"labelled": np.arange(60_000), "test_logits/a": np.full((2, 2), 2e7, np.float32)}) == []


def test_text_has_no_place_among_arrays():
    assert found({"selected": np.array(["img-a", "img-b"])}) == [("selected", "text where numbers belong")]


def test_the_user_and_the_machine_are_found_whatever_their_case(monkeypatch):
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setattr("socket.gethostname", lambda: "node17.lab")
    names = audit.people_and_machines()
    assert ("k", "the user's name") in found({"k": "by Alice, today"}, names)
    assert ("k", "the user's name") in found({"k": "alice_net"}, names)
    assert ("k", "this machine's name") in found({"k": "on NODE17."}, names)
    assert found({"k": "malice and node170"}, names) == []


def test_names_that_tell_nobody_apart_are_none(monkeypatch):
    for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME"):
        monkeypatch.setenv(name, "root")
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    assert audit.people_and_machines() == {}


COMMANDS = [
    ("--data /mnt/home/alice/x/share", "--data data/share"),
    ("--data 'my data/share'", "--data data/share"),
    ("--out /mnt/scratch/runs --seed 3", "--seed 3"),
    ("--campaign '/mnt/scratch/of Alice' --seed 3", "--seed 3"),
    ("--qm ./methods/mine.py", "--qm mine.py"),
    ("--with ../a/over.yaml --with quick", "--with over.yaml --with quick"),
    ("--pretrained /p/share/seed-3/", "--pretrained pretrained/share/seed-3"),
    ("--with ~alice", "--with FOLDER"),
    (r"--with 'C:\Users\alice\over.yaml'", "--with over.yaml"),
    ("--set train.lr=0.01", "--set train.lr=0.01"),
    ("--set model.fusion=/a/b/mine.py", "--set model.fusion=mine.py"),
    ("""--set 'model.start="/mnt/home/a b/seed-0"'""", "--set model.start=seed-0"),
    ("--set 'model.encoders={image: /a/enc.py, x: mlp}'", """--set 'model.encoders={"image": "enc.py", "x": "mlp"}'"""),
    ("--set 'bad={/a/b'", "--set bad=b"),
    ("/mnt/home/a=b/c", "c"),
]


@pytest.mark.parametrize(("typed", "expected"), COMMANDS)
def test_a_command_keeps_no_path(typed, expected):
    text = clean.command(f"mmal al-run {typed}", "share")
    assert text == f"mmal al-run {expected}"
    assert clean.command(text, "share") == text
    assert found({"command": text}) == []


def test_of_a_restricted_record_aggregates_stay(tmp_path):
    run = labs.record(restricted=True)
    cleaned = clean.record(tmp_path, run)
    assert [cycle.asked for cycle in cleaned.cycles] == [None, None]
    assert [cycle.metrics for cycle in cleaned.cycles] == [cycle.metrics for cycle in run.cycles]
    assert clean.record(tmp_path, labs.record()).cycles[0].asked is not None


def test_the_aggregates_are_the_metrics_of_runs():
    assert set(metrics(torch.eye(3), torch.arange(3))) == clean.AGGREGATES


@pytest.mark.parametrize("value", [True, "yes", 1, None])
def test_any_restricted_but_false_counts(value):
    run = fake_runs.record(labs.CURVES)
    assert not clean.restricted(run)
    read = {"dataset": run.inputs["dataset"] | {"restricted": value}}
    assert clean.restricted(run.model_copy(update={"inputs": read}))


def test_messages_are_short():
    assert [str(one) for one in audit.findings("f", {"here": "/x"}, {})] == ["f, here: an absolute path, '/x'"]
