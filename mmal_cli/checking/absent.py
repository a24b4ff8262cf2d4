"""Does the answer stay the same whatever bytes stand where a modality is absent?"""

from collections.abc import Iterator

import torch

from mmal_cli.checking._asking import Row, Subject, Wrong, ask, examined, must_repeat
from mmal_cli.checking._views import chance
from mmal_cli.core.manifest import Modality
from mmal_cli.core.protocol import Budget, Model, Scale, Settings, Train
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split
from mmal_cli.loop import view_of
from mmal_cli.method import Method
from mmal_cli.model import build
from mmal_cli.pool import Pool, PoolView
from mmal_cli.predict import dropout_masks
from mmal_cli.train import Fitted

PLACE = 5
TRAIN, LABELLED, CLASSES, PICKS = 60, 12, 3, 10
MODALITIES = (
    Modality(name="a", kind="image", shape=(3, 16, 16), dtype="uint8"),
    Modality(name="b", kind="vector", shape=(5,), dtype="float32"),
)


def rows(subject: Subject) -> Iterator[Row]:
    """A small network of random weights predicts the pool of a small dataset, as in a run."""
    yield examined("bytes of absent modalities", lambda: _ignored(subject.method))


def _ignored(method: Method) -> str:
    zero, garbage = (_view(method, split) for split in _splits())
    must_repeat(method, zero, PICKS)
    expected, found = (ask(method, view, PICKS).samples for view in (zero, garbage))
    if found != expected:
        differ = sum(one != other for one, other in zip(found, expected, strict=True))
        raise Wrong(f"{differ} of {PICKS} samples differ once absent inputs are noise and NaN; expected the same")
    absent = int((~zero.present).sum())
    return f"{absent} absent inputs of {zero.present.numel()} as zeros, then as noise and NaN"


def _splits() -> tuple[Split, Split]:
    """The same samples, absent inputs zero in one, noise (images) and NaN (vectors) in the other."""
    rng = chance(0)
    present = torch.rand(TRAIN, 2, generator=rng) < 0.6
    images = torch.randint(256, (TRAIN, 3, 16, 16), generator=rng, dtype=torch.uint8)
    vectors = torch.randn(TRAIN, 5, generator=rng)
    labels = torch.arange(TRAIN) % CLASSES

    def of(lack: float) -> Split:
        shown = {"a": images.clone(), "b": vectors.clone()}
        shown["a"][~present[:, 0]] *= int(lack != 0)
        shown["b"][~present[:, 1]] = lack
        return Split(MODALITIES, CLASSES, shown, present, labels)

    return of(0.0), of(float("nan"))


def _view(method: Method, split: Split) -> PoolView:
    """What the loop shows the method in cycle 0 of 3, by an untrained network."""
    model = Model(
        encoders={"image": "convnet", "vector": "mlp"},
        width=16,
        fusion_options={"layers": 1, "heads": 2, "feedforward": 32},
        mc_passes=4,
    )
    settings = Settings(
        model=model,
        train=Train(),
        normalise={"image": Scale(mean=[0.5], std=[0.5])},
        start_set="balanced",
        validation_set="balanced",
        query_options={},
        budget=Budget(start=LABELLED, validation=1, query=PICKS, cycles=3),
    )
    dropout = model.mc_dropout if "passes" in method.needs else 0.0
    network = build(MODALITIES, CLASSES, settings, dropout, seed=0).eval()
    pool = Pool(TRAIN, barred=torch.empty(0, dtype=torch.int64))
    pool.label(torch.arange(LABELLED))
    masks = dropout_masks(network, settings, Chance(0, 0))
    return view_of(Fitted(network, 0, {}), split, pool, method.needs, masks, 0, 3)
