"""`mmal check-query`: all shipped methods pass, broken ones fail by the right line, and the output says so."""

import json
import logging
import re

import pytest
import torch
from typer.testing import CliRunner

from mmal_cli import app, checking
from mmal_cli.checking import devices, edges, growth, order
from mmal_cli.checking._asking import Subject, Wrong
from mmal_cli.core import plugins
from mmal_cli.method import load_method

OPTIONS = {"batchbald": {"samples": 200}}  # what makes a method faster than its default
METHODS = plugins.names("queries")
WITHOUT_CHANCE = {"entropy", "bald", "kcg", "varratio"}
HEAD = """import numpy as np
import torch
from mmal_cli.pool import top

NEEDS = {{"logits"}}
calls = []
def query(view, size, rng, *, sign=1.0):
    unlabelled, logits = view.unlabelled, view.unlabelled.logits
    index, score = unlabelled.index, logits[:, 0]
    {check}
"""
FINITE = "top(score, 1)"
GOOD = "return index[top(sign * score, size)]"


@pytest.fixture
def mine(tmp_path):
    """Writes mine.py, a query of this body that reads logits; returns its path."""

    def write(body: str, check: str = FINITE) -> str:
        (tmp_path / "mine.py").write_text(HEAD.format(check=check) + "".join(f"    {line}\n" for line in body.splitlines()))
        return str(tmp_path / "mine.py")

    return write


def failing(path: str) -> dict[str, str]:
    """check -> detail of those that fail, but for growth."""
    return {row.check: row.detail for row in checking.run(Subject(path)) if row.result == "FAIL"}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_folder_passes_and_the_log_is_quiet_meanwhile(name, caplog):
    state = torch.get_rng_state()
    rows = checking.run(Subject(name, OPTIONS.get(name, {})))
    assert torch.equal(torch.get_rng_state(), state)
    assert (caplog.records, logging.getLogger("mmal").disabled) == ([], False)
    assert [row for row in rows if row.result == "FAIL"] == []
    assert {row.check for row in rows if row.result == "skipped"} <= {"CPU and GPU agree"}
    said = {row.check: row.detail for row in rows}
    assert said["another seed, another answer"].startswith("without chance" if name in WITHOUT_CHANCE else "draws from")


