"""Settings: the order of layers, where each value comes from, the paper's Tables 5 and 6, and mistakes named."""

import pytest

from mmal_cli.cell import Cell
from mmal_cli.core import files, manifest, plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.protocol import Settings
from mmal_cli.core.settings import resolve


def dataset(
    name: str, classes: int = 10, samples: int = 60_000, shapes=((3, 8, 8), (3, 8, 8)), names=("cifar10", "mnist")
) -> manifest.Dataset:
    """A manifest of this name; settings look at name, classes, modalities and the number of train samples."""
    raw = {
        **{"id": "0" * 12, "recipe": {}, "class_names": [], "targets": [], "counts": {}, "made": {}},
        "splits": {"train": {"samples": samples, "shards": []}},
        "modalities": [
            {"name": name, "kind": "image", "shape": shape, "dtype": "uint8"} for name, shape in zip(names, shapes, strict=True)
        ],
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


UNIMODAL = {  # "Navigating the Pitfalls": batch, lr and weight decay, start and validation by regime, cycles of the last
    "cifar10": (1024, [(0.1, 5e-3)] * 3, [(50, 250), (250, 2500), (1000, 5000)], 10),
    "cifar10-lt": (1024, [(0.1, 5e-3)] * 3, [(50, 250), (250, 1250), (1000, 5000)], 10),
    "cifar100": (1024, [(0.1, 5e-3)] * 3, [(500, 2500), (1000, 5000), (5000, 5000)], 5),
    "isic2019": (512, [(0.1, 5e-3)] * 3, [(40, 200), (200, 1000), (800, 3799)], 10),
    "miotcd": (512, [(0.01, 5e-3), (0.01, 5e-4), (0.1, 5e-3)], [(55, 275), (275, 1375), (1100, 5500)], 10),
}


@pytest.mark.parametrize("name", UNIMODAL)
def test_protocols_carry_the_unimodal_papers_tables(name):
    batch, rates, budgets, last = UNIMODAL[name]
    one = dataset(name, samples=18_998, shapes=[(3, 32, 32)], names=["image"])  # samples of ISIC: 75 % of 25,331
    for regime, (lr, decay), (start, validation) in zip(("low", "mid", "high"), rates, budgets, strict=True):
        settings, _ = resolve(one, regime, "random")
        train, b, model = settings.train, settings.budget, settings.model
        recipe = train.epochs, train.batch_size, train.lr, train.weight_decay, train.augmentation
        assert recipe == (200, batch, lr, decay, "randaug")
        assert (b.start, b.validation, b.query, b.cycles) == (start, validation, start, last if regime == "high" else 10)
        assert train.balanced_sampling == (settings.start_set == 5) == (name not in ("cifar10", "cifar100"))
        assert (model.encoders, model.width) == ({"image": "resnet18"}, "encoder")
        assert (model.fusion, model.fusion_options) == ("mean", {})
        quick, _ = resolve(one, regime, "random", ["quick"])
        assert (quick.model.fusion, quick.model.width, quick.model.fusion_options["layers"]) == ("transformer", 64, 1)


def test_a_dataset_without_a_protocol_gets_budgets_by_its_classes():
    budgets = [resolve(dataset("own", classes=7), regime, "random")[0].budget for regime in ("low", "mid", "high")]
    assert [(b.start, b.query) for b in budgets] == [(35, 35), (175, 175), (700, 700)]


def test_of_a_list_of_budgets_the_least_counts():
    def budget(samples, *words):
        found = resolve(dataset("own", 7, samples), "low", "random", ["quick"], [f"regimes.low.{word}" for word in words])[
            0
        ].budget
        return found.start, found.validation, found.query

    assert budget(60_000) == (140, 140, 70)
    assert budget(90) == (18, 18, 9)
    assert budget(90, "start=[3C, 30, 50%]", "validation=10%", "query=7") == (21, 9, 7)


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
        ("low", [], ["cycles=2"], r"--set cycles=2: unknown key 'cycles'$"),
        ("low", ["quik"], [], r"unknown protocol 'quik'; did you mean 'quick'\?"),
        ("low", ["./none.yaml"], [], r"protocol file ./none.yaml not found"),
        ("low", [], ["regimes.low.start=5D"], r"budget start is '5D', expected a number, a multiple of the classes"),
        ("low", [], ["train.lr=nan"], r"--set train.lr=nan: train.lr: Input should be a finite number"),
        ("low", [], ["normalise.image.std=[0]"], r"normalise.image.std.0: Input should be greater than 0"),
        ("low", [], ["regimes.loww.start=5"], r"unknown regime 'loww'; did you mean 'low'\?"),
        ("low", [], ["query_options.grce.lambda0=0"], r"unknown query method in query_options 'grce'; did you mean 'grace'\?"),
        ("low", [], ["model.encoders.imagee=convnet"], r"unknown modality or kind in model.encoders 'imagee'.*'image'\?"),
        ("low", [], ["normalise.imge.std=[1]", "normalise.imge.mean=[0]"], r"unknown modality or kind in normalise 'imge'"),
        ("low", [], ["model.encoder_options.convnett.base=3"], r"unknown encoder in model.encoder_options 'convnett'"),
        ("low", [], ["start_set=0"], r"start_set: Input should be 'balanced' or 'random' or: Input should be greater than"),
        ("low", [], ["model.width=encode"], r"model.width: Input should be a valid integer.* or: Input should be 'encoder'"),
        ("low", [], ["train.moddrop.mode=both"], r"train.moddrop.mode: Input should be 'one' or 'bernoulli'"),
    ],
)
def test_mistakes_are_named(regime, overlays, assignments, message):
    with pytest.raises(UserError, match=message):
        resolve(dataset("own"), regime, "random", overlays, assignments)


