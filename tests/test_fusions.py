"""Fusions: contracts of every one, what each paper defines, and early fusion through the whole network."""

import inspect

import pytest
import torch
from test_model import images, inputs, small

from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Modality
from mmal_cli.data import Split, keep, subsets
from mmal_cli.fusions import cross, early, gated
from mmal_cli.model import Model, build
from mmal_cli.predict import predict

D = 8
ROWS = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [True, False, False], [False, True, True]])


def module(name: str):
    return plugins.load("fusions", name, "fusion", must_have="Fusion")


LATE = [name for name in plugins.names("fusions") if not hasattr(module(name), "stacked")]


def made(name: str, m: int = 3, **options):
    """The fusion of a name, with weights that depend on nothing but the name."""
    make = module(name).Fusion
    small_heads = {"heads": 2, "feedforward": 16} if "heads" in inspect.signature(make).parameters else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(m, D, **small_heads, **options)


def drawn(n: int = 5, m: int = 3) -> torch.Tensor:
    return torch.randn(n, m, D, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("m", [1, 2, 4])
def test_every_fusion_takes_any_modalities_and_reads_no_absent_one(name, m):
    fusion, tokens = made(name, m).eval(), drawn(m=m)
    present = torch.tensor([[(row >> i) & 1 == 1 for i in range(m)] for row in range(5)])
    present[4] = False
    out = fusion(tokens, present)
    assert out.shape == (5, D)
    assert torch.isfinite(out).all()
    assert fusion(torch.where(present[:, :, None], tokens, 1e9), present).equal(out)
    fusion.train()
    if name == "hidden":  # normalises batches
        assert fusion(torch.where(present[:, :, None], tokens, 1e9), present).equal(fusion(tokens, present))
    else:
        torch.testing.assert_close(fusion(tokens, present), out, rtol=1e-5, atol=1e-6)


def test_hidden_normalises_batches_and_a_sample_alone_by_what_it_has_seen():
    fusion, tokens, present = made("hidden", 2).train(), drawn(64, 2), torch.ones(64, 2, dtype=torch.bool)
    out = fusion.normalise(fusion.layer(tokens.mean(dim=1)))
    assert torch.allclose(out.mean(dim=0), torch.zeros(D), atol=1e-5)
    assert torch.allclose(out.var(dim=0, correction=0), torch.ones(D), atol=1e-2)
    before = fusion.normalise.running_mean.clone()
    alone = fusion(tokens[:1], present[:1])
    assert fusion.normalise.running_mean.equal(before)
    assert alone.equal(fusion.eval()(tokens[:1], present[:1]))


def test_the_mean_of_one_modality_is_its_token():
    fusion = module("mean").Fusion(1, 4)
    tokens = torch.randn(3, 1, 4)
    assert fusion(tokens, torch.ones(3, 1, dtype=torch.bool)).equal(tokens[:, 0])
    pair, present = torch.tensor([[[2.0], [4.0]]]), torch.tensor([[True, True]])
    assert fusion(pair, present).tolist() == [[3.0]]
    assert fusion(pair, torch.tensor([[False, True]])).tolist() == [[4.0]]


@pytest.mark.parametrize("missing", ["mask", "token", "zero"])
def test_the_three_ways_of_standing_in_for_an_absent_modality(missing):
    fusion, tokens = made("transformer", 2, missing=missing), drawn(3, 2)
    present = torch.tensor([[True, True], [True, False], [False, False]])
    out = fusion(tokens, present)
    assert fusion(torch.where(present[:, :, None], tokens, -7.0), present).equal(out)
    out.sum().backward()
    assert (fusion.absent.grad is not None) == (missing == "token")


@pytest.mark.parametrize("name", LATE)
def test_samples_of_a_batch_do_not_meet(name):
    fusion, tokens = made(name).eval(), drawn()
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(fusion(tokens[order], ROWS[order]), fusion(tokens, ROWS)[order])
    torch.testing.assert_close(fusion(tokens[:1], ROWS[:1]), fusion(tokens, ROWS)[:1])


@pytest.mark.parametrize("name", LATE)
def test_gradients_reach_the_tokens_that_are_there_and_no_others(name):
    """A modality that is the only one in a whole batch has gradients too, and nothing is NaN."""
    for rows in (ROWS, torch.tensor([[False, True, False]] * 5), torch.zeros(5, 3, dtype=torch.bool)):
        fusion, tokens = made(name).train(), drawn().requires_grad_()
        weights = torch.randn(5, D, generator=torch.Generator().manual_seed(2))  # a layer norm's sum alone has no gradient
        out = fusion(tokens, rows)
        assert torch.isfinite(out).all()
        (out * weights).sum().backward()
        assert torch.equal(tokens.grad.abs().sum(dim=2) > 0, rows)
        assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", [name for name in LATE if name not in ("mean", "hidden")])
def test_which_modality_says_something_matters(name):
    """Two modalities that change places give another embedding: only a mean is blind to it."""
    fusion, tokens = made(name, 2).eval(), drawn(m=2)
    all_there = torch.ones(5, 2, dtype=torch.bool)
    assert not torch.allclose(fusion(tokens, all_there), fusion(tokens.flip(1), all_there), atol=1e-4)


def test_concat_puts_tokens_side_by_side_and_its_own_vector_where_one_is_absent():
    fusion, tokens = made("concat", 2), drawn(2, 2)
    present = torch.tensor([[True, True], [True, False]])
    rows = torch.stack([torch.cat([tokens[0, 0], tokens[0, 1]]), torch.cat([tokens[1, 0], fusion.absent[1]])])
    torch.testing.assert_close(fusion(tokens, present), fusion.layer(rows))
    fusion(tokens, present).square().sum().backward()
    assert fusion.absent.grad.abs().sum(dim=1).tolist()[0] == 0, "a was never absent"
    assert fusion.absent.grad[1].abs().sum() > 0


def units(gates: str) -> gated.Fusion:
    """Two modalities of one number, W_1 = 1, W_2 = 2, and gates that see 3 x_1 and 5 x_2."""
    fusion = gated.Fusion(2, 1, gates)
    with torch.no_grad():
        fusion.values[0].weight.copy_(torch.tensor([[1.0]]))
        fusion.values[1].weight.copy_(torch.tensor([[2.0]]))
        fusion.scores.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
    return fusion


def test_gated_is_the_unit_of_arevalo_and_others():
    x, both = torch.tensor([[[0.5], [0.25]]], dtype=torch.float32), torch.tensor([[True, True]])
    h = torch.tanh(torch.tensor([0.5, 0.5]))
    z = torch.sigmoid(torch.tensor([1.5, 1.25]))
    torch.testing.assert_close(units("sigmoid")(x, both)[0, 0], (z * h).sum())
    bimodal = torch.sigmoid(torch.tensor(1.5 - 1.25))  # softmax of two scores is their bimodal z and 1 - z
    torch.testing.assert_close(units("softmax")(x, both)[0, 0], bimodal * h[0] + (1 - bimodal) * h[1])


def test_gated_leaves_an_absent_modality_out_of_gates_and_sum():
    x, first = torch.tensor([[[0.5], [9.0]]]), torch.tensor([[True, False]])
    h = torch.tanh(torch.tensor(0.5))
    torch.testing.assert_close(units("softmax")(x, first)[0, 0], h)
    torch.testing.assert_close(units("sigmoid")(x, first)[0, 0], torch.sigmoid(torch.tensor(1.5)) * h)
    for gates in gated.GATES:
        assert units(gates)(x, torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0.0]]
    with pytest.raises(ValueError, match="gates is 'relu', expected one of softmax, sigmoid"):
        gated.Fusion(2, 1, "relu")


