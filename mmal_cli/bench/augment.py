"""How fast is a batch augmented on one core, beside Pillow image by image with the same draws and the same pixels?"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from mmal_cli import augment, compiled, image_ops
from mmal_cli.bench._turns import beside, in_turns, settled
from mmal_cli.device import choose_device, keep_memory

BUILT = compiled.library
SHAPE = (128, 3, 64, 64)
BATCHES = 10  # in a round
ROUNDS = 15
AFFINE = Image.Transform.AFFINE
PILLOW = {  # the operations of realistic-al on one image, image x (level with its sign) -> image
    "AutoContrast": lambda image, v: ImageOps.autocontrast(image),
    "Equalize": lambda image, v: ImageOps.equalize(image),
    "Brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(abs(v) * 0.9 / 10 + 0.05),
    "Contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(abs(v) * 0.9 / 10 + 0.05),
    "Posterize": lambda image, v: ImageOps.posterize(image, int(abs(v) * 4 / 10) + 4),
    "Solarize": lambda image, v: ImageOps.solarize(image, 256 - int(abs(v) * 256 / 10)),
    "Rotate": lambda image, v: image.rotate(int(v * 30 / 10)),
    "ShearX": lambda image, v: image.transform(image.size, AFFINE, (1, v * 0.3 / 10, 0, 0, 1, 0)),
    "ShearY": lambda image, v: image.transform(image.size, AFFINE, (1, 0, 0, v * 0.3 / 10, 1, 0)),
    "TranslateX": lambda image, v: image.transform(image.size, AFFINE, (1, 0, int(v * 0.3 / 10 * image.width), 0, 1, 0)),
    "TranslateY": lambda image, v: image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, int(v * 0.3 / 10 * image.height))),
    "Color": lambda image, v: ImageEnhance.Color(image).enhance(abs(v) * 0.9 / 10 + 0.05),
    "Sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(abs(v) * 0.9 / 10 + 0.05),
    "Identity": lambda image, v: image,
}


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each of `basic` and `randaug`, in C where it is built, in torch and on a GPU if there is one: images a second,
    beside Pillow in turn.

    One process of one thread, set up as training sets up its own, which ends with the item.
    """
    names, languages = ["basic", "randaug"], ["C", "torch"] if compiled.library else ["torch"]
    if choose_device("auto").type != "cpu":
        languages.append("GPU")
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin) as other:

        def timed(*words: object) -> None:
            other.submit(_batches, *words).result()

        ways = {
            (name, language): partial(timed, name, language, SHAPE, BATCHES)
            for name in names
            for language in (*languages, "Pillow")
        }
        seconds = in_turns(ways, ROUNDS, on_progress)
    return [
        {"augmentation": name, "in": language}
        | beside(seconds[name, language], seconds[name, "Pillow"], "images/s", lambda s: BATCHES * SHAPE[0] / s)
        for name in names
        for language in languages
    ]


def _begin() -> None:
    torch.set_num_threads(1)
    keep_memory()


@cache
def _batch(shape: tuple[int, ...]) -> tuple[Tensor, list[Image.Image]]:
    """Noise, as our data and as a peer's hold it."""
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return images, [to_pillow(image) for image in images]


def _batches(name: str, language: str, shape: tuple[int, ...], batches: int) -> None:
    """Augments one batch again and again: in C, in torch, on a GPU, or by Pillow, image by image."""
    images, pictures = _batch(shape)
    images = images.to(choose_device("auto")) if language == "GPU" else images
    rng = torch.Generator().manual_seed(0)
    compiled.library = BUILT if language == "C" else None
    for _ in range(batches):
        if language == "Pillow":
            by_pillow(name, pictures, rng)
        else:
            augment.apply(name, images, rng)
    settled()


def by_pillow(name: str, images: list[Image.Image], rng: torch.Generator) -> Tensor:
    """What `augment.apply` promises below 128 pixels, image by image, from the same draws: L or RGB -> (B, C, H, W)."""
    count, (width, height), changed = len(images), images[0].size, name in ("randaug", "strong")
    flips = augment.draw_flips(count, rng).tolist()
    shifts = augment.draw_shifts(count, augment.padding(height, width), rng).tolist()
    share = augment.SHARE if name == "strong" else 1.0
    rounds = [
        [drawn.tolist() for drawn in augment.draw_operations(count, rng, share)]
        for _ in range(augment.ROUNDS if changed else 0)
    ]
    centres = augment.draw_centres(count, height, width, rng).tolist() if changed else []
    done = []
    for n, image in enumerate(images):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flips[n] else image
        image = _crop(image, *shifts[n], reflect=name != "basic")
        for operation, level, negative in rounds:
            image = PILLOW[image_ops.OPERATIONS[operation[n]]](image, -level[n] if negative[n] else level[n])
        done.append(from_pillow(_cut_out(image, *centres[n]) if changed else image))
    return torch.stack(done)


def _crop(image: Image.Image, top: int, left: int, reflect: bool) -> Image.Image:
    """Pads as torchvision does, Pillow's black border or numpy's reflection, and crops."""
    pad, (width, height) = augment.padding(image.height, image.width), image.size
    if reflect:
        frame = [(pad, pad), (pad, pad)] + [(0, 0)] * (image.mode == "RGB")
        image = Image.fromarray(np.pad(np.asarray(image), frame, mode="reflect"))
    else:
        image = ImageOps.expand(image, pad)
    return image.crop((left + pad, top + pad, left + pad + width, top + pad + height))


def _cut_out(image: Image.Image, y: float, x: float) -> Image.Image:
    """A grey rectangle about a centre, as realistic-al draws it."""
    side = int(0.5 * image.width)
    y, x = (int(max(0, c - side / 2.0)) for c in (y, x))
    image = image.copy()
    box = x, y, min(image.width, x + side), min(image.height, y + side)
    ImageDraw.Draw(image).rectangle(box, 127 if image.mode == "L" else (127, 127, 127))
    return image


def to_pillow(image: Tensor) -> Image.Image:
    """(C, H, W) uint8 -> mode L or RGB."""
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())


def from_pillow(image: Image.Image) -> Tensor:
    """Mode L or RGB -> (C, H, W) uint8."""
    array = torch.from_numpy(np.array(image))
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)