ORDER, ABSENT = "order and labels of the pool", "the same, some modalities absent"
BROKEN = {  # what a body does wrong -> the body, the checks that fail, what the first says
    "is one short": (
        "return index[top(score, size)][1:]",
        ["exact size, distinct, unlabelled"],
        "returned 0 indices, 0 distinct, 0 of them outside the pool; expected 1 distinct indices of the pool",
    ),
    "repeats one sample": (
        "return index[:1].repeat(size)",
        ["exact size, distinct, unlabelled"],
        "returned 7 indices, 1 distinct, 0 of them outside the pool; expected 7 distinct indices of the pool",
    ),
    "asks for labelled ones": (
        "return view.labelled.index[:size]",
        ["exact size, distinct, unlabelled"],
        "returned 1 indices, 1 distinct, 1 of them outside the pool; expected 1 distinct indices of the pool",
    ),
    "reads what it does not name": (
        "return index[top(unlabelled.embeddings[:, 0], size)]",
        ["exact size, distinct, unlabelled"],
        "mine.py, line 11: TypeError: 'NoneType' object is not subscriptable; NEEDS must name all that is read",
    ),
    "breaks when asked for too many": (
        "return index[score.topk(size).indices]",
        ["size > pool"],
        "line 11: RuntimeError: selected index k out of range; expected a UserError, or a short answer, which ends the run",
    ),
    "draws from torch": (
        "return index[torch.randperm(len(index))[:size]]",
        ["same seed, same answer"],
        "drew from the global generator of torch; expected `rng` to be the only chance",
    ),
    "draws from numpy": (
        "return index[torch.from_numpy(np.random.permutation(len(index))[:size])]",
        ["same seed, same answer"],
        "drew from the global generator of numpy; expected `rng` to be the only chance",
    ),
    "changes from call to call": (
        "calls.append(0)\nreturn index[top(logits[:, len(calls) % 2], size)]",
        ["same seed, same answer"],
        "of 15 samples differ; expected the same, all chance drawn from `rng`",
    ),
    "has one answer for all seeds": (
        "rng.manual_seed(0)\nreturn index[top(score, size)]",
        ["another seed, another answer"],
        "`rng` was drawn from, but seeds 0 to 4 give one answer; expected several",
    ),
    "takes the first": (
        "return index[:size]",
        [ORDER, ABSENT],
        "of 6 samples change once the pool stands in another order; expected the same ones",
    ),
    "reads labels out of positions": (
        "return index[top(score + 1e3 * (index % 3 == 0), size)]",
        [ORDER, ABSENT],
        "of 6 samples change once the pool stands in another order; expected the same ones",
    ),
    "reads labels out of positions in the first cycle": (
        "return index[top(score + 1e3 * (index % 3 == 0) * (view.cycle == 0), size)]",
        [ORDER, ABSENT],
        "of 6 samples change once the pool stands in another order; expected the same ones",
    ),
    "reads labels out of positions of a pool that is not small": (
        "return index[top(score + 1e3 * (index % 3 == 0) * (len(index) > 60), size)]",
        [ORDER, ABSENT],
        "of 6 samples change once the pool stands in another order; expected the same ones",
    ),
    "draws from the first half": (
        "half = max(size, len(index) // 2)\nreturn index[:half][torch.randperm(len(index[:half]), generator=rng)[:size]]",
        [ORDER, ABSENT],
        "times once the pool stands in another order; expected as often but for chance",
    ),
    "writes into what it reads": (
        "chosen = top(score, size)\nlogits.mul_(2)\nreturn index[chosen]",
        ["inputs untouched"],
        "unlabelled.logits, first at (0, 0): found ",
    ),
    "writes into the index": (
        "chosen = index[top(score, size)]\nindex.add_(1)\nreturn chosen",
        ["inputs untouched"],
        "unlabelled.index, first at (0,): found ",
    ),
    "turns what it reads": (
        "chosen = top(score, size)\nlogits.t_()\nreturn index[chosen]",
        ["inputs untouched"],
        "unlabelled.logits: found torch.float32 of shape (5, 40), expected torch.float32 of shape (40, 5) as before the query",
    ),
    "wants two modalities": (
        "first, second, *_ = view.modalities\nreturn index[top(score, size)]",
        ["one modality", "two classes"],
        "mine.py, line 11: ValueError: not enough values to unpack",
    ),
    "divides by what may be zero": (
        "return index[top(1 / logits.softmax(dim=1).amin(dim=1), size)]",
        ["saturated softmax"],
        "20 of 20 scores are not finite, the first at position 0",
    ),
    "chooses among NaN": (
        "return index[logits.sum(dim=1).sort(stable=True).indices[:size]]",
        ["NaN in a prediction"],
        "NaN in logits of one sample, and an answer was given; expected a UserError (pool.top raises it)",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_method_fails_the_check_that_it_breaks_and_no_other(mine, fault):
    body, checks, detail = BROKEN[fault]
    found = failing(mine(body, "pass" if "NaN" in fault else FINITE))
    assert [*found] == checks
    assert detail in found[checks[0]]


# --- what the command prints


def check_query(*words: object):
    return CliRunner().invoke(app.build(), ["check-query", *map(str, words), "--progress", "none"], catch_exceptions=False)


def test_the_table_says_what_passes_and_who_the_method_is(mine):
    path = mine(GOOD)
    done = check_query(path, "--pools", "none", "--option", "sign=-1")
    assert done.exit_code == 0
    assert "Query method mine" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["inputs", "untouched", "pass", "5", "tensors"] in lines
    assert " passed, 0 failed, " in done.stdout
    assert f"mine.py: sha256 {plugins.fingerprint(path)}" in done.stdout


def test_a_narrow_terminal_gets_long_details_in_several_lines(mine, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = check_query(mine("return index[:1].repeat(size)"), "--pools", "none")
    assert done.exit_code == 2
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "all other checks" in done.stdout
    words = " ".join(done.stdout.split())
    assert "1 failed, 1 skipped" in words


def test_json_holds_the_rows(mine):
    path = mine("return index[:size]")
    done = check_query(path, "--pools", "none", "--json")
    content = json.loads(done.stdout)
    assert done.exit_code == 2
    assert content["qm"] == "mine"
    assert content["qm_sha256"] == plugins.fingerprint(path)
    assert content["passed"] is False
    rows = {row["check"]: row["result"] for row in content["checks"]}
    assert [check for check, result in rows.items() if result == "FAIL"] == [ORDER, ABSENT]
    assert json.loads(check_query("random", "--pools", "none", "--json").stdout)["qm_sha256"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bagde"], "error: unknown query method 'bagde'; did you mean 'badge'?"),
        (
            ["grace", "--option", "lambda0=2"],
            "error: option lambda0 of query method grace: Input should be less than or equal to",
        ),
        (["random", "--option", "x"], "error: --option 'x' is not of the form NAME=VALUE, for instance: --option alpha=0.5"),
        (["random", "--option", "x=[1"], "error: --option x=[1: '[1' is not a YAML value"),
        (["random", "--pools", "1000,ten"], "error: --pools '1000,ten' is neither none nor numbers from 100 on, for instance:"),
        (["random", "--pools", "10"], "error: --pools '10' is neither none nor numbers from 100 on"),
    ],
)
def test_wrong_use_is_one_message(words, message):
    done = check_query(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(message)


def test_a_method_that_reads_some_numbers_of_a_sample_alone_is_not_blamed(mine):
    (row,) = (
        row for row in edges.rows(Subject(mine("return index[top(logits[:, 1], size)]", ""))) if row.check.startswith("NaN")
    )
    assert row.result == "pass"


@pytest.mark.parametrize("when", ["len(index) > 100", "view.cycle == 0"])
def test_a_method_that_draws_at_times_is_not_blamed(mine, when):
    body = f"noise = torch.rand(len(index), generator=rng)\nreturn index[top(noise if {when} else score, size)]"
    assert {row.result for row in order.rows(Subject(mine(body)))} == {"pass"}


# --- growth, and what cannot be checked here


def test_growth_says_seconds_and_memory_of_a_real_pool():
    (row,) = growth.rows(Subject("entropy", pools=(200,)))
    assert (row.check, row.result) == ("a pool of 200", "pass")
    assert re.fullmatch(r"[\d.e-]+ s, [\d.]+ MiB", row.detail)


def measured_as(monkeypatch, seconds, mib):
    """Growth of a query that takes so long and so much, as functions of the pool, without asking it."""
    monkeypatch.setattr(growth, "processes", lambda jobs: InOrder())
    monkeypatch.setattr(growth.queries, "cost", lambda name, pool, *rest: (seconds(pool), mib(pool) * 2**20, 0))


class InOrder:
    def __enter__(self):
        return lambda make, tasks: (make(*task) for task in tasks)

    def __exit__(self, *error):
        pass


def test_growth_leaves_out_what_would_take_too_long_or_too_much(monkeypatch):
    subject = Subject("random", pools=(1000, 10_000, 100_000))
    measured_as(monkeypatch, lambda pool: pool / 100, lambda pool: 1.0)
    said = [(row.result, row.detail) for row in growth.rows(subject)]
    assert said == [
        ("pass", "10 s, 1 MiB"),
        ("pass", "100 s (slope 1), 1 MiB (slope 0)"),
        ("skipped", "would take about 1,000 s; measure it all the same by: --pools 100000"),
    ]
    measured_as(monkeypatch, lambda pool: 1.0, lambda pool: 8 * (pool / 1000) ** 2)
    *_, last = growth.rows(subject)
    assert (last.result, last.detail) == (
        "skipped",
        "would take about 80,000 MiB; measure it all the same by: --pools 100000",
    )


def test_growth_fails_where_the_query_does(monkeypatch):
    def breaks(pool):
        raise MemoryError("too much")

    measured_as(monkeypatch, breaks, breaks)
    (row,) = growth.rows(Subject("random", pools=(1000,)))
    assert (row.result, row.detail) == ("FAIL", "MemoryError: too much")


def test_devices_that_agree_pass_and_those_that_do_not_fail(mine):
    cpu = torch.device("cpu")
    assert devices.compared(load_method("badge", {}), cpu).startswith("30 of 200 on cpu")
    body = "calls.append(0)\nreturn index[top(logits[:, int(len(calls) == 4)], size)]"  # the fourth answer is the device's
    with pytest.raises(Wrong, match=r"pick \d+ of 30 is \d+ on the GPU, expected \d+ as on the CPU"):
        devices.compared(load_method(mine(body), {}), cpu)


def test_without_a_gpu_the_check_is_skipped_and_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = devices.rows(Subject("random"))
    assert (row.result, row.detail) == ("skipped", f"torch {torch.__version__} sees no GPU")