@pytest.mark.parametrize("name", ["cross", "transformer"])
@pytest.mark.parametrize("heads", [0, 3, 2.0, True])
def test_heads_are_a_whole_number_that_divides_the_width(name, heads):
    with pytest.raises(UserError, match=rf"{name}: \d layers of {heads} heads: at least 1 of each, and heads must divide"):
        build(images("a", "b"), 5, small(fusion=name, fusion_options={"heads": heads}), 0.0, 7)


def test_cross_hears_the_others_and_not_itself():
    """Without its feed-forward part and with one layer, a modality of two gets the other's value, whatever the scores."""
    fusion = made("cross", 2, layers=1).eval()
    layer, tokens = fusion.layers[0], drawn(3, 2)
    with torch.no_grad():
        layer.feedforward[2].weight.zero_()
        layer.feedforward[2].bias.zero_()
        typed = tokens + fusion.types
        projection, bias = layer.attention.in_proj_weight[2 * D :], layer.attention.in_proj_bias[2 * D :]
        heard = layer.attention.out_proj(layer.norms[0](typed) @ projection.T + bias)
        expected = fusion.norm(typed + heard.flip(1)).mean(dim=1)
        alone = fusion.norm(typed[:, 0])
    both, first = torch.ones(3, 2, dtype=torch.bool), torch.tensor([[True, False]] * 3)
    torch.testing.assert_close(fusion(tokens, both), expected)
    torch.testing.assert_close(fusion(tokens, first), alone)
    assert fusion(tokens, torch.zeros(3, 2, dtype=torch.bool)).equal(torch.zeros(3, D))
    with pytest.raises(ValueError, match=r"1 layers of 3 heads: .*heads must divide the width, 8"):
        cross.Fusion(2, D, layers=1, heads=3)


@pytest.mark.parametrize(("shape", "stack"), [((3, 4, 4), (8, 4, 4)), ((2, 7), (6, 7)), ((5,), (12,))])
def test_early_stacks_channels_and_says_which_are_there(shape, stack):
    fusion, x = early.Fusion(2, D), torch.randn(3, 2, *shape)
    present = torch.tensor([[True, True], [False, True], [False, False]])
    out, channels = fusion(x, present), shape[0]
    assert out.shape == (3, *early.stacked([shape] * 2)) == (3, *stack)
    assert out[0, : 2 * channels].equal(x[0].flatten(0, 1))
    assert not out[1, :channels].any()
    assert out[1, channels : 2 * channels].equal(x[1, 1])
    flags = out[:, 2 * channels :].flatten(2) if len(shape) > 1 else out[:, 2 * channels :, None]
    assert flags.equal(present[:, :, None].expand_as(flags).float())


