"""The first cycle's model, trained once and shared: it depends on the seed and the settings, never on the query method."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch

from mmal_cli.cell import Cell
from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.data import Split
from mmal_cli.model import build
from mmal_cli.train import Fitted


def first_model(cell: Cell, train: Split, dropout: float, folder: Path, fit: Callable[[], Fitted]) -> Fitted:
    """Loads the model from `folder`, or trains it by `fit` and keeps it there.

    Two processes that race for it both train it, get the same weights, and one whole file stays.
    """
    settings, device = cell.settings, train.labels.device
    shared = settings.model_dump(mode="json", exclude={"query_options": True, "budget": {"query", "cycles"}})
    content = {"settings": shared, "seed": cell.seed, "dataset": cell.dataset.id, "dropout": dropout, "device": device.type}

    def make(part: Path) -> None:
        fitted = fit()
        state = {"weights": fitted.model.state_dict(), "best_epoch": fitted.best_epoch, "validation": fitted.validation}
        torch.save(state, part)

    path = files.cached(folder / f"{files.identity(content)}.pt", make)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and give the same command again", BAD_DATA) from error
    model = build(train.modalities, train.classes, settings, dropout, seed=0).to(device)
    model.load_state_dict(state["weights"])
    return Fitted(model.eval(), state["best_epoch"], state["validation"])
