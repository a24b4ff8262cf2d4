"""all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020) for texts, pretrained and trained further."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from mmal_cli.core import minilm
from mmal_cli.core.errors import BAD_DATA, UserError

KINDS = {"tokens"}
MULTIPLE = 8  # lengths that a batch is cut to: few shapes, so that kernels and memory are used again


def pretrained(folder: str | None = None) -> dict[str, Path]:
    """The files that the first weights come from; a run is known by their sha256."""
    place = minilm.find(folder)
    return {"weights": place / minilm.WEIGHTS, "config": place / "config.json"}


def vocabulary(folder: str | None = None) -> str:
    """The id of the vocabulary whose token ids the encoder reads."""
    return minilm.vocabulary(minilm.find(folder))


class Encoder(nn.Module):
    """(B, 2, L) int32 -> (B, 384): six transformer layers, then the mean over the real tokens (not scaled to length 1).

    Each batch is cut to its longest text first. A text without a token gives zero. Dropout is that of config.json, .1.

    Args:
        shape: (2, L) of one sample: row 0 the token ids, row 1 the mask (1 real, 0 padding); L is at most 512.
        folder: holds config.json, model.safetensors and tokenizer.json; without it, see `mmal_cli/core/minilm.py`.

    Raises:
        UserError: no weights are found, or they are not those of this network.
        ValueError: L is larger than the network's positions.

    Cost: 11 M multiply-adds a token; 22.6 M parameters, 12 M of them the vectors of the tokens.
    """

    def __init__(self, shape: tuple[int, ...], folder: str | None = None) -> None:
        super().__init__()
        self.bert = _load(minilm.find(folder))
        self.width = self.bert.config.hidden_size
        if shape[1] > (most := self.bert.config.max_position_embeddings):
            raise ValueError(f"texts have {shape[1]} tokens, expected at most {most}")

    def forward(self, x: Tensor) -> Tensor:
        longest = max(1, int((x[:, 1] * torch.arange(1, x.shape[2] + 1, device=x.device)).amax()))
        ids, real = x[:, :, : math.ceil(longest / MULTIPLE) * MULTIPLE].long().unbind(dim=1)
        seen = real.clone()
        seen[:, 0] = 1  # attention needs something to look at in a text without a token
        states = self.bert(input_ids=ids, attention_mask=seen).last_hidden_state
        real = real[:, :, None].to(states.dtype)
        return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def _load(folder: Path) -> nn.Module:
    """BERT without its pooling layer; the weights are read here, since `from_pretrained` prints while it reads them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    path = folder / minilm.WEIGHTS
    try:
        bert = BertModel(BertConfig.from_pretrained(folder, local_files_only=True), add_pooling_layer=False)
        missing, surplus = bert.load_state_dict(load_file(path), strict=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path} could not be read: {str(error).splitlines()[0]}", BAD_DATA) from error
    if missing:
        raise UserError(f"{path} lacks {len(missing)} weights of BERT, the first {missing[0]!r}; is it MiniLM's?", BAD_DATA)
    if surplus := [name for name in surplus if not name.startswith("pooler.") and name != "embeddings.position_ids"]:
        raise UserError(f"{path} has {len(surplus)} weights more than its config.json, the first {surplus[0]!r}", BAD_DATA)
    return bert
