"""That everything works on a device that is not the CPU, and that training does not wait for it; `pretend.py` stands for it."""

import numpy as np
import pretend
import pytest
import tiny
import torch
from sweeps import FAST

from mmal_cli import augment, model, train
from mmal_cli.cell import Cell
from mmal_cli.checking import devices
from mmal_cli.core import plugins, shards
from mmal_cli.core.manifest import Dataset, Modality
from mmal_cli.core.pretrained import Recipe
from mmal_cli.core.seeds import Chance, generator
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.device import sent
from mmal_cli.loop import run_active_learning
from mmal_cli.method import load_method
from mmal_cli.pretraining import simclr, views

SHAPES = {"image": (3, 32, 32), "series": (2, 64), "vector": (5,), "tokens": (2, 16)}
DTYPES = {"image": "uint8", "series": "int16", "vector": "float32", "tokens": "int32"}
TAUGHT = {"epochs": 1, "warmup_epochs": 0, "batch_size": 32, "lr": 1.0, "weight_decay": 1e-4, "temperature": 0.5}
TAUGHT |= {"jitter": 0.5, "blur": True}
WORDS = [*FAST, "train.epochs=3", "train.augmentation=randaug"]


def settings_of(folder, *words, **options):
    dataset = Dataset.read(folder / "dataset.yaml")
    return dataset, resolve(dataset, "low", "bald", ["quick"], [*WORDS, *words], **options)[0]


def test_two_devices_in_one_operation_are_an_error():
    with pretend.device():
        x = torch.ones(2, device=pretend.PLACE)
        with pytest.raises(RuntimeError, match=r"one device, found \(2,\) there, \(2,\) here"):
            x + torch.ones(2)
        with pytest.raises(RuntimeError, match=r"values on the device, found \(2,\) here"):
            x[torch.tensor([0, 1])] = torch.ones(2)


def test_last_bits_are_off_on_the_device_alone():
    x = torch.rand(1000, 3, dtype=torch.float64, generator=generator(0, "x"))
    with pretend.device(generator(0, "rounding")):
        there, here = (x.to(pretend.PLACE) @ x.T[:, :1].to(pretend.PLACE)).held, x @ x.T[:, :1]
        assert torch.equal(here, x @ x.T[:, :1])
    assert 0 < (there - here).abs().max() < 1e-14


def test_what_waits_is_noted():
    mask = torch.tensor([True, False])
    with pretend.device() as found:
        x = sent(torch.ones(2), pretend.PLACE)
        x.add_(1).mul_(x).index_select(0, sent(torch.tensor([0]), pretend.PLACE))
        assert found.waits == []
        shapes = lambda: x[sent(mask, x.device)], lambda: x.unique()
        for wait in (lambda: x.sum().item(), lambda: x.equal(x), lambda: x.cpu(), lambda: mask.to(pretend.PLACE), *shapes):
            before = len(found.waits)
            wait()
            assert len(found.waits) == before + 1
        assert x.tolist() == [4, 4]


