"""The network of every run: an encoder and a projection for each modality, a fusion, a linear head."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Modality
from mmal_cli.core.pretrained import RECORD, Pretrained, intact
from mmal_cli.core.protocol import Model as ModelSettings
from mmal_cli.core.protocol import Scale, Settings
from mmal_cli.core.settings import for_name
from mmal_cli.device import sent

T = TypeVar("T")


class Model(nn.Module):
    """Classifies samples with any subset of their modalities (paper, A.2).

    Args:
        modalities: M of them, in the order of the columns of `present`.
        classes: C.
        settings: encoders, width D, fusion.
        normalise: modality name or kind -> mean and standard deviation of inputs in [0, 1].
        dropout: before the head; above zero only for methods that ask for Monte Carlo passes.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        classes: int,
        settings: ModelSettings,
        normalise: Mapping[str, Scale],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.names = tuple(modality.name for modality in modalities)
        fusion = plugins.load("fusions", settings.fusion, "fusion", must_have="Fusion")
        self.early = hasattr(fusion, "stacked")
        encoded = [_stacked(modalities, settings, fusion.stacked)] if self.early else modalities
        self.adapters = nn.ModuleDict({m.name: _adapter(m, normalise) for m in modalities})
        self.encoders = nn.ModuleDict({m.name: _encoder(m, settings) for m in encoded})
        if settings.start:
            _begin(self.encoders, Path(settings.start))
        self.width = _width(self.encoders, settings)
        self.projections = nn.ModuleDict({name: _projection(encoder, settings) for name, encoder in self.encoders.items()})
        self.fusion = _built(fusion.Fusion, settings.fusion, (len(self.names), self.width), settings.fusion_options)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.width, classes)

    def tokens(self, inputs: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Projected encodings (B, M, D); each encoder runs only on the samples that have its modality, others are zero.

        With `present` (B, M) on the CPU nothing waits for a GPU; on the device of the inputs it may be as well.
        For an early fusion the inputs themselves, (B, M, C, ...), normalised: `embed` encodes them.
        """
        if self.early:
            return torch.stack([self.adapters[name](inputs[name]) for name in self.names], dim=1)
        columns = []
        for m, name in enumerate(self.names):
            x = inputs[name]
            rows = sent(present[:, m].nonzero().flatten(), x.device)
            token = torch.zeros(len(present), self.width, device=x.device)
            if len(rows):
                encoded = self._encode(name, self.adapters[name](x[rows]))
                token = token.index_copy(0, rows, encoded.to(token.dtype))
            columns.append(token)
        return torch.stack(columns, dim=1)

    def embed(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Fuses the modalities that are present: (B, M, D), (B, M) -> (B, D); an early fusion comes before its encoder."""
        fused = self.fusion(tokens, sent(present, tokens.device))
        return self._encode(self.names[0], fused) if self.early else fused

    def forward(self, inputs: Mapping[str, Tensor], kept: Tensor) -> Tensor:
        """Logits (B, C) in training; `kept` (B, M) is what modality dropout leaves of the modalities that the samples have."""
        return self.head(self.dropout(self.embed(self.tokens(inputs, kept), kept)))

    def _encode(self, name: str, x: Tensor) -> Tensor:
        """Encodes and projects one modality; a single sample cannot give batch statistics, so it uses the running ones."""
        encoder = self.encoders[name]
        alone = self.training and len(x) == 1
        encoder.train(self.training and not alone)
        return self.projections[name](encoder(x))


class _Image(nn.Module):
    """uint8 (B, C, H, W) -> float, normalised per channel, channels last (docs/decisions.md)."""

    def __init__(self, channels: int, scale: Scale) -> None:
        super().__init__()
        if not {len(scale.mean), len(scale.std)} <= {1, channels}:
            found = f"{len(scale.mean)} means and {len(scale.std)} deviations"
            raise UserError(f"normalise has {found} for an image of {channels} channels, expected 1 or {channels} of each")
        self.register_buffer("mean", torch.tensor(scale.mean).expand(channels)[:, None, None].clone(), persistent=False)
        self.register_buffer("std", torch.tensor(scale.std).expand(channels)[:, None, None].clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x.float() / 255).sub_(self.mean).div_(self.std)  # in place: two passes over memory less
        return scaled.contiguous(memory_format=torch.channels_last)


class _Numbers(nn.Module):
    """A vector or series (B, ...) -> float; int16 on disk stands for [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() / torch.iinfo(torch.int16).max if x.dtype == torch.int16 else x.float()


def _adapter(modality: Modality, normalise: Mapping[str, Scale]) -> nn.Module:
    """Bytes on disk -> what an encoder of this kind reads; tokens stay as they are."""
    if modality.kind == "image":
        return _Image(modality.shape[0], for_name(normalise, modality.name, modality.kind, "normalise"))
    return nn.Identity() if modality.kind == "tokens" else _Numbers()


def _encoder(modality: Modality, settings: ModelSettings) -> nn.Module:
    name = for_name(settings.encoders, modality.name, modality.kind, "model.encoders")
    module = plugins.load("encoders", name, "encoder", must_have="Encoder")
    if modality.kind not in module.KINDS:
        reads = ", ".join(sorted(module.KINDS))
        raise UserError(f"encoder {name!r} reads {reads}; modality {modality.name!r} is of kind {modality.kind!r}")
    options = settings.encoder_options.get(plugins.label(name), {})
    encoder = _built(module.Encoder, name, (modality.shape,), options)
    if modality.vocabulary and hasattr(module, "vocabulary"):
        reads = _built(module.vocabulary, name, (), options)
        if reads != modality.vocabulary:
            raise UserError(
                f"the tokens of {modality.name!r} are of vocabulary {modality.vocabulary}, encoder {name!r} reads {reads}; "
                "prepare the dataset again with the tokenizer of that encoder, or choose another encoder: "
                f"--set model.encoders.{modality.name}=wordbag"
            )
    return encoder


def _stacked(modalities: Sequence[Modality], settings: ModelSettings, stacked: Callable) -> Modality:
    """What the one encoder of an early fusion reads, under the name of the first modality."""
    encoders = [for_name(settings.encoders, m.name, m.kind, "model.encoders") for m in modalities]
    alike = {(m.kind, m.shape, encoder) for m, encoder in zip(modalities, encoders, strict=True)}
    name, others = plugins.label(settings.fusion), "choose another fusion: --set model.fusion=concat"
    if len(alike) > 1 or modalities[0].kind == "tokens":
        found = ", ".join(
            f"{m.name} {m.kind} {'x'.join(map(str, m.shape))} for {plugins.label(encoder)}"
            for m, encoder in zip(modalities, encoders, strict=True)
        )
        raise UserError(
            f"fusion {name} stacks modalities before one encoder: expected images, series or vectors of one shape and "
            f"one encoder, found {found}; {others}"
        )
    if settings.start:
        raise UserError(f"fusion {name} has one encoder of all modalities, which pretrained ones do not fit; {others}")
    return modalities[0].model_copy(update={"shape": stacked([m.shape for m in modalities])})


def _begin(encoders: Mapping[str, nn.Module], folder: Path) -> None:
    """Gives encoders the weights of a folder of `mmal pretrain`."""
    record = Pretrained.read(folder / RECORD)
    intact(folder, record)
    found = record.modalities
    for name in encoders.keys() & found.keys():
        try:
            encoders[name].load_state_dict(torch.load(folder / found[name].file, map_location="cpu", weights_only=True))
        except RuntimeError as error:  # images of another size may take another stem
            why = str(error).splitlines()[-1].strip()
            raise UserError(f"{folder / found[name].file} does not fit the encoder of {name}: {why}") from error


def _width(encoders: Mapping[str, nn.Module], settings: ModelSettings) -> int:
    """D: as set, or the width that all encoders have."""
    if settings.width != "encoder":
        return settings.width
    found = {name: encoder.width for name, encoder in encoders.items()}
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{name} {width}" for name, width in found.items())
        raise UserError(f"model.width is encoder, but encoders differ: {shown}; give them a common one: --set model.width=256")
    return next(iter(found.values()))


def _projection(encoder: nn.Module, settings: ModelSettings) -> nn.Module:
    """(B, width of the encoder) -> (B, D)."""
    if settings.width == "encoder":
        return nn.Dropout(settings.projection_dropout)
    layers = nn.Linear(encoder.width, settings.width), nn.GELU(), nn.LayerNorm(settings.width)
    return nn.Sequential(*layers, nn.Dropout(settings.projection_dropout))


def _built(make: Callable[..., T], name: str, args: tuple, options: Mapping) -> T:
    """Calls what a plugin has; an option that it does not take is the user's mistake."""
    try:
        return make(*args, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name}: {str(error).splitlines()[0]} (options: {dict(options)})") from error


def build(modalities: Sequence[Modality], classes: int, settings: Settings, dropout: float, seed: int) -> Model:
    """A model whose first weights depend only on the seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Model(modalities, classes, settings.model, settings.normalise, dropout)
    return model.to(memory_format=torch.channels_last)
