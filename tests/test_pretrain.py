"""SimCLR: views, loss and optimiser by hand; a folder that is resumed, finished, refused; runs that begin with it."""

import math
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from dataclasses import replace

import pytest
import tiny
import torch
import yaml
from sweeps import FAST
from torchvision.transforms import functional as theirs
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Run
from mmal_cli.core.pretrained import Pretrained, Recipe
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.model import build
from mmal_cli.pretraining import simclr, views
from mmal_cli.pretraining.lars import LARS, TRUST

RECIPE = Recipe(epochs=3, warmup_epochs=1, batch_size=32, lr=1.0, weight_decay=1e-4, temperature=0.5, jitter=0.5, blur=False)
WITH = ["--with", "quick"]
LEARN = ["pretrain", "--data", "data", "--recipe", "./mine.yaml", *WITH, "--gpu", "none"]


def pictures(count=6, channels=3, side=16, seed=0):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


# --- views


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.1, 0.45])
def test_hues_are_turned_as_torchvision_turns_them(turn):
    x = pictures()
    found = views.turned(x, torch.full((6, 1, 1, 1), turn))
    torch.testing.assert_close(found, theirs.adjust_hue(x, turn), atol=2e-5, rtol=0)


def test_greys_stay_grey_whatever_the_turn():
    x = pictures(channels=1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(views.turned(x, torch.full((6, 1, 1, 1), 0.3)), x)


def test_colours_change_as_torchvision_changes_them():
    x, by = pictures(), torch.tensor([0.3, -0.4, 0.2, 0.1]).view(4, 1, 1, 1, 1).expand(4, 6, 1, 1, 1)
    expected = theirs.adjust_contrast(theirs.adjust_brightness(x, 1.3), 0.6)
    expected = theirs.adjust_hue(theirs.adjust_saturation(expected, 1.2), 0.1)
    torch.testing.assert_close(views.coloured(x, by), expected, atol=1e-4, rtol=0)


def test_blur_is_torchvision_s_with_a_sigma_for_each():
    x, sigma = pictures(side=40), torch.linspace(0.2, 2, 6)
    expected = torch.cat([theirs.gaussian_blur(one[None], [5, 5], [float(s)] * 2) for one, s in zip(x, sigma, strict=True)])
    torch.testing.assert_close(views.blurry(x, sigma), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("blur", [False, True])
def test_views_come_from_the_generator_alone_and_differ(channels, blur):
    images = (pictures(40, channels, 32) * 255).to(torch.uint8)
    kept = images.clone()
    one, again, other = (views.view(images, 0.5, blur, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(images, kept)
    assert (one.shape, one.dtype) == (images.shape, torch.uint8)


def test_without_colours_a_view_is_a_crop_alone():
    flat = torch.full((20, 3, 16, 16), 77, dtype=torch.uint8)
    assert (views.view(flat, 0.0, True, torch.Generator().manual_seed(0)).float() - 77).abs().max() <= 1


# --- loss, optimiser, schedule


def test_the_loss_of_the_formula_written_out():
    z, t = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), 0.3
    unit = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(6):
        alike = {k: math.exp(float(unit[i] @ unit[k]) / t) for k in range(6) if k != i}
        total -= math.log(alike[(i + 3) % 6] / sum(alike.values()))
    assert float(simclr.contrast(z, t)) == pytest.approx(total / 6, rel=1e-5)


def test_lars_by_hand():
    weight, bias = torch.nn.Parameter(torch.tensor([[3.0, 4.0]])), torch.nn.Parameter(torch.tensor([2.0]))
    optimiser = LARS([weight, bias], lr=0.5, momentum=0.9, weight_decay=0.1)
    weight.grad, bias.grad = torch.tensor([[0.0, 2.0]]), torch.tensor([1.0])
    optimiser.step()
    rate = TRUST * 5 / (2 + 0.1 * 5 + 1e-8)
    first = [0.1 * 3 * rate, (2 + 0.1 * 4) * rate]
    assert weight.tolist()[0] == pytest.approx([3 - 0.5 * first[0], 4 - 0.5 * first[1]])
    assert bias.tolist() == pytest.approx([1.5])
    optimiser.step()
    assert bias.tolist() == pytest.approx([1.5 - 0.5 * 1.9])


def test_the_learning_rate_rises_and_falls():
    recipe = RECIPE.model_copy(update={"lr_start": 0.2, "lr_end": 0.01})
    found = [simclr.rate(recipe, step, 2) for step in range(6)]
    assert found[:3] == pytest.approx([0.2, 0.6, 1.0])
    assert found[3] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert simclr.rate(recipe, 6, 2) == pytest.approx(0.01)


# --- folders


def said(place, *words):
    """What `mmal` says in a folder, in this process: exit_code, stdout, stderr."""
    with chdir(place):
        return CliRunner().invoke(app.build(), [str(word) for word in words], prog_name="mmal")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset, a recipe, and a folder `pre` that was learnt; and what was said."""
    place = tmp_path_factory.mktemp("pretrained")
    tiny.make(place / "data")
    (place / "mine.yaml").write_text(yaml.safe_dump(RECIPE.model_dump()))
    return place, said(place, *LEARN, "--out", "pre")


@pytest.fixture
def learnt(made, tmp_path):
    """A copy of it, and how to learn there."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    return (lambda *words, out="pre": said(tmp_path, *LEARN, "--out", out, *words)), tmp_path


def weights(folder):
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in "ab"}


def same(one, two):
    return all(torch.equal(one[name][key], two[name][key]) for name in one for key in one[name])


def test_it_learns_finds_itself_done_and_repeats_itself(made, learnt):
    (_, done), (learn, place) = made, learnt
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "pre"
    assert {path.name for path in (place / "pre").iterdir()} == {"a.pt", "b.pt", "pretrained.yaml"}
    found = Pretrained.read(place / "pre" / "pretrained.yaml")
    assert [one.encoder for one in found.modalities.values()] == ["convnet", "convnet"]
    losses = [epoch.loss for epoch in found.modalities["a"].epochs]
    assert len(losses) == 3
    assert losses[-1] < losses[0] < math.log(63) + 0.5
    again = learn()
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    assert "already done: pre" in again.stderr
    assert learn(out="other").exit_code == 0
    assert same(weights(place / "pre"), weights(place / "other"))
    refused = learn("--epochs", 2)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "pre belongs to another configuration: config.recipe.epochs (there 3, asked 2); choose" in refused.stderr


def test_interrupted_it_goes_on_where_it_was(learnt, monkeypatch):
    learn, place = learnt
    code = "from mmal_cli.pretraining import simclr; simclr.SAVE_EVERY = 0.0\nfrom mmal_cli.app import main; import sys\n"
    code += "keep = simclr._write\n"
    code += "def slow(*words):\n    keep(*words); import time; time.sleep(1)\nsimclr._write = slow\nmain()"
    process = subprocess.Popen([sys.executable, "-c", code, *LEARN, "--out", "part"], cwd=place, stderr=subprocess.PIPE)
    while not (place / "part" / "a.part").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, heard = process.communicate(timeout=60)
    assert process.returncode == 130, heard
    assert not (place / "part" / "pretrained.yaml").exists()
    done = learn(out="part")
    assert done.exit_code == 0, done.stderr
    assert "pretrain tiny a: 0 of 3" not in done.stderr, "finished epochs are not learnt again"
    assert same(weights(place / "pre"), weights(place / "part"))


def run(place, *words, data="data"):
    options = [word for text in FAST for word in ("--set", text)]
    return said(place, "al-run", "--data", data, "--qm", "random", "--regime", "low", "--gpu", "none", *WITH, *options, *words)


def test_a_run_begins_with_its_weights_in_every_cycle_and_says_which(learnt):
    _, place = learnt
    done = run(place, "--pretrained", "pre", "--set", "train.epochs=1")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == "runs/tiny/low/random-self-sl/seed-0"
    record = Run.read(place / done.stdout.strip() / "run.yaml")
    found = Pretrained.read(place / "pre" / "pretrained.yaml")
    assert record.config["settings"]["model"]["start"] == {name: one.sha256 for name, one in found.modalities.items()}
    assert "pre" not in record.config["settings"]["model"]["start"].values()
    assert record.config["paradigm"] == "self-sl"
    other = run(place, "--paradigm", "self-sl", "--set", "train.epochs=1")
    helps = "paradigm st, expected self-sl; give --pretrained FOLDER, made by: mmal pretrain --data data/tiny"
    assert (other.exit_code, helps in other.stderr) == (2, True), other.stderr
    (place / "pre").rename(place / "moved")
    again = run(place, "--pretrained", "moved", "--set", "train.epochs=1")
    assert (again.exit_code, "already done" in again.stderr) == (0, True), again.stderr


def test_models_have_the_weights(learnt):
    _, place = learnt
    dataset = Dataset.read(place / "data" / "dataset.yaml")
    settings, _ = resolve(dataset, "low", "random", ["quick"], begun=place / "pre")
    model, kept = build(dataset.modalities, 3, settings, 0.0, seed=5), weights(place / "pre")
    assert same({name: encoder.state_dict() for name, encoder in model.encoders.items()}, kept)
    (place / "pre" / "a.pt").write_bytes(b"other")
    with pytest.raises(
        UserError,
        match=r"pre/a.pt is missing, damaged or edited; remove .*pre/pretrained.yaml and make it again: mmal pretrain ",
    ):
        build(dataset.modalities, 3, settings, 0.0, seed=5)


def test_a_folder_for_another_encoder_or_dataset_is_refused(learnt):
    _, place = learnt
    done = run(place, "--pretrained", "pre", "--set", "model.encoders.image=resnet18")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pre has a for encoder convnet, the run has resnet18; give mmal pretrain and mmal al-run the same" in done.stderr
    tiny.make(place / "data2", train=90)
    done = run(place, "--pretrained", "pre", data="data2")
    assert "pre was pretrained on tiny with id " in done.stderr
    done = run(place, "--pretrained", "nowhere")
    assert "nowhere/pretrained.yaml not found; make it by: mmal pretrain --data data/tiny --out nowhere" in done.stderr


def test_reserved_and_absent_samples_are_not_read(tmp_path):
    tiny.make(tmp_path, absent={"a": 0.5})
    dataset = Dataset.read(tmp_path / "dataset.yaml")
    settings, _ = resolve(dataset, "low", "random", ["quick"])
    split = load_split(tmp_path, dataset, "train")
    few = torch.zeros(120, dtype=torch.bool)
    few[:119] = True
    reserved = replace(split, reserved=few, present=torch.ones_like(split.present))
    with pytest.raises(UserError, match="1 samples of train have b, expected 2 or more to tell apart"):
        simclr.learn(reserved, "b", settings, RECIPE, 0, tmp_path / "b.part", "id")
    noise = torch.randint_like(split.inputs["a"], 256)
    changed = replace(
        split, inputs=split.inputs | {"a": torch.where(split.present[:, 0, None, None, None], split.inputs["a"], noise)}
    )
    one, two = (simclr.learn(x, "a", settings, RECIPE, 0, tmp_path / f"{k}", "id")[0] for k, x in enumerate((split, changed)))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("text", "expected"), [
    ("- 1", "holds list, expected the settings of a recipe"),
    ("epochs: 0", "epochs: Input should be greater than or equal to 1"),
])  # fmt: skip
def test_a_recipe_that_is_wrong_is_one_message(learnt, text, expected):
    learn, place = learnt
    (place / "mine.yaml").write_text(text)
    done = learn(out="none")
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert not (place / "none").exists()