@pytest.mark.parametrize(("fusion", "paradigm"), [*((name, "st") for name in plugins.names("fusions")), ("concat", "semi-sl")])
def test_training_is_the_cpus_and_no_epoch_waits(tmp_path, monkeypatch, fusion, paradigm):
    """The first epoch reads the labels once, for the order of the samples."""
    tiny.make(tmp_path, absent={"b": 0.4})
    dataset, settings = settings_of(tmp_path, f"model.fusion={fusion}", paradigm=paradigm)
    split = load_split(tmp_path, dataset, "train")
    taught = tiny.pool(split, range(30), range(30, 45)), torch.arange(30, 45), settings, 0.5, Chance(0, 0)
    expected, waited, epoch = train.fit(split, *taught).model.state_dict(), [], train.train_epoch
    with pretend.device() as found:

        def watched(*args):
            before = len(found.waits)
            loss = epoch(*args)
            waited.append(found.waits[before:])
            return loss

        monkeypatch.setattr(train, "train_epoch", watched)
        weights = train.fit(split.to(pretend.PLACE), *taught).model.state_dict()
    assert waited == [["aten._to_copy.default"], [], []]
    for name, value in expected.items():
        torch.testing.assert_close(weights[name].held, value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_no_encoder_waits_but_for_what_texts_have_of_tokens(tmp_path, name):
    (kind,) = plugins.load("encoders", name, "encoder", must_have="Encoder").KINDS
    modality = Modality(name="a", kind=kind, shape=SHAPES[kind], dtype=DTYPES[kind])
    tiny.make(tmp_path)
    chosen = settings_of(tmp_path, f"model.encoders.a={name}")[1]
    x = torch.ones(4, *modality.shape, dtype=getattr(torch, modality.dtype))
    present = torch.tensor([[True], [False], [True], [True]])
    with pretend.device() as found:
        network = model.build([modality], 3, chosen, 0.5, 0).to(pretend.PLACE)
        inputs, before = {"a": x.to(pretend.PLACE)}, len(found.waits)
        network(inputs, present).sum().backward()
        assert found.waits[before:] == ["aten._local_scalar_dense.default"] * (2 if name == "minilm" else 0)
    assert all(weight.grad is not None for weight in network.head.parameters())


@pytest.mark.parametrize("size", [(16, 24), (128, 128)])
@pytest.mark.parametrize("name", augment.NAMES)
def test_augmentations_are_the_cpus_and_do_not_wait(name, size):
    images = torch.randint(0, 256, (30, 3, *size), dtype=torch.uint8, generator=generator(0, "images"))
    expected = augment.apply(name, images, generator(0, "augment"))
    with pretend.device() as found:
        there, before = images.to(pretend.PLACE), len(found.waits)
        made = augment.apply(name, there, generator(0, "augment"))
        assert found.waits[before:] == []
    assert torch.equal(made.held, expected)


def test_views_of_pretraining_are_the_cpus_and_do_not_wait():
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=generator(0, "images"))
    expected = views.view(images, 1.0, True, generator(0, "views"))
    with pretend.device() as found:
        there, before = images.to(pretend.PLACE), len(found.waits)
        made = views.view(there, 1.0, True, generator(0, "views"))
        assert found.waits[before:] == []
    assert torch.equal(made.held, expected)


def test_an_epoch_of_pretraining_is_the_cpus_and_waits_at_its_end(tmp_path):
    tiny.make(tmp_path)
    dataset, settings = settings_of(tmp_path)
    split, recipe = load_split(tmp_path, dataset, "train"), Recipe(**TAUGHT)
    expected, _ = simclr.learn(split, "a", settings, recipe, 0, tmp_path / "here", "id")
    with pretend.device() as found:
        there = split.to(pretend.PLACE)
        pupil, before = simclr.make(there, "a", settings, recipe, 0), len(found.waits)
        simclr._epoch(pupil, there, "a", torch.arange(64), recipe, 0, 0)
        assert found.waits[before:] == ["aten._local_scalar_dense.default"] * 2
        weights, _ = simclr.learn(there, "a", settings, recipe, 0, tmp_path / "there", "id")
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", plugins.names("queries"))
def test_selections_are_the_cpus_whatever_the_last_bits(monkeypatch, name):
    monkeypatch.setattr(devices, "PICKS", 8)
    with pretend.device(generator(0, "rounding")):
        assert devices.compared(load_method(name, {}), pretend.PLACE).startswith("8 of 200")


@pytest.mark.parametrize("qm", ["kcg", "bmmal"])
def test_a_run_is_the_cpus(tmp_path, qm):
    tiny.make(tmp_path, absent={"b": 0.4})
    dataset = Dataset.read(tmp_path / "dataset.yaml")
    settings, _ = resolve(dataset, "low", qm, ["quick"], [*FAST, "train.augmentation=randaug"])
    cell, found = Cell(dataset, qm, "low", 0, settings), []
    for name, place in (("here", torch.device("cpu")), ("there", pretend.PLACE)):
        with pretend.device():
            assert run_active_learning(cell, tmp_path, tmp_path / name, place, "mmal al-run")
        found.append([shards.read_arrays(p)[0] for p in sorted(cell.folder(tmp_path / name).glob("cycle-*.h5"))])
    for here, there in zip(*found, strict=True):
        assert all(np.array_equal(here[key], there[key]) for key in ("labelled", "selected", "validation"))
        np.testing.assert_allclose(here["test_logits/a+b"], there["test_logits/a+b"], rtol=0.01, atol=0.01)