def test_options_of_a_method_of_ones_own_go_by_its_name():
    settings, _ = resolve(dataset("own"), "low", "./mine.py", assignments=["query_options.mine.alpha=0.5"])
    assert settings.query_options == {"alpha": 0.5}


MIXED = [("image", "photo", [3, 8, 8]), ("tokens", "words", [2, 8])]


def test_a_run_keeps_only_the_encoders_that_its_modalities_use():
    modalities = [manifest.Modality(kind=kind, name=name, shape=shape, dtype="uint8") for kind, name, shape in MIXED]
    mixed = dataset("own").model_copy(update={"modalities": modalities})
    sets = ["model.encoders.words=wordbag", "model.encoder_options.wordbag.dim=8", "model.encoder_options.mlp.hidden=8"]
    settings, sources = resolve(mixed, "low", "random", ["quick"], sets)
    assert settings.model.encoders == {"image": "convnet", "words": "wordbag"}
    assert settings.model.encoder_options == {"wordbag": {"dim": 8}}
    assert {key: value for key, value in sources.items() if "encoder" in key} == {
        "model.encoders.image": "quick.yaml",
        "model.encoders.words": "--set model.encoders.words=wordbag",
        "model.encoder_options.wordbag.dim": "--set model.encoder_options.wordbag.dim=8",
    }
    with pytest.raises(UserError, match=r"unknown modality or kind in model.encoders 'serie'; did you mean 'series'\?"):
        resolve(mixed, "low", "random", [], ["model.encoders.serie=mlp"])


@pytest.mark.parametrize(
    ("name", "classes", "overlays", "identity"),
    [
        ("share", 10, [], "d892ac870a40"),
        ("share", 10, ["quick"], "10b1c29281ed"),
        ("synergy", 100, ["quick"], "13615567ec38"),
    ],
)
def test_settings_of_runs_made_before_there_were_other_kinds_than_images(name, classes, overlays, identity):
    """Regime mid, query method grace, as 0.1 resolved them; whoever changes a default on purpose changes these."""
    settings, _ = resolve(dataset(name, classes), "mid", "grace", overlays)
    assert settings.model.encoders == {"image": "convnet" if overlays else "efficientnet"}
    assert files.identity(Cell(dataset(name, classes), "grace", "mid", 0, settings).content["settings"]) == identity


def test_inputs_are_shrunk_only_where_they_are_larger():
    large = dataset("own", shapes=((3, 224, 224), (1, 32, 32)))
    assert resolve(large, "low", "random", ["quick"])[0].shrink == {"image": 64}
    assert resolve(large, "low", "random", ["quick"], ["shrink.image=224"])[0].shrink == {}
    assert resolve(large, "low", "random")[0].shrink == {}
    with pytest.raises(UserError, match="unknown modality or kind in shrink 'pictures'"):
        resolve(large, "low", "random", [], ["shrink.pictures=64"])


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
        overlay = [name] if name in ("quick", "self-sl") else []
        paradigm = name if name == "semi-sl" else None
        of = dataset("own" if overlay or paradigm else name)
        assert isinstance(resolve(of, regime, "badge", overlay, paradigm=paradigm)[0], Settings)


def test_print_config_shows_values_and_sources(tiny_data, mmal):
    done = mmal("al-run", "--data", tiny_data, "--qm", "badge", "--regime", "low", "--with", "quick", "--print-config")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "train.epochs" in line)
    assert line.split() == ["train.epochs", "15", "quick.yaml"]
