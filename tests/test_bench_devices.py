"""The items of `mmal bench` on a GPU: `pretend.py` stands for it. No time is asserted."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain, count

import pretend
import pytest
import torch

from mmal_cli.bench import _floor, augment, bald, ideas, queries, step, together

SMALL = {"SIZE": 32, "CLASSES": 3, "BATCH": 60, "STEPS": 2, "ENCODER": "convnet", "WORKERS": 0}


@pytest.fixture
def small(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(step, name, value)
    kept = step.split, step._ours, step._reference
    for cached in kept:
        cached.cache_clear()
    yield
    for cached in kept:
        cached.cache_clear()


def test_both_ways_of_a_step_train_there(small, monkeypatch):
    monkeypatch.setattr(step, "device", lambda: pretend.PLACE)
    with pretend.device():
        assert min(step.ours(), step.reference()) > 0


def test_ideas_and_bald_are_measured_there(small, monkeypatch):
    monkeypatch.setattr(step, "device", lambda: pretend.PLACE)
    for name, value in {"ROUNDS": 1, "WORKERS": 0, "keep_memory": lambda: None}.items():
        monkeypatch.setattr(ideas, name, value)
    for name, value in {"ROUNDS": 1, "PICKS": 5}.items():
        monkeypatch.setattr(bald, name, value)
    monkeypatch.setattr(ideas, "optimisers", lambda model: [])  # torch has fused steps and bf16 for some devices only
    monkeypatch.setattr(ideas, "halved", lambda *words: ("", "", lambda: None, lambda: None))
    with pretend.device():
        assert [row["idea"].partition(" ")[0] for row in ideas.run()] == ["subsets", "uint8", ""]
        assert [row["query"] for row in bald.run()] == ["entropy", "bald", bald.PEER]


def test_queries_are_asked_there_too(monkeypatch):
    small = {"POOL": 100, "CLASSES": 5, "WIDTH": 8, "PICKS": 5, "LABELLED": 30, "DENSE": 50, "ROUNDS": 1}
    for name, value in small.items():
        monkeypatch.setattr(queries, name, value)
    stand_in = nullcontext(lambda make, tasks: ((0.1, 150, 100) for _ in tasks))
    monkeypatch.setattr(queries, "processes", lambda jobs: stand_in)
    monkeypatch.setattr(queries, "choose_device", lambda gpu: pretend.PLACE)
    with pretend.device() as found:
        rows = queries.run()
        assert len(found.waits) > 20
    assert [row["method"] for row in rows if "GPU s" in row] == list(queries.METHODS)


def test_a_batch_is_augmented_there(monkeypatch):
    monkeypatch.setattr(augment, "choose_device", lambda gpu: pretend.PLACE)
    monkeypatch.setattr(augment.compiled, "library", None)  # as the item leaves it, in a process of its own
    seen, apply = [], augment.augment.apply
    monkeypatch.setattr(augment.augment, "apply", lambda name, images, rng: seen.append(apply(name, images, rng)))
    with pretend.device():
        augment._batches("randaug", "GPU", (4, 3, 16, 16), 2)
    assert [x.device for x in seen] == [pretend.PLACE] * 2


def test_runs_at_once_share_the_device(monkeypatch):
    for name, value in {"process": lambda: ThreadPoolExecutor(1), "ours": lambda: 1.0}.items():
        monkeypatch.setattr(step, name, value)
    monkeypatch.setattr(together, "ROUNDS", 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    (row,) = together.run()
    assert (row["device"], row["runs at once"], row["rounds"]) == ("cpu", together.cores(), 3)
    monkeypatch.setattr(step, "device", lambda: pretend.PLACE)
    assert [row["runs at once"] for row in together.run()] == [2, 4, 8]


class Squares(torch.nn.Module):
    """Keeps for its gradients what it multiplies and what it squares."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 5, bias=False)

    def forward(self, inputs, kept):
        return self.layer(inputs["a"]).square()


def test_the_floor_counts_what_a_step_keeps_twice_and_the_weights_seven_times(monkeypatch):
    monkeypatch.setattr(_floor, "bandwidth", lambda device: 1.0)
    assert _floor.floor(Squares(), {"a": torch.ones(3, 4)}, None) == 2 * 4 * (12 + 15) + 7 * 4 * 20


def test_a_copy_tells_how_fast_memory_is_reads_and_writes_counted(monkeypatch):
    clock = chain.from_iterable((start, start + 4.0) for start in count(step=10.0))
    monkeypatch.setattr(_floor.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(_floor, "COPIED", 1000)
    assert _floor.bandwidth(torch.device("cpu")) == 2 * 1000 / 4
