"""What a GPU must do as a CPU does, but for queries (test_check_query.py); skipped where there is none."""

import pytest
import tiny
import torch
from sweeps import FAST

from mmal_cli.core.manifest import Dataset
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.device import deterministic
from mmal_cli.train import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda", 0)


@pytest.mark.parametrize("paradigm", ["st", "semi-sl"])
def test_deterministic_training_gives_the_same_bits(tmp_path, paradigm):
    tiny.make(tmp_path)
    dataset = Dataset.read(tmp_path / "dataset.yaml")
    encoders = ["model.encoders.image=efficientnet", "train.augmentation=randaug"]
    settings, _ = resolve(dataset, "low", "bald", ["quick"], [*FAST, *encoders], paradigm=paradigm)
    split = load_split(tmp_path, dataset, "train").to(GPU)
    with deterministic():
        taught = split, tiny.pool(split, range(30), range(30, 45)), torch.arange(30, 45), settings, 0.5
        one, two = (fit(*taught, Chance(0, 0)).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
