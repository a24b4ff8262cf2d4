"""The first cycle's model, trained once and shared: it depends on the seed and the settings, never on the query method."""

import io
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mmal_cli.cell import Cell
from mmal_cli.core import files, plugins
from mmal_cli.data import Split
from mmal_cli.model import build
from mmal_cli.train import Fitted

log = logging.getLogger("mmal")
FOLDER = ".first-models"  # in that of a regime
HEAD = 256  # bytes that torch.save takes beside a tensor, about
DIGEST = sha256().digest_size  # bytes before the payload, its sha256


def first_model(cell: Cell, train: Split, dropout: float, folder: Path, fit: Callable[[], Fitted]) -> Fitted:
    """Loads the model from `folder`, or trains it by `fit` and keeps it there.

    Two processes that race for it both train it, on the CPU with the same weights, and one whole file stays. A damaged file is
    made anew.
    """
    device = train.labels.device
    path = folder / name(cell, dropout, device.type, deterministic=torch.are_deterministic_algorithms_enabled())
    if state := _read(path, device):
        model = build(train.modalities, train.classes, cell.settings, dropout, seed=0).to(device)
        try:
            model.load_state_dict(state["weights"])
            return Fitted(model.eval(), state["best_epoch"], state["validation"])
        except RuntimeError:  # came with another's runs
            log.warning("%s holds another model, so the first model is trained again", path)
    fitted = fit()
    weights = fitted.model.state_dict()
    whole = packed({"weights": weights, "best_epoch": fitted.best_epoch, "validation": fitted.validation})
    with files.atomic(path) as part:
        part.write_bytes(whole)
    return fitted


def name(cell: Cell, dropout: float, device: str, threads: int | None = None, deterministic: bool = False) -> str:
    """The model's file; cells that share a model have the same.

    `device` is a type: cpu, cuda. On the CPU the last bits depend on how many threads there are, by default those of now, on
    a GPU on whether its kernels are to be deterministic.
    """
    found = _depends_on(cell, dropout, device)
    if device == "cpu":
        found["threads"] = threads or torch.get_num_threads()
    elif deterministic:
        found["deterministic"] = True
    return f"{files.identity(found)}.pt"


def size(cell: Cell) -> int:
    """How many bytes a model's file takes, about."""
    weights = build(cell.dataset.modalities, cell.dataset.classes, cell.settings, 0.0, seed=0).state_dict().values()
    return sum(tensor.nbytes + HEAD for tensor in weights)


def _depends_on(cell: Cell, dropout: float, device: str) -> dict[str, Any]:
    """All that the model depends on, the code that trains among it."""
    content = cell.content
    settings, budget = content["settings"], content["settings"]["budget"]
    return {
        "dataset": cell.dataset.id,
        "seed": cell.seed,
        "settings": {key: settings[key] for key in settings if key not in ("query_options", "budget")},
        "budget": {key: budget[key] for key in ("start", "validation")},
        "own_files": {role: digest for role, digest in content["own_files"].items() if role != "qm"},
        "dropout": dropout,
        "device": device,
        "code": plugins.code(),
        "torch": torch.__version__,
    } | ({"weights": content["weights"], "transformers": version("transformers")} if "weights" in content else {})


def _read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What is kept, or None."""
    if not path.exists():
        return None
    state = unpacked(path.read_bytes(), device)
    if state is None:
        log.warning("%s is damaged, so the first model is trained again", path)
    return state


def packed(state: Mapping[str, Any]) -> bytes:
    """A file's content: a digest, then the state; in memory, so that a full disk is met by Python and is an OSError."""
    whole = io.BytesIO()
    torch.save(dict(state), whole)
    payload = whole.getvalue()
    return sha256(payload).digest() + payload


def unpacked(whole: bytes, device: torch.device) -> dict[str, Any] | None:
    """The state in a file's content; None where the digest is another."""
    digest, payload = whole[:DIGEST], whole[DIGEST:]
    if sha256(payload).digest() != digest:
        return None
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
