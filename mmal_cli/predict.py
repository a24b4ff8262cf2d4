"""Predicts samples with any subsets of their modalities, each encoder running once per sample (in early fusion: per subset)."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from mmal_cli.core.manifest import Modality
from mmal_cli.core.protocol import Settings
from mmal_cli.core.seeds import Chance
from mmal_cli.data import Split, keep
from mmal_cli.model import Model
from mmal_cli.pool import Predictions, Subset

PREDICT_BATCH = 1024  # samples at once, where their inputs are at most PREDICT_NUMBERS: 1365 pairs of 64 px images
PREDICT_NUMBERS = 2**25


def dropout_masks(model: Model, settings: Settings, chance: Chance) -> Tensor | None:
    """(K, D) masks of kept entries, scaled by 1 / (1 - p), the same for all samples of a cycle; None without dropout."""
    dropout = model.dropout.p
    if dropout == 0:
        return None
    shape = settings.model.mc_passes, model.width
    return (torch.rand(shape, generator=chance("passes")) >= dropout).float() / (1 - dropout)


def batch_size(modalities: Sequence[Modality]) -> int:
    """Samples predicted at once: fewer where they are large, by the data alone, so that no result depends on the hardware."""
    numbers = sum(math.prod(modality.shape) for modality in modalities)
    return max(1, min(PREDICT_BATCH, PREDICT_NUMBERS // numbers))


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

    Only an early fusion's encoder runs once for each subset, and once for all modalities that a sample has if `needs` asks.

    Args:
        model: in evaluation mode, on the split's device.
        split: where the samples are.
        index: (n,) positions, on the CPU.
        needs: which fields of Predictions to fill: logits, embeddings, passes, subset_logits, subset_embeddings.
        masks: (K, D) dropout masks; with them logits are log mean probabilities over the passes.
        subsets: for the subset fields.
    """
    masks = None if masks is None else masks.to(split.labels.device)
    logits, embeddings, passes = [], [], []
    by_subset = {subset: ([], []) for subset in subsets}
    for positions in index.split(batch_size(split.modalities)):
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
