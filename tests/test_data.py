"""Splits in memory: large images and series are made small by averages, everything else stays."""

import numpy as np
import torch

from mmal_cli.core.manifest import Modality
from mmal_cli.data import Split, shrunk


def test_neighbours_are_averaged_until_no_side_is_too_long():
    image = torch.randint(0, 256, (5, 3, 10, 13), dtype=torch.uint8)
    series = torch.randint(-32768, 32767, (5, 2, 21), dtype=torch.int16)
    small, vector = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8), torch.rand(5, 7)
    kinds = {"a": "image", "b": "series", "c": "image", "d": "vector"}
    inputs = {"a": image, "b": series, "c": small, "d": vector}
    modalities = tuple(
        Modality(name=name, kind=kinds[name], shape=tuple(x.shape[1:]), dtype=str(x.numpy().dtype))
        for name, x in inputs.items()
    )
    split = Split(modalities, 2, inputs, torch.ones(5, 4, dtype=torch.bool), torch.zeros(5, dtype=torch.int64))
    found = shrunk(split, {"image": 5, "b": 10, "vector": 1})
    assert [m.shape for m in found.modalities] == [(3, 3, 4), (2, 7), (1, 4, 4), (7,)]
    blocks = image.numpy()[:, :, :9, :12].reshape(5, 3, 3, 3, 4, 3).mean(axis=(3, 5))
    assert np.abs(found.inputs["a"].numpy() - blocks).max() <= 0.5
    assert found.inputs["a"].dtype == torch.uint8
    assert np.abs(found.inputs["b"].numpy() - series.numpy().reshape(5, 2, 7, 3).mean(axis=3)).max() <= 0.51
    assert found.inputs["c"] is small
    thin = Split(
        (Modality(name="a", kind="image", shape=(1, 2, 100), dtype="uint8"),),
        2,
        {"a": image[:, :1, :2, :1].expand(5, 1, 2, 100)},
        split.present[:, :1],
        split.labels,
    )
    assert shrunk(thin, {"image": 10}).inputs["a"].shape == (5, 1, 1, 10)
    assert found.inputs["d"] is vector
