"""FixMatch: its loss by hand, what its views hold, distribution alignment, whole runs, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmal_cli import fixmatch
from mmal_cli.batches import Batches
from mmal_cli.cell import Cell
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality, Run
from mmal_cli.core.protocol import FixMatch as Settings
from mmal_cli.core.protocol import ModDrop, Train
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.data import Split, load_split
from mmal_cli.fixmatch import Alignment, FixMatch
from mmal_cli.loop import run_active_learning
from tests import tiny

CPU = torch.device("cpu")
SMALL = ["train.epochs=3", "train.batch_size=8", "train.fixmatch.mu=2", "train.min_epoch_samples=32", "regimes.low.cycles=2"]


def recipe(**settings) -> Train:
    fixmatch = Settings(enabled=True, mu=3, **settings)
    return Train(batch_size=2, min_epoch_samples=1, moddrop=ModDrop(enabled=False), fixmatch=fixmatch)


def numbers(samples: int = 20, classes: int = 2) -> Split:
    """One vector of two numbers, which are the logits of a model that does nothing."""
    modalities = (Modality(name="x", kind="vector", shape=(classes,), dtype="float32"),)
    rng = torch.Generator().manual_seed(0)
    inputs = {"x": 4 * torch.randn(samples, classes, generator=rng)}
    return Split(modalities, classes, inputs, torch.ones(samples, 1, dtype=torch.bool), torch.arange(samples) % classes)


class Seen(nn.Module):
    """Gives its inputs back as logits, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def forward(self, inputs, kept):
        self.calls.append((inputs, kept))
        return next(iter(inputs.values())).float()


def lesson(split: Split, train: Train) -> FixMatch:
    return FixMatch(split, torch.arange(4), torch.arange(4, len(split.labels)), train, Chance(0, 0))


def test_the_loss_by_hand():
    """Numbers have no views, so that the strong view is the weak one: its loss is -log p of the sure samples, over all."""
    split, model = numbers(), Seen()
    losses = list(lesson(split, recipe(threshold=0.9, lambda_u=0.5)).losses(model))
    assert len(losses) == 16 // 6
    for loss, (inputs, _) in zip(losses, model.calls, strict=True):
        taught, weak, strong = inputs["x"].split([2, 6, 6])
        assert weak.equal(strong)
        probability = weak.softmax(dim=1).amax(dim=1)
        of_pool = sum(-math.log(p) for p in probability.tolist() if p >= 0.9) / 6
        rows = [split.inputs["x"].eq(row).all(dim=1).nonzero().item() for row in taught]
        of_labels = nn.functional.cross_entropy(taught, split.labels[rows])
        assert loss.item() == pytest.approx(of_labels.item() + 0.5 * of_pool, abs=1e-6)
        assert 0 < (probability >= 0.9).sum() < 6


def test_an_epoch_has_the_pool_once_and_the_labelled_as_often_as_it_has_steps_for():
    split, model = numbers(23), Seen()
    some = lesson(split, recipe())
    epochs = []
    for _ in range(2):
        model.calls.clear()
        list(some.losses(model))
        parts = [inputs["x"].split([2, 6, 6]) for inputs, _ in model.calls]
        pool = torch.cat([weak for _, weak, _ in parts])
        at = [split.inputs["x"].eq(row).all(dim=1).nonzero().item() for row in pool]
        assert len(set(at)) == len(at) == 18
        assert min(at) >= 4
        epochs.append(at)
    assert epochs[0] != epochs[1]
    assert lesson(split, recipe(max_epoch_samples=13)).steps == 2
    paper = Train(batch_size=64, min_epoch_samples=6400, fixmatch=Settings(enabled=True))
    assert [fixmatch.steps(pool, paper) for pool in (12_546, 44_950, 60_000)] == [100, 100, 133]


