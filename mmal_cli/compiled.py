"""The functions of `_image_ops.c`, which is built at installation where there is a C compiler and Python's headers."""

import torch
from torch import Tensor

try:
    from mmal_cli import _image_ops as library
except ImportError:  # it could not be built, or this is the bare source tree
    library = None


def serves(images: Tensor) -> bool:
    """Whether images on their device can be given to `call`."""
    return library is not None and images.device.type == "cpu"


def call(name: str, images: Tensor, *arrays: Tensor) -> Tensor:
    """Calls a function of the library with images, the place of its result, and arrays that have an entry for each image.

    Returns:
        Of the shape and dtype of the images.

    Raises:
        ValueError: an array does not fit the shape of the images.
    """
    done = torch.empty_like(images, memory_format=torch.contiguous_format)
    getattr(library, name)(tuple(images.shape), *(array.numpy() for array in (images.contiguous(), done, *arrays)))
    return done
