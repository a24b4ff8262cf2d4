"""The items of `mmal bench` that train and ask run at a size of seconds and compare like with like. No time is asserted."""

import json
from contextlib import nullcontext

import pytest
import torch
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.bench import bald, deterministic, growth, ideas, overhead, queries, start, step
from mmal_cli.core.seeds import generator
from mmal_cli.depthwise import Depthwise
from mmal_cli.gradients import kmeans_plus_plus, residual
from mmal_cli.method import load_method
from mmal_cli.model import build


@pytest.fixture
def small(monkeypatch):
    for name, value in {"POOL": 300, "CLASSES": 5, "WIDTH": 8, "PICKS": 20, "LABELLED": 30, "DENSE": 100, "ROUNDS": 1}.items():
        monkeypatch.setattr(queries, name, value)


def test_queries_are_set_beside_reading_and_dense_gradients(small, monkeypatch):
    """A process of its own would have the full constants, hence the stand-in for it."""
    stand_in = nullcontext(lambda make, tasks: ((0.1, 150, 100) for _ in tasks))
    monkeypatch.setattr(queries, "processes", lambda jobs: stand_in)
    rows = queries.run()
    assert [row["method"] for row in rows] == list(queries.METHODS)
    assert all(row["times reading"] > 0 and row["memory / inputs"] == 1.5 for row in rows)
    assert [row["method"] for row in rows if row["times dense"] == ""] == ["kcg"]


@pytest.mark.parametrize("name", queries.METHODS)
def test_a_made_view_has_what_its_method_needs_and_no_more(small, name):
    view = queries.view_of(300, name)
    query, needs = load_method(name, {}).query, load_method(name, {}).needs
    assert len(query(view, 20, generator(0, "query")).unique()) == 20
    fields = ("logits", "embeddings", "subset_logits", "subset_embeddings")
    assert {field for field in fields if getattr(view.unlabelled, field) is not None} == needs - {"labelled"}


def test_what_badge_reads_are_its_factors(small):
    view = queries.view_of(300, "badge")
    logits, embeddings = queries.read_by(view, "badge")
    picks = kmeans_plus_plus(residual(logits), embeddings, 20, generator(0, "query"))
    asked = load_method("badge", {}).query(view, 20, generator(0, "query"))
    assert torch.equal(asked, picks)


def test_the_cost_of_a_query_is_beyond_its_inputs(small):
    seconds, beyond, inputs = queries.cost("badge", 20_000, 5, 0, rounds=3)
    assert seconds > 0
    assert inputs == 20_000 * (5 + 8) * 4
    assert 0 < beyond < 2**26


