"""What does each idea of the training engine give by itself, beside its plain form?"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mmal_cli.bench import step
from mmal_cli.bench._turns import beside, in_turns
from mmal_cli.data import Split, keep, subsets
from mmal_cli.device import keep_memory
from mmal_cli.model import Model, build
from mmal_cli.pool import Predictions
from mmal_cli.predict import predict

ROUNDS, WORKERS = 5, 2
Pair = tuple[str, str, Callable[[], object], Callable[[], object]]


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each pair, in turns, at the sizes of `mmal bench step`; on a GPU if there is one."""
    keep_memory()
    data = step.split().to(step.device())
    model = build(data.modalities, data.classes, step.settings(), 0.0, seed=0).to(step.device()).eval()
    rows, pairs = [], [*optimisers(model), at_once(model, data), held(model, data), halved(model, data)]
    for name, plain, ours, other in pairs:
        seconds = in_turns({"ours": ours, "other": other}, ROUNDS)
        rows.append({"idea": name, "beside": plain} | beside(seconds["ours"], seconds["other"], "ms", lambda s: 1000 * s))
        on_progress(len(rows), len(pairs))
    return rows


def optimisers(model: Model) -> Iterator[Pair]:
    """A step of Nesterov SGD on all weights in one kernel for many, beside one weight after the other."""
    steps = []
    for form in ({"foreach": True}, {"fused": True}, {"foreach": False, "fused": False}):
        weights = [torch.nn.Parameter(x.detach().clone()) for x in model.parameters()]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        steps.append(torch.optim.SGD(weights, 0.01, 0.9, weight_decay=5e-4, nesterov=True, **form).step)
    *fast, plain = steps
    for name, way in zip(("foreach SGD", "fused SGD"), fast, strict=True):
        yield name, "one weight after the other", way, plain


def halved(model: Model, data: Split) -> Pair:
    """Forward and backward of a batch, products and convolutions in bf16, beside float32."""
    model, batch = deepcopy(model).train(), data.batch(torch.arange(step.BATCH))

    def both(half: bool) -> None:
        with torch.autocast(batch.labels.device.type, torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(model(batch.inputs, batch.present), batch.labels)
        loss.backward()

    return "bf16", "float32", partial(both, True), partial(both, False)


def at_once(model: Model, data: Split) -> Pair:
    """Every subset of modalities from one run of the encoders, beside a run for each."""
    index, every = torch.arange(len(data.labels)), subsets(data.names)

    def ask(of: Sequence[tuple[str, ...]], present: Tensor) -> Predictions:
        return predict(model, replace(data, present=present), index, {"subset_logits"}, None, of)

    def each() -> list[Predictions]:
        return [ask((one,), keep(data.present, data.names, one)) for one in every]

    return "subsets from one run of the encoders", "a run for each", lambda: ask(every, data.present), each


def held(model: Model, data: Split) -> Pair:
    """An epoch's normalised batches of uint8 on the device, beside float32 samples from a DataLoader with two workers."""
    adapters, order, place = model.adapters, torch.arange(len(data.labels)), data.labels.device

    def ours() -> list[Tensor]:
        found = (data.batch(positions).inputs for positions in order.split(step.BATCH))
        return [adapters[name](x) for inputs in found for name, x in inputs.items()]

    floats = TensorDataset(*((x.cpu().float() / 255 - 0.5) / 0.5 for x in data.inputs.values()))
    pinned = torch.cuda.is_available()
    loader = DataLoader(floats, step.BATCH, num_workers=WORKERS, persistent_workers=WORKERS > 0, pin_memory=pinned)
    return "uint8 on the device", "float32 from a loader", ours, lambda: [x.to(place) for batch in loader for x in batch]
