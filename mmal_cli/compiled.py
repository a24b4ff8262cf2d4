"""The library that `_image_ops.c` and its header become at installation, where there is a C compiler and Python's headers."""

from __future__ import annotations

from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = [Path(__file__).with_name(f"_image_ops.{kind}") for kind in "hc"]


def _load() -> tuple[ModuleType | None, str]:
    """The library, or None and why."""
    try:
        found = import_module("mmal_cli._image_ops")
        written = sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
    except ModuleNotFoundError:
        return None, "not built"
    except (ImportError, OSError) as error:
        return None, f"cannot be loaded: {error}"
    if getattr(found, "SOURCES", None) != written:
        return None, "built of other sources than those beside it"
    return found, "built"


library, state = _load()


def serves(images: Tensor) -> bool:
    """Whether images on their device can be given to `call`."""
    return library is not None and images.device.type == "cpu"


def call(name: str, images: Tensor, *arrays: Tensor) -> Tensor:
    """Calls a function of the library with images, the place of its result, and arrays that have an entry for each image.

    Returns:
        Of the shape and dtype of the images.

    Raises:
        ValueError: an array does not fit the shape of the images, or holds what there is not.
    """
    done = images.new_empty(images.shape)
    given = (array.contiguous().numpy() for array in (images, done, *arrays))
    getattr(library, name)(tuple(images.shape), *given)
    return done
