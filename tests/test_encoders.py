"""Encoders: what every one promises, and what is particular to each."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from mmal_cli.core import minilm, plugins
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Modality
from mmal_cli.core.protocol import Budget, Scale, Settings, Train
from mmal_cli.core.protocol import Model as ModelSettings
from mmal_cli.model import build

SHAPES = {"image": [(3, 64, 64), (1, 32, 32)], "vector": [(50,)], "series": [(12, 1000), (2, 70)], "tokens": [(2, 20)]}
SENTENCES = [
    "Grilled salmon with lemon butter sauce",
    "Beef tartare",
    "How to make the best apple pie you have ever tasted, with cinnamon, brown sugar and a crust that does not fall apart",
]


def samples(shape: tuple[int, ...], n: int, kind: str, seed: int = 0) -> Tensor:
    """What an adapter hands to an encoder; texts of 1, 2, ... tokens."""
    rng = torch.Generator().manual_seed(seed)
    if kind != "tokens":
        return torch.randn(n, *shape, generator=rng)
    ids = torch.randint(1, 30000, (n, shape[1]), generator=rng)
    real = torch.arange(shape[1]) <= torch.arange(n)[:, None]
    return torch.stack([ids * real, real], dim=1).int()


def cases() -> list:
    """Every encoder with every kind that it reads."""
    modules = {name: plugins.load("encoders", name, "encoder", must_have="Encoder") for name in plugins.names("encoders")}
    return [
        pytest.param(module.Encoder, shape, kind, id=f"{name}-{'x'.join(map(str, shape))}")
        for name, module in modules.items()
        for kind in sorted(module.KINDS)
        for shape in SHAPES[kind]
    ]


each = pytest.mark.parametrize(("make", "shape", "kind"), cases())


def made(make: type[nn.Module], shape: tuple[int, ...], seed: int = 7) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(shape)


@each
def test_gives_finite_vectors_of_its_width_and_learns(make, shape, kind):
    encoder = made(make, shape)
    out = encoder.train()(samples(shape, 4, kind))
    assert out.shape == (4, encoder.width)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert any(p.grad.any() for p in encoder.parameters())


@each
def test_a_sample_alone_gives_what_it_gives_among_others(make, shape, kind):
    encoder, x = made(make, shape).eval(), samples(shape, 5, kind)
    with torch.no_grad():
        together = encoder(x)
        for k in range(5):
            torch.testing.assert_close(encoder(x[k : k + 1])[0], together[k], rtol=1e-4, atol=1e-5)


def test_resnet18_has_the_stem_of_cifar_below_128_pixels():
    make = plugins.load("encoders", "resnet18", "encoder", must_have="Encoder").Encoder
    small, large = make((3, 32, 32)), make((3, 128, 128))
    stems = {size: (one.features.conv1.kernel_size, one.features.conv1.stride) for size, one in ((32, small), (128, large))}
    assert stems == {32: ((3, 3), (1, 1)), 128: ((7, 7), (2, 2))}
    assert isinstance(small.features.maxpool, nn.Identity)
    assert isinstance(large.features.maxpool, nn.MaxPool2d)
    assert sum(p.numel() for p in small.parameters()) == 11_168_832  # the 11,173,962 of the usual CIFAR network, less its head
    assert make((1, 32, 32)).features.conv1.in_channels == 1


@each
def test_first_weights_depend_on_the_seed_alone(make, shape, kind):
    one, two = made(make, shape).state_dict(), made(make, shape).state_dict()
    assert one.keys() == two.keys()
    assert all(one[key].equal(two[key]) for key in one)


@pytest.mark.parametrize("make", [case.values[0] for case in cases() if case.values[2] == "tokens"])
def test_padding_changes_nothing_and_no_text_is_finite(make):
    encoder, x = made(make, (2, 40)).eval(), samples((2, 12), 5, "tokens")
    x[0, 1] = 0
    padded = torch.cat([x, torch.zeros(5, 2, 28, dtype=torch.int32)], dim=2)
    padded[:, 0] += 999 * (1 - padded[:, 1])  # whatever stands there
    with torch.no_grad():
        assert torch.isfinite(encoder(x)).all()
        torch.testing.assert_close(encoder(padded), encoder(x), rtol=1e-4, atol=1e-5)


def test_efficientnet1d_is_b0_along_time():
    encoder = made(plugins.load("encoders", "efficientnet1d", "encoder", must_have="Encoder").Encoder, (12, 1000))
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert (len(convolutions), encoder.width) == (81, 1280)
    assert {c.kernel_size for c in convolutions} == {(1, 1), (1, 3), (1, 5)}
    # MONAI 1.6.1: EfficientNetBN("efficientnet-b0", spatial_dims=1, in_channels=12) has as many without its last layer
    assert sum(p.numel() for p in encoder.parameters()) == 3_865_372
    assert encoder.features(torch.randn(2, 12, 1, 1000)).shape == (2, 1280, 1, 32)  # the total stride is 32


def test_minilm_agrees_with_sentence_transformers():
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    folder = minilm.find()
    tokenizer = Tokenizer.from_file(str(folder / minilm.TOKENIZER))
    tokenizer.enable_padding(length=64)
    encoded = tokenizer.encode_batch(SENTENCES)
    x = torch.tensor([[e.ids, e.attention_mask] for e in encoded], dtype=torch.int32)
    encoder = plugins.load("encoders", "minilm", "encoder", must_have="Encoder").Encoder((2, 64)).eval()
    with torch.no_grad():
        ours = encoder(x)
    theirs = torch.from_numpy(SentenceTransformer(str(folder), device="cpu").encode(SENTENCES, show_progress_bar=False))
    assert (torch.cosine_similarity(ours, theirs) > 0.9999).all()
    torch.testing.assert_close(nn.functional.normalize(ours), theirs, rtol=1e-3, atol=1e-5)


def test_minilm_prints_nothing():
    code = "from mmal_cli.encoders import minilm; minilm.Encoder((2, 8))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def settings(encoders: dict[str, str], **options) -> Settings:
    model = ModelSettings(encoders=encoders, encoder_options=options, width=16, fusion_options={"layers": 1, "heads": 2})
    rest = {"normalise": {"image": Scale(mean=[0.5], std=[0.5])}, "start_set": "random", "validation_set": "random"}
    budget = Budget(start=1, validation=1, query=1, cycles=1)
    return Settings(model=model, train=Train(), budget=budget, query_options={}, **rest)


def test_every_kind_goes_through_one_model():
    kinds = {
        "photo": ("image", (3, 16, 16), "uint8"),
        "labs": ("vector", (5,), "float32"),
        "ecg": ("series", (2, 200), "int16"),
        "text": ("tokens", (2, 9), "int32"),
    }
    modalities = [Modality(name=name, kind=kind, shape=shape, dtype=dtype) for name, (kind, shape, dtype) in kinds.items()]
    encoders = {"image": "convnet", "vector": "mlp", "series": "convnet1d", "tokens": "wordbag"}
    model = build(modalities, 3, settings(encoders), 0.0, 7)
    inputs = {
        "photo": torch.zeros(4, 3, 16, 16, dtype=torch.uint8),
        "labs": torch.rand(4, 5),
        "ecg": torch.full((4, 2, 200), -32767, dtype=torch.int16),
        "text": samples((2, 9), 4, "tokens"),
    }
    assert model.adapters["ecg"](inputs["ecg"]).unique().tolist() == [-1.0]
    assert model.adapters["ecg"](torch.rand(1, 2, 3)).dtype == torch.float32
    present = torch.ones(4, 4, dtype=torch.bool)
    model.train()(inputs, present).sum().backward()
    assert all(p.grad is not None for p in model.encoders.parameters())


@pytest.mark.parametrize(
    ("name", "kind", "options", "message"),
    [
        ("mlp", "vector", {"hidden": 0}, "mlp: hidden is 0, expected at least 1"),
        ("convnet1d", "series", {"base": 0}, "convnet1d: base is 0, expected at least 1"),
        ("wordbag", "tokens", {"buckets": 0}, "wordbag: buckets is 0, expected at least 1"),
        ("minilm", "tokens", {"folder": "/none"}, "/none lacks config.json, model.safetensors, tokenizer.json"),
        ("minilm", "tokens", {"pool": "max"}, "minilm: .*unexpected keyword argument 'pool'"),
        ("mlp", "series", {}, "encoder 'mlp' reads vector; modality 'x' is of kind 'series'"),
    ],
)
def test_mistakes_are_named(name, kind, options, message):
    modality = Modality(name="x", kind=kind, shape=SHAPES[kind][0], dtype="float32")
    with pytest.raises(UserError, match=message):
        build([modality], 3, settings({kind: name}, **{name: options}), 0.0, 7)
