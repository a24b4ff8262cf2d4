"""The network: absent modalities are truly absent, first weights are the seed's, mistakes are named."""

import pytest
import torch

from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Modality
from mmal_cli.core.protocol import Budget, Scale, Settings, Train
from mmal_cli.core.protocol import Model as ModelSettings
from mmal_cli.model import build
from mmal_cli.predict import batch_size

HALF = {"image": Scale(mean=[0.5], std=[0.5])}
OPTIONS = {"encoders": {"image": "convnet"}, "width": 32, "fusion_options": {"layers": 2, "heads": 2, "feedforward": 64}}


def small(**change) -> Settings:
    """Settings of a small network."""
    rest = {"normalise": HALF, "start_set": "random", "validation_set": "random", "query_options": {}}
    budget = Budget(start=1, validation=1, query=1, cycles=1)
    return Settings(model=ModelSettings(**OPTIONS | change), train=Train(), budget=budget, **rest)


def images(*names: str) -> list[Modality]:
    return [Modality(name=name, kind="image", shape=(3, 16, 16), dtype="uint8") for name in names]


def inputs(names: tuple[str, ...], n: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=rng) for name in names}


def test_without_projections_the_head_reads_what_the_encoder_gives():
    model = build(images("a"), 3, small(width="encoder", fusion="mean", fusion_options={}), 0.0, 0).eval()
    x, present = inputs(("a",), 4), torch.ones(4, 1, dtype=torch.bool)
    encoded = model.encoders["a"](model.adapters["a"](x["a"]))
    assert model.embed(model.tokens(x, present), present).equal(encoded)
    assert model.head.in_features == model.width == model.encoders["a"].width
    options = {"encoders": {"a": "convnet", "b": "resnet18"}, "width": "encoder"}
    message = "model.width is encoder, but encoders differ: a 128, b 512; give them a common one: --set model.width=256"
    with pytest.raises(UserError, match=message):
        build(images("a", "b"), 3, small(**options), 0.0, 0)


def test_bytes_of_an_absent_modality_change_nothing_in_training_or_after():
    names, present = ("a", "b"), torch.tensor([[True, True], [True, False], [False, True], [True, False]])
    outputs = []
    for seed in (0, 1):
        model = build(images(*names), 5, small(), 0.0, 7).train()
        x, other = inputs(names, 4), inputs(names, 4, seed)
        x = {n: torch.where(present[:, m, None, None, None], x[n], other[n]) for m, n in enumerate(names)}
        logits = model(x, present)
        logits.sum().backward()
        outputs.append([logits, *(p.grad for p in model.parameters()), *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_batch_statistics_come_only_from_samples_that_have_the_modality():
    x, present = inputs(("a", "b"), 6), torch.ones(6, 2, dtype=torch.bool)
    present[3:, 1] = False
    some = build(images("a", "b"), 5, small(), 0.0, 7).train()
    some(x, present)
    few = build(images("a", "b"), 5, small(), 0.0, 7).train()
    few({name: value[:3] for name, value in x.items()}, present[:3])
    for mine, theirs in zip(some.encoders["b"].buffers(), few.encoders["b"].buffers(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("encoder", ["convnet", "efficientnet"])
@pytest.mark.parametrize("having", [0, 1])
def test_a_batch_with_none_or_one_of_a_modality_trains(encoder, having):
    model = build(images("a", "b"), 5, small(encoders={"image": encoder}), 0.0, 7).train()
    before = [b.clone() for b in model.encoders["b"].buffers()]
    present = torch.tensor([[True, row < having] for row in range(4)])
    model(inputs(("a", "b"), 4), present).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoders["b"].buffers(), strict=True))
    assert model.encoders["b"].training or having


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(0)
    one = build(images("a"), 5, small(), 0.0, 7)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == drawn, "making a model must not move the global generator"
    two = build(images("a"), 5, small(), 0.0, 7)
    assert all(a.equal(b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not build(images("a"), 5, small(), 0.0, 8).head.weight.equal(one.head.weight)


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(3, 64, 64)] * 2, 1024),
        ([(12, 1000), (50,)], 1024),
        ([(3, 224, 224), (2, 64)], 222),
        ([(12, 5000)], 559),
        ([(2**26,)], 1),
    ],
)
def test_large_samples_are_predicted_a_few_at_once(shapes, size):
    modalities = [Modality(name=f"m{k}", kind="vector", shape=shape, dtype="float32") for k, shape in enumerate(shapes)]
    assert batch_size(modalities) == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoders": {"image": "convnett"}}, r"unknown encoder 'convnett'; did you mean 'convnet'\?"),
        (
            {"encoders": {"text": "convnet"}},
            r"model.encoders has nothing for modality 'a' of kind 'image'; give it: --set model.encoders.image",
        ),
        ({"fusion": "transfomer"}, r"unknown fusion 'transfomer'; did you mean 'transformer'\?"),
        ({"fusion_options": {"missing": "foo"}}, r"transformer: missing is 'foo', expected one of mask, token, zero"),
        ({"fusion_options": {"heads": 3}}, r"transformer: 2 layers of 3 heads: .* heads must divide the width, 32"),
        ({"encoder_options": {"convnet": {"base": 0}}}, r"convnet: base is 0, expected at least 1"),
        ({"fusion_options": {"layer": 2}}, r"transformer: .*unexpected keyword argument 'layer'"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        build(images("a"), 5, small(**change), 0.0, 7)


def test_as_many_means_as_channels():
    two = {"image": Scale(mean=[0.5, 0.5], std=[1.0, 1.0])}
    with pytest.raises(UserError, match=r"normalise has 2 means and 2 deviations for an image of 3 channels, expected 1 or 3"):
        build(images("a"), 5, small().model_copy(update={"normalise": two}), 0.0, 7)
