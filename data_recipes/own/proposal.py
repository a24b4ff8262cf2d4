"""A protocol for a dataset of one's own, proposed from what is in it: a file to be edited, never overwritten when it was."""

import re
from collections.abc import Sequence
from pathlib import Path

from mmal_cli.core import files, minilm
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Modality

PROTOCOL = "protocol.yaml"
ENCODERS = {"image": "efficientnet", "series": "efficientnet1d", "tokens": "minilm", "vector": "mlp"}
ANY_TOKENS = "wordbag"
EVEN = 0.5  # of what an even share would be: what the rarest class has at least where sets can be balanced
LEAST = 25  # samples of train from which each share below is a sample or more
HEAD = "# Proposed by mmal prepare-own from what is in the data: edit it freely, an edited file is never overwritten. Mark: "
MARK = re.compile(re.escape(HEAD) + r"([0-9a-f]{12})\n")
ABOUT_ENCODERS = (
    "# The paper's encoders, and wordbag where a text has another tokenizer than MiniLM. For a CPU: add --with quick.\n"
)
ABOUT_REGIMES = """\
# 5, 25 and 100 labels for each of C classes, validation five times that; where train is too small for it, shares of train: of a
# list the least counts. All of a regime together is at most four fifths of train.
"""
REGIMES = """\
regimes:
  low: {start: [5C, 8%], validation: [25C, 20%], query: [5C, 5%], cycles: 10}
  mid: {start: [25C, 15%], validation: [125C, 20%], query: [25C, 5%], cycles: 10}
  high: {start: [100C, 20%], validation: [500C, 20%], query: [100C, 4%], cycles: 10}
"""


def propose(dataset: Dataset) -> str:
    """The text of a protocol.

    Encoders go by kind. Start set and validation are balanced where the rarest class suffices for every regime and no group
    has to stay together, else drawn without regard to the label, with class-balanced batches where classes are uneven.
    """
    counts = dataset.counts["train"]
    even = min(counts["classes"]) >= EVEN * sum(counts["classes"]) / dataset.classes
    train = {"epochs": 60, "batch_size": 128, "lr": 0.1, "weight_decay": 5e-4}
    train["augmentation"] = "basic" if any(m.kind == "image" for m in dataset.modalities) else "none"
    sets = {
        "start_set": "balanced" if even else "random",
        "validation_set": "balanced" if even and "groups" not in counts else "random",
    }
    body = ABOUT_ENCODERS + files.dump_yaml({"model": {"encoders": _encoders(dataset.modalities)}})
    body += files.dump_yaml({"train": train | ({} if even else {"balanced_sampling": True})} | sets)
    body += ABOUT_REGIMES + REGIMES
    return f"{HEAD}{files.identity(body)}\n{body}"


def _encoders(modalities: Sequence[Modality]) -> dict[str, str]:
    """Kind -> encoder; texts by name where they have different ones."""
    found = {m.kind: ENCODERS[m.kind] for m in modalities if m.kind != "tokens"}
    of_texts = {m.name: _for_tokens(m) for m in modalities if m.kind == "tokens"}
    if len(set(of_texts.values())) == 1:
        of_texts = {"tokens": next(iter(of_texts.values()))}
    return found | of_texts


def _for_tokens(modality: Modality) -> str:
    try:
        return ENCODERS["tokens"] if minilm.vocabulary(minilm.find()) == modality.vocabulary else ANY_TOKENS
    except UserError:
        return ANY_TOKENS


def write(folder: Path, dataset: Dataset) -> bool:
    """Writes the proposal beside the dataset; False where there is a file that somebody edited, which stays as it is."""
    path, text = folder / PROTOCOL, propose(dataset)
    if path.exists() and (there := path.read_text(encoding="utf-8", errors="replace")) != text:
        mark = MARK.match(there)
        if not mark or files.identity(there[mark.end() :]) != mark[1]:
            return False
    files.write_text(path, text)
    return True
