"""The library in C is taken only if it is of the sources beside it, and mmal goes on without it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmal_cli import compiled, doctor

LIBRARY = compiled.library
SAYS = "from mmal_cli import compiled; print(compiled.state, compiled.library is not None)"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of its own with what the loader needs."""
    (tmp_path / "mmal_cli").mkdir()
    here = Path(compiled.__file__).parent
    for name in (
        "__init__.py",
        "compiled.py",
        "_image_ops.c",
        "_image_ops.h",
        *(path.name for path in here.glob("_image_ops*.so")),
    ):
        shutil.copy(here / name, tmp_path / "mmal_cli")
    return tmp_path


def said(tree: Path) -> str:
    """What the loader finds where nothing but that package can be found: -S leaves out what is installed."""
    place = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-S", "-c", SAYS], cwd=tree, env=place, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_where_there_is_none_it_is_not_built(tree):
    for path in (tree / "mmal_cli").glob("_image_ops*.so"):
        path.unlink()
    assert said(tree) == "not built False"


def test_one_that_does_not_know_its_sources_is_left_alone(tree):
    for path in (tree / "mmal_cli").glob("_image_ops*.so"):
        path.unlink()
    (tree / "mmal_cli" / "_image_ops.py").write_text("")
    assert said(tree) == "built of other sources than those beside it False"


@pytest.mark.skipif(LIBRARY is None, reason="mmal_cli/_image_ops.c was not built")
@pytest.mark.parametrize("name", ["_image_ops.c", "_image_ops.h"])
def test_one_of_other_sources_is_left_alone(tree, name):
    assert said(tree) == "built True"
    with (tree / "mmal_cli" / name).open("a") as file:
        file.write("/* another */")
    assert said(tree) == "built of other sources than those beside it False"


def test_one_that_cannot_be_loaded_says_why(tree):
    for path in (tree / "mmal_cli").glob("_image_ops*.so"):
        path.unlink()
    (tree / "mmal_cli" / "_image_ops.abi3.so").write_text("no library")
    assert said(tree).startswith("cannot be loaded: ")
    assert said(tree).endswith(" False")


def test_doctor_says_what_helps_and_images_go_on_in_torch(monkeypatch):
    monkeypatch.setattr(compiled, "library", None)
    monkeypatch.setattr(compiled, "state", "not built")
    found = doctor.compiled()
    assert (found.found, found.ok) == ("not built", None)
    assert "install mmal again, where there are a C compiler and Python's headers" in found.helps
    assert not compiled.serves(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.skipif(LIBRARY is None, reason="mmal_cli/_image_ops.c was not built")
def test_what_does_not_fit_is_refused_and_not_read_beyond_its_end():
    size, (images, rows) = (4, 3, 8, 8), (np.zeros((4, 3, 8, 8), np.uint8), np.zeros((4, 8), np.int64))
    for wrong in (rows[:3], rows.astype(np.int32), rows[:, :7].copy()):
        with pytest.raises(ValueError, match=f"array 3 has {wrong.nbytes} bytes, expected 256 for 4 images of 3 x 8 x 8"):
            LIBRARY.crop(size, images, images.copy(), rows, wrong)
    for n, channels, height, width in (
        (1 << 62, 3, 4, 4),
        (4, -3, 8, -8),
        (4, 3, 0, 8),
        (4, 1 << 40, 8, 8),
        (1, 1, 1 << 40, 1 << 40),
    ):
        with pytest.raises(ValueError, match=f"{n} images of {channels} x {height} x {width}, expected sizes from 1"):
            LIBRARY.crop((n, channels, height, width), images, images.copy(), rows, rows)
    with pytest.raises(TypeError, match="5 arguments"):
        LIBRARY.crop(size, images, images.copy(), rows, rows, rows)
    one = torch.ones(4, dtype=torch.int64)
    for number in (-1, 14):
        with pytest.raises(ValueError, match=f"operation {number}, expected 0 to 13"):
            compiled.call("operate", torch.from_numpy(images), one * number, one.float(), one, one[:, None].expand(-1, 6))
    with pytest.raises(ValueError, match="2 channels, expected 1 or 3"):
        compiled.call("operate", torch.zeros(4, 2, 8, 8, dtype=torch.uint8), one, one.float(), one, one[:, None].expand(-1, 6))
