"""How long do badge, bmmal, grace and kcg take at full size, beside reading what they read, and beside dense gradients?"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from data_recipes.workers import processes
from mmal_cli.bench._turns import in_turns
from mmal_cli.core.seeds import generator
from mmal_cli.device import choose_device, forget_peak_memory, resident_peak
from mmal_cli.method import answer, load_method
from mmal_cli.pool import PoolView, Predictions, moved

POOL, CLASSES, WIDTH, PICKS, LABELLED = 60_000, 100, 256, 5_000, 5_000
DENSE = 2_000  # samples whose C x D gradients are formed: 0.2 GB
DENSE_PICKS, READS, MEMORY_PICKS = 20, 100, 50
ROUNDS = 5
PASSES = 10
NAMES = ("a", "b")
SHARPNESS = 0.05  # half of the samples are predicted with about .9 and more
METHODS = ("badge", "bmmal", "grace", "kcg")


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Asks each method for its picks, in turns with reading its factors in float32 and with dense gradients, in one thread.

    Reading, once for each pick, is timed for 100 picks and dense k-means++ for 20 picks of 2,000 samples; both grow in
    proportion. Memory is what a process of its own holds at most beyond what it held before the query. Medians all. Where
    there is a GPU the query is timed on it too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        for name in METHODS:
            rows.append(_row(name))
            on_progress(len(rows), len(METHODS))
        return rows
    finally:
        torch.set_num_threads(threads)


def _row(name: str) -> dict:
    view = view_of(POOL, name)
    query = load_method(name, {}).query
    factors = [x.T.contiguous().T for x in read_by(view, name)]
    form, pick = dense()
    ways = {
        "ours": lambda: query(view, PICKS, generator(0, "query")),
        "reading": lambda: [torch.mv(x, x[pick]) for pick in range(READS) for x in factors],
        "form": form,
        "pick": pick,
    }
    if (device := choose_device("auto")).type != "cpu":
        there = moved(view, lambda x: x.to(device))
        ways["GPU"] = lambda: query(there, PICKS, generator(0, "query"))
    seconds = {way: median(found) for way, found in in_turns(ways, ROUNDS).items()}
    reading = seconds["reading"] * PICKS / READS
    gradients = (seconds["form"] + seconds["pick"] * PICKS / DENSE_PICKS) * POOL / DENSE
    with processes(2) as elsewhere:
        ((_, beyond, inputs),) = elsewhere(cost, [(name, POOL, MEMORY_PICKS, LABELLED, None, None, ROUNDS)])
    return {
        "method": name,
        "s": round(seconds["ours"], 1),
        "reading s": round(reading, 1),
        "times reading": round(seconds["ours"] / reading, 2),
        "times dense": "" if name == "kcg" else round(gradients / seconds["ours"]),
        "memory / inputs": round(beyond / inputs, 2),
        "picks": PICKS,
        "pool": POOL,
    } | ({"GPU s": round(seconds["GPU"], 2)} if "GPU" in seconds else {})


def view_of(pool: int, name: str, labelled: int = LABELLED, classes: int | None = None) -> PoolView:
    """Predictions as of a half-trained network: embeddings about the centre of a class, some near to it and some far."""
    rng, needs = generator(0, "bench"), load_method(name, {}).needs
    centres = torch.randn(classes or CLASSES, WIDTH, generator=rng)
    labelled = labelled if "labelled" in needs else 0
    return PoolView(
        unlabelled=predictions(pool, centres, needs, rng),
        labelled=predictions(labelled, centres, needs, rng),
        targets=torch.zeros(labelled, dtype=torch.int64),
        present=torch.ones(pool, len(NAMES), dtype=torch.bool),
        modalities=NAMES,
        cycle=4,
        cycles=10,
    )


def predictions(count: int, centres: Tensor, needs: frozenset[str], rng: torch.Generator) -> Predictions:
    """Only what is needed, so that memory can be compared with it."""
    by_subset = {(): torch.zeros(count, WIDTH)}
    target = torch.randint(len(centres), (count,), generator=rng)
    for name in NAMES:
        noise = torch.randn(count, WIDTH, generator=rng) * (0.5 + 2 * torch.rand(count, 1, generator=rng))
        by_subset[(name,)] = layer_norm(centres[target] + noise, (WIDTH,))
    by_subset[NAMES] = layer_norm(sum(by_subset.values()), (WIDTH,))
    if not {"subset_logits", "subset_embeddings"} & needs:
        by_subset = {NAMES: by_subset[NAMES]}
    logits = {subset: SHARPNESS * z @ centres.T for subset, z in by_subset.items()}
    fields = {"logits": logits[NAMES], "embeddings": by_subset[NAMES], "subset_logits": logits, "subset_embeddings": by_subset}
    if "passes" in needs:
        masks = 2.0 * (torch.rand(PASSES, 1, WIDTH, generator=rng) < 0.5)
        fields["passes"] = torch.stack([SHARPNESS * (by_subset[NAMES] * mask) @ centres.T for mask in masks])
    return Predictions(torch.arange(count), **{need: fields[need] for need in needs if need in fields})


def read_by(view: PoolView, name: str) -> list[Tensor]:
    """What a method reads once for each pick: residuals and embeddings; kcg embeddings alone."""
    pool = view.unlabelled
    if name == "kcg":
        return [pool.embeddings]
    if name == "bmmal":
        return [pool.subset_logits[NAMES], *(pool.subset_embeddings[(one,)] for one in NAMES)]
    return [pool.logits, pool.embeddings]


def dense() -> tuple[Callable[[], Tensor], Callable[[], object]]:
    """Forming the explicit gradients (n, C D) of 2,000 samples in float32, and 20 picks of k-means++ over them."""
    pool = view_of(DENSE, "badge").unlabelled
    residual = pool.logits.softmax(dim=1)
    residual -= torch.eye(CLASSES)[residual.argmax(dim=1)]

    def form() -> Tensor:
        return (residual[:, :, None] * pool.embeddings[:, None, :]).flatten(1)

    gradients = form()

    def pick() -> None:
        nearest, last = torch.full((DENSE,), torch.inf), int(gradients.square().sum(dim=1).argmax())
        for _ in range(DENSE_PICKS):
            nearest = torch.minimum(nearest, (gradients - gradients[last]).square().sum(dim=1))
            last = int(torch.multinomial(nearest, 1))

    return form, pick


def cost(
    name: str,
    pool: int,
    picks: int,
    labelled: int,
    classes: int | None = None,
    options: Mapping[str, Any] | None = None,
    rounds: int = 1,
) -> tuple[float, int, int]:
    """Seconds of a query in one thread, the bytes that it held at most beyond its inputs, and those of its inputs.

    Medians of some rounds, an odd number. For a process of its own; Linux alone can tell the bytes of a query from those
    before it.
    """
    torch.set_num_threads(1)
    method = load_method(name, options or {})
    answer(method, view_of(500, name, labelled, classes), 10, generator(0, "query"))  # what libraries need once
    view = view_of(pool, name, labelled, classes)
    seconds, beyond = [], []
    for _ in range(rounds):
        forget_peak_memory(torch.device("cpu"))
        before, started = resident_peak(), time.perf_counter()
        answer(method, view, picks, generator(0, "query"))
        seconds.append(time.perf_counter() - started)
        beyond.append(resident_peak() - before)
    return median(seconds), median(beyond), sum(x.nbytes for x in tensors(view.unlabelled))


def tensors(found: Predictions) -> list[Tensor]:
    """All that predictions hold, but the index."""
    several = [x for field in (found.subset_logits, found.subset_embeddings) for x in (field or {}).values()]
    return [x for x in (found.logits, found.embeddings, found.passes, *several) if x is not None]
