"""What the settings of a run are made of: the pydantic models of protocols, overlays and resolved settings."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from mmal_cli.core.budgets import Amount
from mmal_cli.core.manifest import Strict
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL, ST, Paradigm

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


class FixMatch(Finite):
    """Learning from the pool too: FixMatch (Sohn et al. 2020) as in realistic-al."""

    enabled: bool = False
    mu: int = Field(7, ge=1)  # samples of the pool for each labelled one in a batch
    threshold: float = Field(0.95, ge=0, le=1)  # probability from which on the weak view's class is the strong view's label
    lambda_u: float = Field(1.0, ge=0)  # weight of the pool's loss
    max_epoch_samples: int | None = Field(None, ge=1)  # of the pool; None: a pass over all of it
    alignment: bool = False  # probabilities are moved towards classes alike before the threshold


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
    schedule: Literal["cosine", "steps"] = "cosine"  # after the warm-up; steps: a tenth after each quarter of the epochs
    class_weights: bool = False  # of the loss: n / (C n_c), as scikit-learn's `balanced`
    checkpoint: Literal["best", "last"] = "best"  # the epoch that is kept
    fixmatch: FixMatch = FixMatch()


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


class Layer(Strict):
    """Some settings: every field may be left out."""

    model: Model = Model()
    train: Train = Train()
    normalise: dict[str, dict[str, Any]] = {"image": {"mean": [0.5], "std": [0.5]}}  # modality name or kind -> Scale
    shrink: dict[str, Annotated[int, Field(ge=1)]] = {}  # modality name or kind -> longest side or series that is read
    start_set: First = "balanced"
    validation_set: First = "balanced"
    query_options: dict[str, dict[str, Any]] = {}  # query method -> its keyword arguments
    regimes: dict[str, Regime] = {}


class Protocol(Layer):
    """One file of protocols/, or an overlay; `paradigms` has what a training paradigm changes in it."""

    paradigms: dict[Paradigm, Layer] = {}


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

    @property
    def paradigm(self) -> Paradigm:
        """What the model learns from beside the labels."""
        if self.train.fixmatch.enabled:
            return SEMI_SL
        return SELF_SL if self.model.start else ST
