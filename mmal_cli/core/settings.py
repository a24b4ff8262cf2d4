"""The settings of a run: model defaults < protocol < --with files < --set, each value knowing where it comes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import ConfigDict, Field

from mmal_cli.core import files, layers, manifest, plugins, pretrained, tuned
from mmal_cli.core.budgets import Amount, count
from mmal_cli.core.errors import WRONG_USE, UserError, unknown
from mmal_cli.core.manifest import Dataset, Modality, Strict

PROTOCOLS = "protocols"
KINDS = get_args(Modality.model_fields["kind"].annotation)


# of a set: as many of every class as go round, chance alone, or so many of every class and then chance
First = Literal["balanced", "random"] | Annotated[int, Field(ge=1, strict=True)]


class Finite(Strict):
    """A frozen value that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Model(Finite):
    """The network. What the paper leaves open is marked ours in docs/protocol.md."""

    # modality name or kind -> encoder
    encoders: dict[str, str] = {"image": "efficientnet", "vector": "mlp", "series": "efficientnet1d", "tokens": "minilm"}
    encoder_options: dict[str, dict[str, Any]] = {}  # encoder -> its keyword arguments
    width: Annotated[int, Field(ge=1)] | Literal["encoder"] = 256  # D; encoder: the encoders' own, without projections
    projection_dropout: float = Field(0.0, ge=0, lt=1)
    fusion: str = "transformer"
    fusion_options: dict[str, Any] = {"layers": 2, "heads": 4, "feedforward": 512, "dropout": 0.0, "missing": "mask"}
    start: str = ""  # a folder of `mmal pretrain`, whose weights encoders begin with
    mc_dropout: float = Field(0.5, gt=0, lt=1)  # before the head, only for methods that need passes
    mc_passes: int = Field(50, ge=1)  # K


class ModDrop(Finite):
    """Modality dropout in training, per sample and step; never the last modality."""

    enabled: bool = True
    p: float = Field(0.5, ge=0, le=1)
    mode: Literal["one", "bernoulli"] = "one"


class Train(Finite):
    """The training recipe of one cycle."""

    epochs: int = Field(60, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    warmup_epochs: int = Field(10, ge=0)
    min_epoch_samples: int = Field(5500, ge=1)
    balanced_sampling: bool = False
    augmentation: Literal["none", "basic", "randaug"] = "basic"
    moddrop: ModDrop = ModDrop()


class Scale(Finite):
    """Mean and standard deviation per channel (or one for all), for inputs in [0, 1]."""

    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]


class Regime(Strict):
    """Budgets (`budgets.py` has their forms), and what the regime changes in training."""

    start: Amount | None = None
    validation: Amount | None = None
    query: Amount | None = None
    cycles: int = Field(10, ge=1)
    train: dict[str, Any] = {}


class Protocol(Strict):
    """One file of protocols/, or an overlay: every field may be left out."""

    model: Model = Model()
    train: Train = Train()
    normalise: dict[str, dict[str, Any]] = {"image": {"mean": [0.5], "std": [0.5]}}  # modality name or kind -> Scale
    shrink: dict[str, Annotated[int, Field(ge=1)]] = {}  # modality name or kind -> longest side or series that is read
    start_set: First = "balanced"
    validation_set: First = "balanced"
    query_options: dict[str, dict[str, Any]] = {}  # query method -> its keyword arguments
    regimes: dict[str, Regime] = {}


class Budget(Strict):
    """Labels at first, validation samples, labels asked per cycle, trained models."""

    start: int = Field(ge=1)
    validation: int = Field(ge=1)
    query: int = Field(ge=1)
    cycles: int = Field(ge=1)


class Settings(Strict):
    """What one run is made with, nothing left open; part of its identity."""

    model: Model
    train: Train
    normalise: dict[str, Scale]
    shrink: dict[str, int] = {}
    start_set: First
    validation_set: First
    query_options: dict[str, Any]
    budget: Budget


