"""Settings: the order of layers, where each value comes from, the paper's Tables 5 and 6, and mistakes named."""

import pytest

from mmal_cli.core import manifest, plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.settings import Settings, resolve


def dataset(name: str, classes: int = 10) -> manifest.Dataset:
    """A manifest of this name; settings look at nothing but the name and the classes."""
    raw = {
        **{"id": "0" * 12, "recipe": {}, "class_names": [], "targets": [], "splits": {}, "counts": {}, "made": {}},
        "modalities": [{"name": m, "kind": "image", "shape": [3, 8, 8], "dtype": "uint8"} for m in ("cifar10", "mnist")],
    }
    return manifest.Dataset(name=name, classes=classes, **raw)


PAPER = {  # Tables 5 and 6: epochs, batch, lr, wd, augmentation, then start/validation/query of low, mid, high
    "missing": (60, 128, 0.1, 5e-4, "randaug", (50, 250, 50), (250, 1250, 250), (1000, 5000, 1000)),
    "share": (200, 1024, 0.1, 5e-3, "randaug", (50, 250, 50), (250, 1250, 250), (1000, 5000, 1000)),
    "unique": (60, 128, 0.1, 5e-4, "basic", (500, 2500, 500), (1000, 5000, 1000), (5000, 5000, 5000)),
    "synergy": (60, 128, 0.1, 5e-4, "basic", (500, 2500, 500), (1000, 5000, 1000), (5000, 5000, 5000)),
}


@pytest.mark.parametrize("name", PAPER)
def test_protocols_carry_the_papers_tables(name):
    *recipe, low, mid, high = PAPER[name]
    for regime, budget in (("low", low), ("mid", mid), ("high", high)):
        settings, _ = resolve(dataset(name), regime, "random")
        train, b = settings.train, settings.budget
        assert [train.epochs, train.batch_size, train.lr, train.weight_decay, train.augmentation] == recipe
        assert (b.start, b.validation, b.query, b.cycles) == (*budget, 10)
        assert (train.warmup_epochs, train.momentum, train.min_epoch_samples) == (10, 0.9, 5500)
        assert train.moddrop.enabled == (name != "synergy")


def test_a_dataset_without_a_protocol_gets_budgets_by_its_classes():
    budgets = [resolve(dataset("own", classes=7), regime, "random")[0].budget for regime in ("low", "mid", "high")]
    assert [(b.start, b.query) for b in budgets] == [(35, 35), (175, 175), (700, 700)]


