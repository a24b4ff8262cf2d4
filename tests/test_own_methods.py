"""Query methods that are files of one's own: what is wrong with one is one message, what is merely unusual works."""

import json
from contextlib import chdir

import pytest
import tiny
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app, checking
from mmal_cli.checking._asking import Subject
from mmal_cli.core import plugins
from mmal_cli.method import load_method

PLAIN = """from mmal_cli.pool import top

NEEDS = {"logits"}


def query(view, size, rng):
    return view.unlabelled.index[top(view.unlabelled.logits[:, 0], size)]
"""
LINE = "al-run --data data --regime low --gpu none --with quick --progress none"


def mmal(*words):
    """Runs a command; an exception that is no exit code comes through."""
    return CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def write(tmp_path):
    """Writes mine.py; its path."""

    def to(text: str, name: str = "mine.py"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return to


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    tiny.make(place / "data")
    return place / "data"


NEEDS = "expected a set of names; say what it reads: NEEDS = {'logits'}; see docs/extending.md"
WRONG = {
    "a name that is not there": ("x = missing\n" + PLAIN, "mine.py, line 1: NameError: name 'missing' is not defined"),
    "an error of its own": ("raise ValueError\n" + PLAIN, "mine.py, line 1: ValueError"),
    "an end of the process": ("import sys\nsys.exit(0)\n" + PLAIN, "mine.py, line 2: SystemExit: 0"),
    "null bytes": ("\0", "mine.py: source code string cannot contain null bytes"),
    "needs that are one string": (PLAIN.replace('{"logits"}', '"logits"'), f"mine: NEEDS is 'logits', {NEEDS}"),
    "needs that are nothing": (PLAIN.replace('{"logits"}', "None"), f"mine: NEEDS is None, {NEEDS}"),
    "needs that are no names": (PLAIN.replace('{"logits"}', "[[1]]"), f"mine: NEEDS is [[1]], {NEEDS}"),
    "too few arguments": (
        PLAIN.replace(", rng", ""),
        "mine: too many positional arguments in query(view, size), expected query(view, size, rng)",
    ),
    "an argument too many": (
        PLAIN.replace("rng", "rng, more"),
        "mine: missing a required argument: 'more' in query(view, size, rng, more), expected query(view, size, rng)",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_no_method_is_one_message(write, fault):
    text, message = WRONG[fault]
    done = mmal("check-query", write(text), "--pools", "none")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: query method ")
    assert done.stderr.endswith(f"{message}\n")
    assert done.stderr.count("\n") == 1


def test_a_name_that_would_hide_its_runs_is_refused(write):
    for name in (".mine.py", "..py"):
        done = mmal("check-query", write(PLAIN, name), "--pools", "none")
        assert (done.exit_code, done.stdout) == (2, "")
        assert "its runs would lie in a hidden folder; give its file another name" in done.stderr


def test_types_for_type_checkers_alone_and_dataclasses_are_no_fault(write):
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import TYPE_CHECKING\n"
    head += "if TYPE_CHECKING:\n    from torch import Generator\n@dataclass\nclass Choice:\n    size: int\n"
    path = write(head + PLAIN.replace("rng", "rng: Generator, *, alpha: float = 1.0"))
    assert load_method(str(path), {"alpha": "0.5"}).query.keywords == {"alpha": 0.5}
    done = mmal("check-query", path, "--pools", "none", "--option", "alpha=x")
    assert done.stderr.startswith("error: option alpha of query method mine: Input should be a valid number")


@pytest.mark.parametrize("annotation", ["Missing", "object()"])
def test_an_option_of_no_type_is_one_message(write, annotation):
    head = "from __future__ import annotations\n"
    path = write(head + PLAIN.replace("rng", f"rng, *, alpha: {annotation} = 1"))
    done = mmal("check-query", path, "--pools", "none", "--option", "alpha=2")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: query method mine: alpha: {annotation} is no type that can be checked: ")


def test_what_a_method_prints_is_no_result(write):
    path = write("print('loaded')\n" + PLAIN.replace("    return", "    print('asked')\n    return"))
    done = mmal("check-query", path, "--pools", "none", "--json", "--progress", "none")
    assert json.loads(done.stdout)["passed"] is True
    assert "loaded\nasked\n" in done.stderr


def test_a_method_that_ends_the_process_fails(write):
    first, *_ = checking.run(Subject(str(write(PLAIN.replace("    return", "    raise SystemExit(0)\n    return")))))
    assert (first.result, first.detail) == ("FAIL", "asked for 1 of 40: mine.py, line 7: SystemExit: 0")


@pytest.mark.parametrize(
    ("line", "said"),
    [("view.unlabelled.index[9999]", "IndexError: index 9999 is out of bounds"), ("raise SystemExit(0)", "SystemExit: 0")],
)
def test_a_method_that_breaks_in_a_run_is_one_message_and_what_was_finished_stays(data, write, tmp_path, line, said):
    later = PLAIN.replace("    return", f"    if view.cycle == 1:\n        {line}\n    return")
    path, options = write(later), [word for text in FAST[:-2] for word in ("--set", text)]
    options += ["--set", "regimes.low.cycles=3", "--set", "train.lr=0.01"]
    folder = tmp_path / "runs/tiny/low/mine/seed-0"
    with chdir(data.parent):
        done = mmal(*LINE.split(), "--qm", path, "--out", tmp_path / "runs", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: query method mine, cycle 1: asked for ")
    assert f": mine.py, line 8: {said}" in message
    assert "Traceback" not in done.stderr
    assert "Traceback" in (folder / "run.log").read_text()
    assert [file.name for file in folder.glob("cycle-*")] == ["cycle-00.h5"]


def test_a_mistake_of_the_packages_own_methods_keeps_its_traceback(data, tmp_path, monkeypatch):
    module = plugins.load("queries", "entropy", "query method", must_have="query")

    def breaks(view, size, rng):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "query", breaks)
    options = [word for text in FAST for word in ("--set", text)]
    with chdir(data.parent), pytest.raises(ZeroDivisionError):
        mmal(*LINE.split(), "--qm", "entropy", "--out", tmp_path / "runs", *options)
