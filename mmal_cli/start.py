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
    size, and the start set from what is left. Where samples come in groups, validation is taken group by group, and what
    its groups hold beside it goes nowhere, so that no group is in both. Where samples are reserved for validation it is
    taken from these, and the others of them go nowhere.
    """
    settings, labels = cell.settings, train.labels.cpu()
    budget = settings.budget
    _every_class(labels, cell, "in train")
    if budget.validation >= len(labels):
        raise UserError(f"validation size {budget.validation} is not smaller than train with its {len(labels)} samples")
    _enough(len(labels), budget.validation, cell, f"{cell.dataset.name} has {len(labels)}")
    order, taken, validation = validation_of(train, cell)
    left = order[~taken[order]]
    beside = f"{int(taken.sum()) - len(validation)} {'of its groups' if train.reserved is None else 'reserved for it'}"
    _enough(len(left), 0, cell, f"{len(left)} are left beside the {len(validation)} of validation and {beside}")
    _every_class(labels[left], cell, "left in train beside the validation samples")
    _of_every_class(labels[left], each(settings.start_set, budget.start, train.classes), cell)
    pool = Pool(len(labels), taken.nonzero().flatten())
    pool.label(pick(left, labels, budget.start, settings.start_set, train.classes))
    return pool, validation


def validation_of(train: Split, cell: Cell) -> tuple[Tensor, Tensor, Tensor]:
    """An order of the N train samples, (N,) bool which of them validation takes or bars, and the validation positions."""
    settings, budget, labels = cell.settings, cell.settings.budget, train.labels.cpu()
    order = torch.randperm(len(labels), generator=seeds.generator(cell.seed, "split"))
    groups = torch.arange(len(labels)) if train.groups is None else train.groups
    candidates, taken = by_group(order, groups), torch.zeros(len(labels), dtype=torch.bool)
    if train.reserved is not None:
        taken = train.reserved
        candidates = candidates[taken[candidates]]
        if budget.validation > len(candidates):
            found = f"{len(candidates)} samples that {cell.dataset.name} reserves for it"
            helps = f"make it smaller: --set regimes.{cell.regime}.validation=..."
            raise UserError(f"validation size {budget.validation} is more than the {found}; {helps}")
    validation = pick(candidates, labels, budget.validation, settings.validation_set, train.classes)
    return order, taken | torch.isin(groups, groups[validation]), validation


def _enough(samples: int, validation: int, cell: Cell, found: str) -> None:
    """Refuses a budget that the samples do not suffice for."""
    budget = cell.settings.budget
    needed = validation + budget.start + budget.query * (budget.cycles - 1)
    if needed > samples:
        parts = [f"validation {validation}"] if validation else []
        parts += [f"start {budget.start}", f"{budget.cycles - 1} queries of {budget.query}"]
        raise UserError(
            f"the run needs {needed} train samples ({', '.join(parts)}), {found}; "
            "make the dataset larger or the budget smaller: --set regimes." + cell.regime + ".query=..."
        )


def by_group(order: Tensor, groups: Tensor) -> Tensor:
    """The order with each group's samples moved up to its first one; unchanged where every sample is a group of its own."""
    _, dense = groups.unique(return_inverse=True)
    first = torch.full((int(dense.max()) + 1,), len(order))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    first = first.scatter_reduce(0, dense, rank, "amin")
    return order[first[dense[order]].argsort(stable=True)]


def _every_class(labels: Tensor, cell: Cell, where: str) -> None:
    missing = sorted(set(range(cell.dataset.classes)) - set(labels.unique().tolist()))
    if missing:
        names = ", ".join(cell.dataset.class_names[c] for c in missing[:5])
        raise UserError(f"{len(missing)} of {cell.dataset.classes} classes have no sample {where}, the first: {names}")


def _of_every_class(labels: Tensor, wanted: int, cell: Cell) -> None:
    """Refuses a start set that is to have more of a class than are left."""
    found = torch.bincount(labels, minlength=cell.dataset.classes)
    if (found < wanted).any():
        least = int(found.argmin())
        raise UserError(
            f"the start set takes {wanted} of each class, and {cell.dataset.class_names[least]} has {int(found[least])} beside "
            "validation; take fewer, or any: --set start_set=random"
        )


def each(way: str | int, size: int, classes: int) -> int:
    """How many of every class a set of `size` has at least."""
    return 0 if way == "random" else min(size if way == "balanced" else way, size // classes)


def pick(order: Tensor, labels: Tensor, size: int, way: str | int, classes: int) -> Tensor:
    """The first `size` positions of an order.

    way: balanced: the first size // C of every class come before the first of the others; a number: so many of every class
    at most; random: none.
    """
    first = each(way, size, classes)
    of_class = labels[order]
    chosen = torch.cat([order[of_class == c][:first] for c in range(classes)])
    rest = order[~torch.isin(order, chosen)]
    return torch.cat([chosen, rest])[:size]