def network(names: str = "ab", **change) -> Model:
    return build(images(*names), 5, small(**{"fusion": "early", "fusion_options": {}} | change), 0.0, 7)


def test_an_early_fusion_has_one_encoder_and_one_projection():
    model = network("abc")
    assert list(model.encoders) == list(model.projections) == ["a"]
    assert model.encoders["a"].features[0][0].in_channels == 12
    assert network(width="encoder").width == 128


@pytest.mark.parametrize("name", plugins.names("fusions"))
def test_absent_bytes_change_nothing_through_the_whole_network(name):
    names, present = ("a", "b", "c"), ROWS.clone()
    present[2] = False
    outputs = []
    for seed in (0, 1):
        model = build(images(*names), 5, small(fusion=name, fusion_options={}), 0.0, 7).train()
        x, other = inputs(names, 5), inputs(names, 5, seed)
        x = {n: torch.where(present[:, m, None, None, None], x[n], other[n]) for m, n in enumerate(names)}
        logits = model(x, present)
        logits.square().sum().backward()
        assert torch.isfinite(logits).all()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        outputs.append([logits, *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_an_early_fusion_trains_on_a_single_sample():
    model = network().train()
    before = [b.clone() for b in model.buffers()]
    model(inputs(("a", "b"), 1), torch.tensor([[True, False]])).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


@pytest.mark.parametrize("name", plugins.names("fusions"))
def test_a_subset_at_test_time_is_the_sample_with_nothing_else(name):
    """What predict says of a subset is what the model says of samples that have no other modality."""
    names, n = ("a", "b", "c"), 6
    x = inputs(names, n)
    split = Split(tuple(images(*names)), 5, x, torch.ones(n, 3, dtype=torch.bool), torch.arange(n) % 5)
    model = build(images(*names), 5, small(fusion=name, fusion_options={}), 0.0, 7).eval()
    needs = {"logits", "embeddings", "subset_logits", "subset_embeddings"}
    found = predict(model, split, torch.arange(n), needs, subsets=subsets(names))
    assert len(found.subset_logits) == 7
    with torch.no_grad():
        for subset, logits in found.subset_logits.items():
            kept = keep(split.present, names, subset)
            lonely = {m: x[m] * kept[:, c, None, None, None].to(torch.uint8) for c, m in enumerate(names)}
            torch.testing.assert_close(logits, model(lonely, kept))
            torch.testing.assert_close(model.head(found.subset_embeddings[subset]), logits)
    torch.testing.assert_close(found.subset_logits[names], found.logits)


IMAGE, SERIES = (
    {"kind": "image", "shape": (3, 16, 16), "dtype": "uint8"},
    {"kind": "series", "shape": (3, 16), "dtype": "int16"},
)
LARGER = IMAGE | {"shape": (3, 32, 32)}
TOKENS = {"kind": "tokens", "shape": (2, 8), "dtype": "int32"}
KINDS = {"image": "convnet", "series": "convnet1d", "tokens": "wordbag"}


@pytest.mark.parametrize(
    ("modalities", "encoders", "found"),
    [
        ([IMAGE, LARGER], KINDS, "m0 image 3x16x16 for convnet, m1 image 3x32x32 for convnet"),
        ([IMAGE, SERIES], KINDS, "m0 image 3x16x16 for convnet, m1 series 3x16 for convnet1d"),
        ([TOKENS, TOKENS], KINDS, "m0 tokens 2x8 for wordbag, m1 tokens 2x8 for wordbag"),
        ([IMAGE, IMAGE], {"m0": "convnet", "m1": "resnet18"}, "m0 image 3x16x16 for convnet, m1 image 3x16x16 for resnet18"),
    ],
)
def test_early_refuses_what_it_cannot_stack(modalities, encoders, found):
    described = [Modality(name=f"m{k}", **one) for k, one in enumerate(modalities)]
    with pytest.raises(UserError) as error:
        build(described, 5, small(fusion="early", fusion_options={}, encoders=encoders), 0.0, 7)
    assert str(error.value) == (
        "fusion early stacks modalities before one encoder: expected images, series or vectors of one shape and one encoder, "
        f"found {found}; choose another fusion: --set model.fusion=concat"
    )


def test_early_takes_no_pretrained_encoders():
    with pytest.raises(UserError, match="early has one encoder of all modalities, which pretrained ones do not fit; choose"):
        network(start="pre")


def test_early_takes_series_and_encoders_by_name():
    described = [Modality(name=name, **SERIES) for name in "ab"]
    model = build(described, 5, small(fusion="early", fusion_options={}, encoders=KINDS), 0.0, 7).eval()
    x = {name: torch.zeros(2, 3, 16, dtype=torch.int16) for name in "ab"}
    assert model(x, torch.ones(2, 2, dtype=torch.bool)).shape == (2, 5)
    assert network(encoders={"a": "convnet", "b": "convnet"}).encoders["a"].width == 128
