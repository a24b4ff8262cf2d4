"""Trains a fresh model on the labelled set, and predicts; chance comes from named streams of the run's seed."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmal_cli import augment
from mmal_cli.core import seeds
from mmal_cli.core.errors import UserError
from mmal_cli.core.settings import ModDrop, Settings, Train
from mmal_cli.data import Batch, Split, keep
from mmal_cli.metrics import balanced_accuracy
from mmal_cli.model import Model, build
from mmal_cli.pool import Predictions, Subset

PREDICT_BATCH = 1024  # fixed, so that results never depend on the memory of the hardware


@dataclass(frozen=True)
class Fitted:
    """A trained model in evaluation mode, with the weights of its best epoch (from 0) and that epoch's validation score."""

    model: Model
    best_epoch: int
    validation: dict[str, float]


@dataclass(frozen=True)
class Chance:
    """The streams of one cycle: `chance("batches")` is a generator, the same whenever it is asked for."""

    seed: int
    cycle: int

    def __call__(self, purpose: str) -> torch.Generator:
        return seeds.generator(self.seed, purpose, self.cycle)


def fit(
    split: Split,
    labelled: Tensor,
    validation: Tensor,
    settings: Settings,
    dropout: float,
    chance: Chance,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Fitted:
    """Trains from new random weights; keeps the epoch with the best balanced validation accuracy, the earliest on ties.

    Args:
        split: the train split, on the device to train on.
        labelled: train positions to learn from.
        validation: train positions to choose the epoch by, each sample with the modalities that it has.
        settings: of the run.
        dropout: before the head; with it, validation averages Monte Carlo passes.
        chance: streams init, batches, augment, moddrop, dropout, passes.
        on_epoch: called after every epoch with the number of epochs done.

    Raises:
        UserError: the loss is not finite; names cycle, epoch and learning rate.
    """
    device, train = split.labels.device, settings.train
    model = build(
        split.modalities, split.classes, settings.model, settings.normalise, dropout, chance.seed, "init", chance.cycle
    ).to(device)
    optimiser = make_optimiser(model, train)
    order = epoch_order(split.labels[labelled.to(device)].cpu(), train, chance("batches"))
    steps = math.ceil(max(len(labelled), train.min_epoch_samples) / train.batch_size)
    augmenting, dropping = chance("augment"), chance("moddrop")
    masks = dropout_masks(settings, dropout, chance)
    best, best_epoch, weights = -1.0, 0, {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seeds.derive(chance.seed, "dropout", chance.cycle))
        for epoch in range(train.epochs):
            model.train()
            total = torch.zeros((), device=device)
            for step, positions in enumerate(next(order).split(train.batch_size)):
                rate = train.lr * factor(epoch * steps + step, train.warmup_epochs * steps, train.epochs * steps)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                batch = augmented(split.batch(labelled[positions]), split, train.augmentation, augmenting)
                kept = batch.present
                if train.moddrop.enabled:
                    kept = drop_modalities(batch.present, train.moddrop, dropping)
                loss = nn.functional.cross_entropy(model(batch.inputs, batch.present, kept), batch.labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.detach()
            if not torch.isfinite(total):
                raise UserError(
                    f"cycle {chance.cycle}, epoch {epoch + 1} of {train.epochs}: the loss is not finite at learning rate "
                    f"{rate:.3g}; lower it: --set train.lr={train.lr / 10:g}"
                )
            score = _validate(model, split, validation, masks)
            if score > best:
                best, best_epoch = score, epoch
                weights = {name: value.clone() for name, value in model.state_dict().items()}
            on_epoch(epoch + 1)
    model.load_state_dict(weights)
    return Fitted(model.eval(), best_epoch, {"balanced_accuracy": best})


def make_optimiser(model: nn.Module, train: Train) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on biases and normalisation (parameters with one dimension)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=train.momentum > 0)


def factor(step: int, warmup: int, total: int) -> float:
    """What the learning rate is multiplied by: linear from 0 over `warmup` steps, then half a cosine down to 0."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def epoch_order(labels: Tensor, train: Train, rng: torch.Generator):
    """Endless epochs: each a (draws,) int64 tensor of positions in the labelled set, draws = max(n, min_epoch_samples).

    Plain: a permutation of 0..draws-1 modulo n, so that each sample comes up floor or ceil of draws / n times.
    Balanced: draws with replacement, a class with n_c samples having weight 1 / n_c for each.
    """
    n = len(labels)
    draws = max(n, train.min_epoch_samples)
    weights = 1.0 / torch.bincount(labels).double()[labels]
    while True:
        if train.balanced_sampling:
            yield torch.multinomial(weights, draws, replacement=True, generator=rng)
        else:
            yield torch.randperm(draws, generator=rng) % n


def augmented(batch: Batch, split: Split, name: str, rng: torch.Generator) -> Batch:
    """The batch with each image augmented by a draw of its own; other kinds pass as they are."""
    inputs = {
        m.name: augment.apply(name, batch.inputs[m.name], rng) if m.kind == "image" else batch.inputs[m.name]
        for m in split.modalities
    }
    return Batch(inputs, batch.present, batch.labels, batch.index)


def drop_modalities(present: Tensor, settings: ModDrop, rng: torch.Generator) -> Tensor:
    """`present` (B, M) after modality dropout (Neverova et al. 2016), each sample by itself; the last one always stays.

    `one`: with probability p one of the modalities that the sample has, chosen uniformly, is dropped.
    `bernoulli`: each is dropped with probability p; if none is left, one of them, chosen uniformly, is kept.
    """
    b, m = present.shape
    draws = torch.rand(b, m + 1, generator=rng).to(present.device)
    rank = torch.where(present, draws[:, :m], -1.0)
    chosen = nn.functional.one_hot(rank.argmax(dim=1), m).bool()  # one present modality, uniformly
    if settings.mode == "bernoulli":
        again = torch.rand(b, m, generator=rng).to(present.device)
        left = present & (again >= settings.p)
        return torch.where(left.any(dim=1, keepdim=True), left, chosen & present)
    drop = (draws[:, m] < settings.p) & (present.sum(dim=1) > 1)
    return present & ~(chosen & drop[:, None])


def dropout_masks(settings: Settings, dropout: float, chance: Chance) -> Tensor | None:
    """(K, D) masks of kept entries, scaled by 1 / (1 - p), the same for all samples of a cycle; None without dropout."""
    if dropout == 0:
        return None
    shape = settings.model.mc_passes, settings.model.width
    return (torch.rand(shape, generator=chance("passes")) >= dropout).float() / (1 - dropout)


@torch.no_grad()
def predict(
    model: Model,
    split: Split,
    index: Tensor,
    needs: Collection[str],
    masks: Tensor | None = None,
    subsets: Sequence[Subset] = (),
) -> Predictions:
    """Predicts the samples at some positions, the encoders running once per sample whatever the subsets.

    Args:
        model: in evaluation mode, on the split's device.
        split: where the samples are.
        index: (n,) positions.
        needs: which fields of Predictions to fill: logits, embeddings, passes, subset_logits, subset_embeddings.
        masks: (K, D) dropout masks; with them logits are log mean probabilities over the passes.
        subsets: for the subset fields.
    """
    masks = None if masks is None else masks.to(split.labels.device)
    logits, embeddings, passes = [], [], []
    by_subset = {subset: ([], []) for subset in subsets}
    for positions in index.split(PREDICT_BATCH):
        batch = split.batch(positions)
        tokens = model.tokens(batch.inputs, batch.present)
        if {"logits", "embeddings", "passes"} & set(needs):
            h = model.embed(tokens, batch.present)
            embeddings.append(h)
            logits.append(_logits(model, h, masks))
            if "passes" in needs:
                passes.append(model.head(h * masks[:, None, :]))
        for subset, (some_logits, some_embeddings) in by_subset.items():
            h = model.embed(tokens, keep(batch.present, split.names, subset))
            some_embeddings.append(h)
            some_logits.append(_logits(model, h, masks))
    return Predictions(
        index=index.to(split.labels.device),
        logits=torch.cat(logits) if "logits" in needs else None,
        embeddings=torch.cat(embeddings) if "embeddings" in needs else None,
        passes=torch.cat(passes, dim=1) if "passes" in needs else None,
        subset_logits={s: torch.cat(x) for s, (x, _) in by_subset.items()} if "subset_logits" in needs else None,
        subset_embeddings={s: torch.cat(x) for s, (_, x) in by_subset.items()} if "subset_embeddings" in needs else None,
    )


def _logits(model: Model, h: Tensor, masks: Tensor | None) -> Tensor:
    """(B, D) -> (B, C): the head's logits, or the log of the mean probability over the passes."""
    if masks is None:
        return model.head(h)
    log_p = model.head(h * masks[:, None, :]).log_softmax(dim=2)
    return log_p.logsumexp(dim=0) - math.log(len(masks))


def _validate(model: Model, split: Split, validation: Tensor, masks: Tensor | None) -> float:
    model.eval()
    predicted = predict(model, split, validation, {"logits"}, masks).logits.argmax(dim=1)
    return balanced_accuracy(predicted, split.labels[validation.to(split.labels.device)], split.classes)