def test_slopes_are_between_neighbours(monkeypatch, tmp_path):
    rows = [{"pool": 1000, "s": 0.1, "MiB": 0.0}, {"pool": 10_000, "s": 10.0, "MiB": 3.0}]
    assert growth.slope(None, rows[0], "s") is None
    assert growth.slope(rows[0], rows[1], "s") == 2.0
    assert growth.slope(rows[0], rows[1], "MiB") is None
    pytest.importorskip("matplotlib")
    drawn = [{"method": "badge", "slope of s": 2.0, "slope of MiB": None, **row} for row in rows]
    growth.draw(drawn, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_both_ways_of_a_step_train_the_same_network_on_the_same_samples(monkeypatch):
    for name, value in {"SIZE": 32, "CLASSES": 3, "BATCH": 4, "STEPS": 2, "WORKERS": 0}.items():
        monkeypatch.setattr(step, name, value)
    for kept in (step.split, step._ours, step._reference):
        kept.cache_clear()
    data, chosen = step.split(), step.settings()
    plain, ours = step.plain_model(data, chosen, 0), step.build(data.modalities, 3, chosen, 0.0, 0)
    batch = data.batch(torch.arange(8))
    normalised = {name: (x.float() / 255 - 0.5) / 0.5 for name, x in batch.inputs.items()}
    torch.testing.assert_close(plain(normalised, batch.present), ours(batch.inputs, batch.present), rtol=1e-3, atol=1e-3)
    assert not any(isinstance(layer, Depthwise) for layer in plain.modules())
    inputs, present, label = step.Pictures(data, torch.arange(4, 8), "basic")[3]
    assert {name: x.shape for name, x in inputs.items()} == {name: x[7].shape for name, x in normalised.items()}
    assert (present.tolist(), label) == ([True, True], data.labels[7])
    assert min(step.ours(), step.reference(), deterministic.same_bits()) > 0
    assert not torch.are_deterministic_algorithms_enabled()
    for kept in (step.split, step._ours, step._reference):
        kept.cache_clear()


def test_bald_is_set_beside_entropy_on_one_pool(monkeypatch):
    for name, value in {"SIZE": 16, "CLASSES": 3, "BATCH": 60, "STEPS": 2, "ENCODER": "convnet"}.items():
        monkeypatch.setattr(step, name, value)
    monkeypatch.setattr(bald, "ROUNDS", 1)
    monkeypatch.setattr(bald, "PICKS", 5)
    step.split.cache_clear()
    rows = bald.run()
    step.split.cache_clear()
    assert [(row["query"], row["pool"]) for row in rows] == [("entropy", 19), ("bald", 19), (bald.PEER, 19)]


def test_the_parts_of_a_run_add_up_to_all_of_it(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(overhead, "REGIME", "low")
    found = overhead.parts(tiny_data, tmp_path, *(word for text in FAST for word in ("--set", text)))
    assert list(found) == ["train", "test", "query", "rest", "start"]
    assert min(found["train"], found["start"]) > 0
    assert sum(found.values()) == pytest.approx(found["start"] + read_seconds(tmp_path), abs=0.01)


def read_seconds(out):
    (path,) = out.rglob("run.yaml")
    return overhead.Run.read(path).made["seconds"]


def test_both_ways_of_an_idea_give_the_same(monkeypatch):
    for name, value in {"SIZE": 16, "CLASSES": 3, "BATCH": 4, "STEPS": 2, "ENCODER": "convnet"}.items():
        monkeypatch.setattr(step, name, value)
    for name, value in {"ROUNDS": 1, "WORKERS": 0, "keep_memory": lambda: None}.items():
        monkeypatch.setattr(ideas, name, value)
    step.split.cache_clear()
    data = step.split()
    model = build(data.modalities, data.classes, step.settings(), 0.0, seed=0).eval()
    *_, ours, plain = ideas.held(model, data)
    batches = plain()
    assert len(ours()) == len(batches) == 4
    for x, other in zip(ours(), batches, strict=True):
        torch.testing.assert_close(x, other)
    *_, ours, plain = ideas.at_once(model, data)
    for found in plain():
        ((subset, logits),) = found.subset_logits.items()
        torch.testing.assert_close(ours().subset_logits[subset], logits)
    *_, ours, plain = ideas.halved(model, data)
    both = []
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "cross_entropy", lambda logits, labels: both.append(logits) or logits.sum())
        ours()
        plain()
    assert [logits.dtype for logits in both] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(both[0].float(), both[1], rtol=0.05, atol=0.05)
    rows = ideas.run()
    step.split.cache_clear()
    assert [row["idea"].split()[0] for row in rows] == ["foreach", "fused", "subsets", "uint8", "bf16"]


def test_bench_writes_what_it_shows_and_leaves_the_figures_of_others(monkeypatch, tmp_path):
    (tmp_path / "bench.json").write_text('{"other": 1, "start": 2}')
    monkeypatch.setattr(start, "ROUNDS", 1)
    monkeypatch.setattr(start, "REFERENCES", {"python -c pass": ("-c", "pass")})
    said = CliRunner().invoke(app.build(), ["bench", "start", "--json", "--out", str(tmp_path), "--progress", "none"])
    assert said.exit_code == 0
    shown = json.loads(said.stdout)
    assert json.loads((tmp_path / "bench.json").read_text()) == {"other": 1} | shown
    assert shown["start"]["versions"]["torch"] == torch.__version__