def resolve(
    dataset: Dataset,
    regime: str,
    qm: str,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    moddrop: bool | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The settings of a run and, for every dotted key, the file or option that it comes from.

    Args:
        dataset: its name picks the protocol (`default` if it has none), its classes turn "5C" into a number, its modalities
            keep the encoders that they use.
        overlays: names in protocols/ or paths, also of tuned files; later ones win.
        assignments: `key=value`, later ones win.
        moddrop: True or False overrides; None leaves the protocol's value.

    Raises:
        UserError: unknown regime, key or overlay, with the nearest known name; a value of the wrong kind.
    """
    own = dataset.name if dataset.name in plugins.names(PROTOCOLS, ".yaml") else "default"
    stack, searches = [("default", Protocol().model_dump(mode="json"))], {}
    for name in (own, *overlays):
        layer, search = _layer(name, dataset, regime)
        if search:
            searches[name] = search
        stack.append((f"{name}.yaml" if "/" not in name and "." not in name else name, layer))
    known = {name for _, layer in stack for name in layer.get("regimes", {})}
    stack += [(f"--set {text}", _assignment(text)) for text in assignments]
    if moddrop is not None:
        stack.append(("--moddrop" if moddrop else "--no-moddrop", {"train": {"moddrop": {"enabled": moddrop}}}))
    for name in (regime, *(name for _, layer in stack for name in layer.get("regimes", {}))):
        if name not in known:
            raise unknown("regime", name, known)
    merged, sources = layers.merged(stack, regime, plugins.label(qm))
    merged["budget"] = {"cycles": 10} | {key: count(key, value, dataset) for key, value in merged["budget"].items()}
    settings = manifest.check(Settings, merged, f"the settings of {dataset.name}, regime {regime}")
    for name, search in searches.items():
        tuned.must_agree(name, search, settings.train.moddrop.enabled)
    _check_names(settings, stack, dataset, plugins.label(qm))
    shrink = {key: most for key, most in settings.shrink.items() if any(_longer(m, key, most) for m in dataset.modalities)}
    settings = settings.model_copy(update={"model": _in_use(settings.model, dataset.modalities), "shrink": shrink})
    if settings.model.start:
        pretrained.read(Path(settings.model.start), dataset, settings.model.encoders, settings.model.encoder_options)
    return settings, {key: sources.get(key, "default") for key in files.flatten(settings.model_dump(mode="json"))}


def main_variant(dataset: str) -> bool:
    """Whether the dataset's protocol (the default one, if it has none of its own) trains with modality dropout."""
    name = dataset if dataset in plugins.names(PROTOCOLS, ".yaml") else "default"
    path = plugins.find(PROTOCOLS, name, "protocol", ".yaml")
    return manifest.check(Protocol, files.read_yaml(path), f"{PROTOCOLS}/{path.name}").train.moddrop.enabled


def for_name(table: Mapping[str, Any], name: str, kind: str, key: str) -> Any:
    """Looks a modality up by its name, then by its kind; `key` is what the settings call the table."""
    if name in table or kind in table:
        return table.get(name, table.get(kind))
    raise UserError(f"{key} has nothing for modality {name!r} of kind {kind!r}; give it: --set {key}.{kind}=...")


def _in_use(model: Model, modalities: Sequence[Modality]) -> Model:
    """Without the encoders, and their options, that no modality uses: a run does not change by what another dataset needs."""
    keys = {m.name if m.name in model.encoders else m.kind for m in modalities}
    encoders = {key: name for key, name in model.encoders.items() if key in keys}
    names = {plugins.label(name) for name in encoders.values()}
    options = {name: given for name, given in model.encoder_options.items() if name in names}
    return model.model_copy(update={"encoders": encoders, "encoder_options": options})


def _longer(modality: Modality, key: str, most: int) -> bool:
    """Whether a modality of this name or kind has a side or a length above `most`."""
    return key in (modality.name, modality.kind) and max(modality.shape[1:], default=0) > most


def _check_names(settings: Settings, layers: Sequence[tuple[str, Mapping[str, Any]]], dataset: Dataset, qm: str) -> None:
    """Refuses keys that would have no effect because nothing has that name."""
    modalities = {*KINDS, *(modality.name for modality in dataset.modalities)}
    encoders = {*plugins.names("encoders"), *map(plugins.label, settings.model.encoders.values())}
    methods = {*plugins.names("queries"), qm}
    asked = {name for _, layer in layers for name in layer.get("query_options", {})}
    for what, names, known in (
        ("modality or kind in model.encoders", settings.model.encoders, modalities),
        ("modality or kind in normalise", settings.normalise, modalities),
        ("modality or kind in shrink", settings.shrink, modalities),
        ("encoder in model.encoder_options", settings.model.encoder_options, encoders),
        ("query method in query_options", asked, methods),
    ):
        for name in names:
            if name not in known:
                raise unknown(what, name, known)


def _layer(name: str, dataset: Dataset, regime: str) -> tuple[dict[str, Any], tuned.Tuned | None]:
    """An overlay or protocol as it stands in its file, checked key by key; of a tuned file what it chose, and the search."""
    path = plugins.find(PROTOCOLS, name, "protocol", ".yaml")
    raw = files.read_yaml(path, code=WRONG_USE) or {}
    search = tuned.overlay(path, dataset, regime) if isinstance(raw, dict) and raw.get("kind") == "tuned" else None
    layer = search.chosen if search else raw
    manifest.check(Protocol, layer, str(path) if "/" in name else f"{PROTOCOLS}/{path.name}")
    return layer, search


def _assignment(text: str) -> dict[str, Any]:
    """`train.lr=0.01` -> {"train": {"lr": 0.01}}, checked."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text!r} is not of the form key=value, for instance: --set train.lr=0.01")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: {value!r} is not a YAML value") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    manifest.check(Protocol, nested, f"--set {text}")
    return nested
