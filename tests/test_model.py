"""The network: contracts of every fusion, and that absent modalities are truly absent."""

import inspect

import pytest
import torch

from mmal_cli.core import plugins
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


@pytest.mark.parametrize("name", plugins.names("fusions"))
@pytest.mark.parametrize("m", [1, 2, 4])
def test_every_fusion_takes_any_modalities_and_reads_no_absent_one(name, m):
    module = plugins.load("fusions", name, "fusion", must_have="Fusion")
    fusion = module.Fusion(m, 32, **({"heads": 2} if "heads" in inspect.signature(module.Fusion).parameters else {})).eval()
    tokens = torch.randn(5, m, 32, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[(row >> i) & 1 == 1 for i in range(m)] for row in range(5)])
    present[4] = False
    out = fusion(tokens, present)
    assert out.shape == (5, 32)
    assert torch.isfinite(out).all()
    assert fusion(torch.where(present[:, :, None], tokens, 1e9), present).equal(out)
    torch.testing.assert_close(fusion.train()(tokens, present), out, rtol=1e-5, atol=1e-6)


def test_the_mean_of_one_modality_is_its_token():
    fusion = plugins.load("fusions", "mean", "fusion", must_have="Fusion").Fusion(1, 4)
    tokens = torch.randn(3, 1, 4)
    assert fusion(tokens, torch.ones(3, 1, dtype=torch.bool)).equal(tokens[:, 0])
    pair, present = torch.tensor([[[2.0], [4.0]]]), torch.tensor([[True, True]])
    assert fusion(pair, present).tolist() == [[3.0]]
    assert fusion(pair, torch.tensor([[False, True]])).tolist() == [[4.0]]


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


@pytest.mark.parametrize("missing", ["mask", "token", "zero"])
def test_the_three_ways_of_standing_in_for_an_absent_modality(missing):
    module = plugins.load("fusions", "transformer", "fusion", must_have="Fusion")
    fusion = module.Fusion(2, 32, heads=2, missing=missing)
    tokens = torch.randn(3, 2, 32)
    present = torch.tensor([[True, True], [True, False], [False, False]])
    out = fusion(tokens, present)
    assert fusion(torch.where(present[:, :, None], tokens, -7.0), present).equal(out)
    out.sum().backward()
    assert (fusion.absent.grad is not None) == (missing == "token")


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
