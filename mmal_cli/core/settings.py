"""The settings of a run: model defaults < protocol < --with files < --set, each value knowing where it comes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

from mmal_cli.core import files, layers, manifest, plugins, pretrained, tuned
from mmal_cli.core.budgets import count
from mmal_cli.core.errors import WRONG_USE, UserError, unknown
from mmal_cli.core.manifest import Dataset, Modality
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL, ST, Paradigm
from mmal_cli.core.protocol import Model, Protocol, Settings

PROTOCOLS = "protocols"
KINDS = get_args(Modality.model_fields["kind"].annotation)


def resolve(
    dataset: Dataset,
    regime: str,
    qm: str,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    moddrop: bool | None = None,
    paradigm: Paradigm | None = None,
    begun: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The settings of a run and, for every dotted key, the file or option that it comes from.

    Args:
        dataset: its name picks the protocol (`default` if it has none), its classes turn "5C" into a number, its modalities
            keep the encoders that they use.
        overlays: names in protocols/ or paths, also of tuned files; later ones win.
        assignments: `key=value`, later ones win.
        moddrop: True or False overrides; None leaves the protocol's value.
        paradigm: adds what the overlay of its name and the layers' own `paradigms` say of it; by default st, with `begun`
            self-sl.
        begun: a folder of `mmal pretrain`.

    Raises:
        UserError: unknown regime, key or overlay, with the nearest known name; a value of the wrong kind; settings of another
            paradigm than the one asked for.
    """
    paradigm = paradigm or (SELF_SL if begun else ST)
    stack, searches = _files(dataset, regime, overlays, paradigm)
    known = {name for _, layer in stack for name in layer.get("regimes", {})}
    stack += [(f"--set {text}", _assignment(text)) for text in assignments]
    if moddrop is not None:
        stack.append(("--moddrop" if moddrop else "--no-moddrop", {"train": {"moddrop": {"enabled": moddrop}}}))
    if begun is not None:
        stack.append(("--pretrained", {"model": {"start": str(begun)}}))
    for name in (regime, *(name for _, layer in stack for name in layer.get("regimes", {}))):
        if name not in known:
            raise unknown("regime", name, known)
    merged, sources = layers.merged(stack, regime, plugins.label(qm))
    merged["budget"] = {"cycles": 10} | {key: count(key, value, dataset) for key, value in merged["budget"].items()}
    settings = manifest.check(Settings, merged, f"the settings of {dataset.name}, regime {regime}")
    for name, search in searches.items():
        tuned.must_agree(name, search, settings.train.moddrop.enabled, settings.paradigm)
    _check_names(settings, stack, dataset, plugins.label(qm))
    shrink = {key: most for key, most in settings.shrink.items() if any(_longer(m, key, most) for m in dataset.modalities)}
    settings = settings.model_copy(update={"model": _in_use(settings.model, dataset.modalities), "shrink": shrink})
    if paradigm != settings.paradigm:
        raise _of_another(paradigm, settings.paradigm, dataset)
    if settings.model.start:
        pretrained.read(Path(settings.model.start), dataset, settings.model.encoders, settings.model.encoder_options)
    return settings, {key: sources.get(key, "default") for key in files.flatten(settings.model_dump(mode="json"))}


def _files(
    dataset: Dataset, regime: str, overlays: Sequence[str], paradigm: Paradigm
) -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, tuned.Tuned]]:
    """The layers that come from files, each followed by what it says of the paradigm; and the searches among them.

    What a protocol of the paradigm's name says for all datasets comes before what the dataset's own protocol says of it.
    """
    own = dataset.name if dataset.name in plugins.names(PROTOCOLS, ".yaml") else "default"
    stack, searches = [("default", Protocol().model_dump(mode="json"))], {}
    for name in (own, *overlays):
        layer, search = _layer(name, dataset, regime)
        if search:
            searches[name] = search
        source = f"{name}.yaml" if "/" not in name and "." not in name else name
        stack.append((source, layer))
        if name == own and paradigm != ST:
            stack.append((f"{paradigm}.yaml", _layer(paradigm, dataset, regime)[0]))
        if part := layer.get("paradigms", {}).get(paradigm):
            stack.append((f"{source} ({paradigm})", part))
    return stack, searches


def _of_another(asked: Paradigm, found: Paradigm, dataset: Dataset) -> UserError:
    """The error for settings of another paradigm than asked for."""
    leave = {SELF_SL: "leave out what sets model.start", SEMI_SL: "leave out what sets train.fixmatch.enabled"}
    if asked == ST:
        helps = f"give {'--pretrained FOLDER' if found == SELF_SL else '--paradigm semi-sl'}, or {leave[found]}"
    elif (asked, found) == (SELF_SL, ST):
        helps = f"give --pretrained FOLDER, made by: mmal pretrain --data data/{dataset.name}"
    else:
        helps = leave[SEMI_SL]
    return UserError(f"the settings are those of paradigm {found}, expected {asked}; {helps}")


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
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--set {text}: {value!r} is not a YAML value") from None
    if key.partition(".")[0] == "paradigms":
        raise UserError(f"--set {text} would have no effect; set the key itself: --set {key.split('.', 2)[-1]}={value}")
    for part in reversed(key.split(".")):
        nested = {part: nested}
    manifest.check(Protocol, nested, f"--set {text}")
    return nested