def test_a_pool_of_few_batches_is_passed_again():
    split, model = numbers(17), Seen()
    train = recipe().model_copy(update={"min_epoch_samples": 10})
    list(lesson(split, train).losses(model))
    pool = [inputs["x"].split([2, 6, 6])[1] for inputs, _ in model.calls]
    assert len(pool) == 5
    at = [[split.inputs["x"].eq(row).all(dim=1).nonzero().item() for row in torch.cat(pool[k : k + 2])] for k in (0, 2)]
    assert [len(set(one)) for one in at] == [12, 12]
    assert at[0] != at[1]


def test_what_alignment_remembers_holds_no_graph():
    split, seen = numbers(), []

    class Learns(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, inputs, kept):
            return inputs["x"] * self.scale

    some = lesson(split, recipe(alignment=True))
    aligned = some._aligned
    some.__dict__["_aligned"] = lambda p: seen.append(p) or aligned(p)
    for loss in some.losses(Learns()):
        loss.backward()
    assert len(seen) == 2
    assert not any(p.requires_grad for p in seen)
    assert not aligned.means.requires_grad


def test_weak_views_have_all_modalities_and_strong_ones_what_moddrop_leaves(tiny_data):
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    absent = split.present.clone()
    absent[10:20, 0] = False
    split, model = replace(split, present=absent), Seen()
    train = recipe().model_copy(update={"moddrop": ModDrop(p=1.0)})
    pool = torch.arange(4, 40)
    some = FixMatch(split, torch.arange(4), pool, train, Chance(0, 0))
    whole, left = [], []
    for _, kept in ((inputs, kept) for inputs, kept in _calls(some, model)):
        _, weak, strong = kept.split([2, 6, 6])
        whole.append(weak), left.append(strong)
    whole, left = torch.cat(whole), torch.cat(left)
    assert sorted(whole.sum(dim=1).tolist()) == sorted(absent[pool].sum(dim=1).tolist())
    assert (left.sum(dim=1) == 1).all()
    assert (left <= whole).all()


def _calls(some: FixMatch, model: Seen):
    class Flat(nn.Module):
        def forward(self, inputs, kept):
            model(inputs, kept)
            return torch.zeros(len(kept), some.split.classes, requires_grad=True)

    list(some.losses(Flat()))
    return model.calls


def test_strong_images_are_changed_more_than_weak_ones(tiny_data):
    split, model = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train"), Seen()
    some = FixMatch(split, torch.arange(4), torch.arange(4, 94), recipe(), Chance(0, 0))
    inputs = [inputs["a"].split([2, 6, 6]) for inputs, _ in _calls(some, model)]
    weak, strong = (torch.cat([parts[k] for parts in inputs]) for k in (1, 2))
    grey = lambda images: (images == 127).all(dim=1).flatten(1).sum(dim=1)  # noqa: E731
    assert (grey(strong) >= 16).all()
    assert (grey(weak) < 16).all()


def test_alignment_moves_towards_uniform_and_remembers_128_batches():
    aligned, p = Alignment(2, CPU), torch.tensor([[0.9, 0.1]])
    first = aligned(p)
    mean = (127 * torch.tensor([0.5, 0.5]) + p[0]) / 128
    expected = p * 0.5 / mean
    assert torch.allclose(first, expected / expected.sum(), atol=1e-5)
    for _ in range(200):
        last = aligned(p)
    assert torch.allclose(last, torch.tensor([[0.5, 0.5]]), atol=1e-4)
    for _ in range(128):
        again = aligned(torch.tensor([[0.5, 0.5]]))
    assert torch.allclose(again, torch.tensor([[0.5, 0.5]]), atol=1e-6)
    assert torch.allclose(aligned(p), first, atol=1e-6)


