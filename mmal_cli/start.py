"""Where every run of a seed starts: validation, start set and pool, the same for all query methods."""

import torch
from torch import Tensor

from mmal_cli.cell import Cell
from mmal_cli.core import seeds
from mmal_cli.core.errors import UserError
from mmal_cli.data import Split
from mmal_cli.pool import Pool


def start(train: Split, cell: Cell) -> tuple[Pool, Tensor]:
    """The pool with the starting budget labelled, and the validation positions; they depend on the seed, never on the method.

    Both are taken from one order of the samples: validation first, so that it is the same in regimes of one validation
    size, and the start set from what is left.
    """
    settings, labels = cell.settings, train.labels.cpu()
    budget = settings.budget
    _every_class(labels, cell, "in train")
    needed = budget.validation + budget.start + budget.query * (budget.cycles - 1)
    if budget.validation >= len(labels):
        raise UserError(f"validation size {budget.validation} is not smaller than train with its {len(labels)} samples")
    if needed > len(labels):
        raise UserError(
            f"the run needs {needed} train samples (validation {budget.validation}, start {budget.start}, "
            f"{budget.cycles - 1} queries of {budget.query}), {cell.dataset.name} has {len(labels)}; "
            "make the dataset larger or the budget smaller: --set regimes." + cell.regime + ".query=..."
        )
    order = torch.randperm(len(labels), generator=seeds.generator(cell.seed, "split"))
    validation = pick(order, labels, budget.validation, settings.validation_set == "balanced", train.classes)
    left = order[~torch.isin(order, validation)]
    _every_class(labels[left], cell, "left in train beside the validation samples")
    pool = Pool(len(labels), validation)
    pool.label(pick(left, labels, budget.start, settings.start_set == "balanced", train.classes))
    return pool, validation


def _every_class(labels: Tensor, cell: Cell, where: str) -> None:
    missing = sorted(set(range(cell.dataset.classes)) - set(labels.unique().tolist()))
    if missing:
        names = ", ".join(cell.dataset.class_names[c] for c in missing[:5])
        raise UserError(f"{len(missing)} of {cell.dataset.classes} classes have no sample {where}, the first: {names}")


def pick(order: Tensor, labels: Tensor, size: int, balanced: bool, classes: int) -> Tensor:
    """The first `size` positions of an order; balanced: the first size // C of every class, then the first of the others."""
    if not balanced:
        return order[:size]
    of_class = labels[order]
    each = [order[of_class == c][: size // classes] for c in range(classes)]
    chosen = torch.cat(each)
    rest = order[~torch.isin(order, chosen)]
    return torch.cat([chosen, rest[: size - len(chosen)]])
