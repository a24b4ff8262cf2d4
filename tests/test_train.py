"""Training: the schedule, the epochs, modality dropout, what decays, and what a diverging loss says."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmal_cli.batches import epoch_order, factor
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.protocol import ModDrop, Settings, Train
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.moddrop import drop_modalities
from mmal_cli.model import build
from mmal_cli.predict import dropout_masks, predict
from mmal_cli.train import fit, make_optimiser
from tests import tiny

FAST = ["train.epochs=3", "train.min_epoch_samples=64", "train.warmup_epochs=1", "train.batch_size=64", "regimes.low.cycles=2"]


def settings(*assignments: str, classes: int = 3, data=None) -> Settings:
    return resolve(Dataset.read(data / "dataset.yaml"), "low", "random", ["quick"], [*FAST, *assignments])[0]


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0), (1, 1 / 430), (215, 0.5), (429, 0.997674), (430, 1), (1505, 0.5), (2579, 5.3e-7)]
)
def test_schedule_of_60_epochs_with_10_of_warm_up(step, expected):
    assert factor(Train(), 43, *divmod(step, 43)) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("batch", "steps"), [(1024, 6), (256, 22), (128, 43), (64, 86)])
def test_steps_of_an_epoch_of_5500_draws(batch, steps):
    draws = next(epoch_order(torch.zeros(50, dtype=torch.int64), Train(), torch.Generator()))
    assert len(draws) == 5500
    assert math.ceil(len(draws) / batch) == len(draws.split(batch)) == steps


@pytest.mark.parametrize(("n", "times"), [(50, {110}), (500, {11}), (1000, {5, 6}), (6000, {1})])
def test_each_sample_comes_up_equally_often(n, times):
    draws = next(epoch_order(torch.zeros(n, dtype=torch.int64), Train(), torch.Generator().manual_seed(1)))
    assert set(Counter(draws.tolist()).values()) == times
    assert len(draws.unique()) == n


def test_epochs_differ_and_a_stream_repeats_itself():
    labels, train = torch.arange(10), Train(min_epoch_samples=40)
    first, again = (epoch_order(labels, train, torch.Generator().manual_seed(5)) for _ in range(2))
    a, b = next(first), next(first)
    assert not a.equal(b)
    assert next(again).equal(a)


def test_balanced_sampling_draws_classes_equally():
    labels = torch.tensor([0] * 90 + [2] * 10)
    draws = next(epoch_order(labels, Train(balanced_sampling=True), torch.Generator().manual_seed(0)))
    share = (labels[draws] == 2).double().mean().item()
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 5500))


def test_moddrop_drops_one_of_two_half_the_time():
    present = torch.ones(20_000, 2, dtype=torch.bool)
    kept = drop_modalities(present, ModDrop(), torch.Generator().manual_seed(0))
    shares = [((kept[:, 0] == a) & (kept[:, 1] == b)).double().mean().item() for a, b in ((1, 1), (1, 0), (0, 1))]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.015)


@given(st.integers(1, 4), st.sampled_from(["one", "bernoulli"]), st.floats(0, 1), st.integers(0, 99))
def test_moddrop_never_invents_and_never_takes_the_last(m, mode, p, seed):
    rng = torch.Generator().manual_seed(seed)
    present = torch.rand(64, m, generator=rng) < 0.6
    present[present.sum(dim=1) == 0, 0] = True
    kept = drop_modalities(present, ModDrop(p=p, mode=mode), rng)
    assert not (kept & ~present).any()
    assert kept.any(dim=1).all()
    if mode == "one":
        assert ((present.sum(dim=1) - kept.sum(dim=1)) <= 1).all()


def test_norms_and_biases_do_not_decay(tiny_data):
    s = settings(data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    model = build(split.modalities, 3, s, 0.0, 0)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, spared = ([names[id(p)] for p in group["params"]] for group in make_optimiser(model, s.train).param_groups)
    assert len(decayed) + len(spared) == len(names)
    assert not [name for name in decayed if "bias" in name or "norm" in name.lower()]
    assert "head.weight" in decayed
    assert "head.bias" in spared


def test_a_fit_repeats_itself_and_learns(tiny_data):
    s = settings("train.epochs=12", "train.min_epoch_samples=256", data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    validation = torch.arange(60, 120)
    labelled = tiny.pool(split, range(60), validation)
    one, two = (fit(split, labelled, validation, s, 0.0, Chance(3, 0)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True))
    assert one.validation["balanced_accuracy"] > 0.9
    other = fit(split, labelled, validation, s, 0.0, Chance(4, 0))
    assert not other.model.head.weight.equal(one.model.head.weight)


def test_the_kept_weights_are_those_of_the_best_epoch_the_earliest_on_ties(tiny_data, monkeypatch):
    import mmal_cli.train as module

    scores, heads = iter([0.2, 0.7, 0.7]), []

    def score(model, *_):
        heads.append(model.head.weight.detach().clone())
        return next(scores)

    monkeypatch.setattr(module, "_validate", score)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    fitted = fit(
        split, tiny.pool(split, range(30), range(60, 90)), torch.arange(60, 90), settings(data=tiny_data), 0.0, Chance(0, 0)
    )
    assert (fitted.best_epoch, fitted.validation) == (1, {"balanced_accuracy": 0.7})
    assert fitted.model.head.weight.equal(heads[1])


def test_a_diverging_loss_says_where_and_what_to_do(tiny_data):
    s = settings("train.lr=1e30", "train.warmup_epochs=0", data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    message = r"cycle 2, epoch 1 of 3: the loss is not finite at a learning rate of up to 1e\+30; .*: --set train.lr=1e\+29"
    with pytest.raises(UserError, match=message):
        fit(split, tiny.pool(split, range(30), range(60, 90)), torch.arange(60, 90), s, 0.0, Chance(0, 2))


def test_a_blow_up_in_the_very_last_step_is_seen(tiny_data):
    s = settings("train.lr=1e30", "train.warmup_epochs=0", "train.epochs=1", "train.min_epoch_samples=30", data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    with pytest.raises(UserError, match=r"cycle 0, epoch 1 of 1: the loss is not finite"):
        fit(split, tiny.pool(split, range(30), range(60, 90)), torch.arange(60, 90), s, 0.0, Chance(0, 0))


def test_passes_share_their_masks_and_average_in_probability(tiny_data):
    s = settings("model.mc_passes=7", data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    model = build(split.modalities, 3, s, 0.5, 0).eval()
    masks = dropout_masks(model, s, Chance(0, 0))
    assert set(masks.unique().tolist()) == {0.0, 2.0}
    found = predict(model, split, torch.arange(20), {"logits", "passes"}, masks)
    assert found.passes.shape == (7, 20, 3)
    torch.testing.assert_close(found.logits.exp(), found.passes.softmax(dim=2).mean(dim=0))
    alone = predict(model, split, torch.tensor([11]), {"passes"}, masks)
    torch.testing.assert_close(alone.passes[:, 0], found.passes[:, 11])


def test_each_encoder_runs_once_for_a_sample_whatever_the_passes_and_subsets(tiny_data):
    s = settings("model.mc_passes=50", data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "train")
    model = build(split.modalities, 3, s, 0.5, 0).eval()
    seen = []
    for name, encoder in model.encoders.items():
        encoder.register_forward_hook(lambda module, args, out, name=name: seen.append((name, len(args[0]))))
    needs = {"logits", "passes", "subset_logits"}
    predict(model, split, torch.arange(20), needs, dropout_masks(model, s, Chance(0, 0)), [("a",), ("b",), ("a", "b")])
    assert seen == [("a", 20), ("b", 20)]


def test_subsets_are_scored_as_if_the_others_were_absent(tiny_data):
    s = settings(data=tiny_data)
    split = load_split(tiny_data, Dataset.read(tiny_data / "dataset.yaml"), "test")
    model = build(split.modalities, 3, s, 0.0, 0).eval()
    index = torch.arange(30)
    found = predict(model, split, index, {"logits", "subset_logits"}, subsets=[(), ("a",), ("a", "b")])
    noise = torch.randint_like(split.inputs["b"], 0, 255)
    changed = type(split)(split.modalities, 3, {**split.inputs, "b": noise}, split.present, split.labels)
    again = predict(model, changed, index, {"subset_logits"}, subsets=[("a",)])
    assert again.subset_logits["a",].equal(found.subset_logits["a",])
    assert found.subset_logits["a", "b"].equal(found.logits)
    assert torch.isfinite(found.subset_logits[()]).all()
    assert (found.subset_logits[()] == found.subset_logits[()][0]).all()