def test_later_layers_win_and_every_value_knows_its_source(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("train: {lr: 1e-3, epochs: 7}\nregimes: {mid: {cycles: 3, train: {batch_size: 32}}}\n")
    settings, sources = resolve(
        dataset("synergy", 100), "mid", "grace", ["quick", str(overlay)], ["train.lr=0.02", "query_options.grace.lambda0=0.5"]
    )
    assert settings.train.lr == 0.02
    assert sources["train.lr"] == "--set train.lr=0.02"
    assert (settings.train.epochs, sources["train.epochs"]) == (7, str(overlay))
    assert (settings.train.batch_size, sources["train.batch_size"]) == (32, f"{overlay} (mid)")
    assert (settings.budget.start, sources["budget.start"]) == (4000, "quick.yaml")
    assert (settings.train.moddrop.enabled, sources["train.moddrop.enabled"]) == (False, "synergy.yaml")
    assert (settings.train.momentum, sources["train.momentum"]) == (0.9, "default")
    assert settings.query_options == {"lambda0": 0.5}
    assert settings.budget.cycles == 3


def test_moddrop_can_be_set_either_way():
    assert resolve(dataset("synergy"), "low", "random", moddrop=True)[0].train.moddrop.enabled
    settings, sources = resolve(dataset("unique"), "low", "random", moddrop=False)
    assert not settings.train.moddrop.enabled
    assert sources["train.moddrop.enabled"] == "--no-moddrop"


def test_a_number_that_yaml_reads_as_text_becomes_a_number():
    assert resolve(dataset("own"), "low", "random", assignments=["train.weight_decay=1e-3"])[0].train.weight_decay == 1e-3


@pytest.mark.parametrize(
    ("regime", "overlays", "assignments", "message"),
    [
        ("lo", [], [], r"unknown regime 'lo'; did you mean 'low'\? \(known: high, low, mid"),
        ("low", [], ["train.epoch=3"], r"--set train.epoch=3: unknown key 'train.epoch'; did you mean 'epochs'\?"),
        ("low", [], ["train.lr"], r"--set 'train.lr' is not of the form key=value"),
        ("low", [], ["train.lr=fast"], r"--set train.lr=fast: train.lr: .*number.*found 'fast'"),
        ("low", ["quik"], [], r"unknown protocol 'quik'; did you mean 'quick'\?"),
        ("low", ["./none.yaml"], [], r"protocol file ./none.yaml not found"),
        ("low", [], ["regimes.low.start=5D"], r"budget start is '5D', expected a number, or a multiple of the classes"),
        ("low", [], ["train.lr=nan"], r"--set train.lr=nan: train.lr: Input should be a finite number"),
        ("low", [], ["normalise.image.std=[0]"], r"normalise.image.std.0: Input should be greater than 0"),
        ("low", [], ["regimes.loww.start=5"], r"unknown regime 'loww'; did you mean 'low'\?"),
        ("low", [], ["query_options.grce.lambda0=0"], r"unknown query method in query_options 'grce'; did you mean 'grace'\?"),
        ("low", [], ["model.encoders.imagee=convnet"], r"unknown modality or kind in model.encoders 'imagee'.*'image'\?"),
        ("low", [], ["normalise.imge.std=[1]", "normalise.imge.mean=[0]"], r"unknown modality or kind in normalise 'imge'"),
        ("low", [], ["model.encoder_options.convnett.base=3"], r"unknown encoder in model.encoder_options 'convnett'"),
        ("low", [], ["train.moddrop.mode=both"], r"train.moddrop.mode: Input should be 'one' or 'bernoulli'"),
    ],
)
def test_mistakes_are_named(regime, overlays, assignments, message):
    with pytest.raises(UserError, match=message):
        resolve(dataset("own"), regime, "random", overlays, assignments)


def test_options_of_a_method_of_ones_own_go_by_its_name():
    settings, _ = resolve(dataset("own"), "low", "./mine.py", assignments=["query_options.mine.alpha=0.5"])
    assert settings.query_options == {"alpha": 0.5}


def test_a_part_of_the_normalisation_can_be_set():
    settings, _ = resolve(dataset("share"), "low", "random", assignments=["normalise.mnist.std=[0.5]"])
    assert settings.normalise["mnist"].std == [0.5]
    assert settings.normalise["mnist"].mean == [0.1307]


def test_a_wrong_key_in_a_file_names_the_file_and_the_nearest_key(tmp_path):
    (tmp_path / "mine.yaml").write_text("trian: {lr: 0.1}\n")
    with pytest.raises(UserError, match=r"mine.yaml: unknown key 'trian'; did you mean 'train'\?"):
        resolve(dataset("own"), "low", "random", [str(tmp_path / "mine.yaml")])


@pytest.mark.parametrize("name", plugins.names("protocols", ".yaml"))
def test_every_protocol_resolves(name):
    for regime in ("low", "mid", "high"):
        overlay = [name] if name not in ("default", *PAPER) else []
        assert isinstance(resolve(dataset(name, 10), regime, "badge", overlay)[0], Settings)


def test_print_config_shows_values_and_sources(tiny_data, mmal):
    done = mmal("al-run", "--data", tiny_data, "--qm", "badge", "--regime", "low", "--with", "quick", "--print-config")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "train.epochs" in line)
    assert line.split() == ["train.epochs", "15", "quick.yaml"]