def test_alignment_comes_before_the_threshold():
    """A model that says class 0 of everything is a little less sure of it once that is known: .95256 of .95257."""
    split = numbers()
    split.inputs["x"][:] = torch.tensor([3.0, 0.0])
    of_pool = {}
    for alignment in (False, True):
        of = lesson(split, recipe(alignment=alignment, threshold=0.9525))
        of_pool[alignment] = [loss.item() for loss in of.losses(Seen())]
    less = [alone - aligned for alone, aligned in zip(of_pool[False], of_pool[True], strict=True)]
    assert less == pytest.approx([math.log(1 + math.exp(-3))] * 2, abs=1e-6)


def test_class_weights_make_rare_classes_count_alike():
    """n / (C n_c): of three samples of class 0 and one of class 1 the loss is the mean of the two classes' means."""
    split, labelled = numbers(8), torch.tensor([0, 2, 4, 1])
    some = Batches(split, labelled, Train(class_weights=True), Chance(0, 0))
    each = nn.functional.cross_entropy(split.inputs["x"][labelled], split.labels[labelled], reduction="none")
    expected = (each[:3].mean() + each[3]) / 2
    assert some.loss(split.inputs["x"][labelled], split.labels[labelled]).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_run_with_any_number_of_modalities_repeats_itself(tmp_path, modalities):
    tiny.make(tmp_path / "data", absent={"a": 0.3} if len(modalities) > 1 else {}, modalities=modalities)
    dataset = Dataset.read(tmp_path / "data" / "dataset.yaml")
    settings, _ = resolve(dataset, "low", "badge", ["quick"], [*SMALL, *tiny.BUDGET], paradigm="semi-sl")
    cell = Cell(dataset, "badge", "low", 0, settings)
    folders = [tmp_path / name for name in ("one", "two")]
    for out in folders:
        assert run_active_learning(cell, tmp_path / "data", out, CPU, "mmal al-run")
    assert cell.folder(folders[0]).parent.name == "badge-semi-sl"
    one, two = (Run.read(cell.folder(out) / "run.yaml") for out in folders)
    assert one.cycles[-1].metrics == two.cycles[-1].metrics
    assert one.config["paradigm"] == "semi-sl"
    assert [cycle.best_epoch for cycle in one.cycles] == [2, 2]


def test_what_was_interrupted_ends_as_what_was_not(tmp_path):
    tiny.make(tmp_path / "data", modalities=("a",))
    dataset = Dataset.read(tmp_path / "data" / "dataset.yaml")
    words = [*SMALL, *tiny.BUDGET, "regimes.low.cycles=3", "train.fixmatch.alignment=true", "train.class_weights=true"]
    settings, _ = resolve(dataset, "low", "badge", ["quick"], words, paradigm="semi-sl")
    cell = Cell(dataset, "badge", "low", 0, settings)
    folder = cell.folder(tmp_path / "runs")

    def metrics():
        run_active_learning(cell, tmp_path / "data", tmp_path / "runs", CPU, "mmal al-run")
        return [cycle.metrics for cycle in Run.read(folder / "run.yaml").cycles]

    whole = metrics()
    for name in ("run.yaml", "cycle-01.h5", "cycle-02.h5"):
        (folder / name).unlink()
    assert metrics() == whole


def test_a_pool_smaller_than_a_batch_ends_before_training(tmp_path):
    tiny.make(tmp_path / "data", train=60)
    dataset = Dataset.read(tmp_path / "data" / "dataset.yaml")
    settings, _ = resolve(dataset, "low", "badge", ["quick"], [*SMALL, *tiny.BUDGET], paradigm="semi-sl")
    cell = Cell(dataset, "badge", "low", 0, settings)
    message = (
        r"FixMatch takes 16 samples of the pool in a batch \(train.batch_size 8 times train.fixmatch.mu 2\), the pool has 15;"
    )
    with pytest.raises(UserError, match=message + r" take fewer: --set train.fixmatch.mu=1"):
        run_active_learning(cell, tmp_path / "data", tmp_path / "runs", CPU, "mmal al-run")
    assert not list((tmp_path / "runs").rglob("*.h5"))
