"""Reads the sources once to know them by their content and to tokenise the texts, then decodes the images chunk by chunk.

Source: Wang, Kumar, Thome, Cord and Precioso 2015, "Recipe recognition with large multimodal food dataset" (UPMC Food-101; no
licence is stated, the images belong to those who put them on the web). What the paper leaves open stands in docs/protocol.md.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_recipes import pictures, texts
from data_recipes.food101 import layouts
from data_recipes.order import shuffled
from data_recipes.workers import InOrder
from mmal_cli.core.build import Plan
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.shards import Samples

READ = 200  # files that one process reads at a time
CHUNK = 64  # images that one process decodes at a time: 10 MB at 224 px


class Row(NamedTuple):
    """A pair that is to become a sample: path of the image, digest of all that it is, ids of its text, what to count."""

    image: str
    label: int
    digest: str
    ids: np.ndarray
    noted: tuple[str, ...]


@dataclass(frozen=True)
class Food101:
    """All that decides the dataset's bytes, and what its manifest says beside.

    Attributes:
        rows: split -> pairs, sorted by class and file name.
        class_names: of labels 0, 1, ...
        layout: titles or pages.
        size: height and width of the images in pixels.
        max_tokens: where texts are cut, in word pieces with [CLS] and [SEP].
        vocabulary: of the word pieces, as the text encoder calls it.
        seed: of the order of the samples.
        counts: split -> what was found and what had no partner.
        notes: for the manifest.
    """

    rows: Mapping[str, Sequence[Row]]
    class_names: Sequence[str]
    layout: str
    size: int
    max_tokens: int
    vocabulary: str
    seed: int
    counts: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str] = ()

    @property
    def length(self) -> int:
        """L, the length of all texts in word pieces."""
        return texts.length(max(len(row.ids) for rows in self.rows.values() for row in rows))


def read(
    source: Path,
    layout: str,
    tokenizer: Path,
    max_tokens: int,
    in_order: InOrder,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **said: Any,
) -> Food101:
    """Reads every file of both splits once, side by side; no image is decoded.

    Args:
        source: folder of that layout.
        tokenizer: folder with tokenizer.json.
        on_progress: called with (files read, files in all).
        said: the other attributes of `Food101`, which come from the command line.

    Cost: the time to read the files; memory about 1 kB for an image.
    """
    names = layouts.categories(source)
    listings = {split: layouts.read(source, layout, split) for split in layouts.SPLITS}
    total, done = sum(len(listing.pairs) for listing in listings.values()), 0
    rows, counts = {}, {}
    on_progress(0, total)
    for split, listing in listings.items():
        pairs, found = listing.pairs, []
        tasks = ((pairs[k : k + READ], names, tokenizer, max_tokens) for k in range(0, len(pairs), READ))
        for some in in_order(fingerprint, tasks):
            found += some
            on_progress(done + len(found), total)
        done += len(found)
        rows[split] = [row for row in found if isinstance(row, Row)]
        unread = Counter(row for row in found if isinstance(row, str))
        if not rows[split]:
            raise UserError(f"{source}: no pair of {split} can be read ({next(iter(unread))}: {len(found)})", BAD_DATA)
        unmatched = dict(sorted({**listing.unmatched, **unread}.items()))
        counts[split] = {"images": listing.images, "texts": listing.texts, "unmatched": unmatched}
    lonely = layouts.lonely_pages(source) if layout == "pages" else 0
    notes = [f"pages that have no image in either split: {lonely}"] if lonely else []
    return Food101(rows, names, layout, max_tokens=max_tokens, counts=counts, notes=notes, **said)


def fingerprint(pairs: Sequence[layouts.Pair], names: Sequence[str], folder: Path, most: int) -> list[Row | str]:
    """Reads some pairs; in the place of one that cannot be read, why."""
    pieces, found = texts.tokenizer(folder, most), []
    for pair in pairs:
        reason = "image file cannot be read"
        try:
            image = hashlib.sha256(Path(pair.image).read_bytes()).hexdigest()
            reason = "page cannot be read"
            words = Path(pair.page).read_bytes().decode("utf-8-sig", "replace") if pair.page else pair.text
        except OSError:
            found.append(reason)
            continue
        ids, cut = texts.encode(pieces, words)
        digest = hashlib.sha256(json.dumps([pair.category, pair.file, image, words, ids.tolist()]).encode()).hexdigest()
        noted = [] if words.strip() else ["text empty"]
        noted += [f"text cut at {most} word pieces"] if cut else []
        found.append(Row(pair.image, names.index(pair.category), digest, ids, tuple(noted)))
    return found


def head(food: Food101) -> dict[str, Any]:
    """The manifest's fields that are known before an image is decoded."""
    sources = hashlib.sha256(json.dumps({split: [row.digest for row in rows] for split, rows in food.rows.items()}).encode())
    size, length = food.size, food.length
    return {
        "name": "food101",
        "recipe": {
            "name": "food101",
            "seed": food.seed,
            "text": food.layout,
            "class_names": list(food.class_names),
            "max_tokens": food.max_tokens,
            "vocabulary": food.vocabulary,
            "size": size,
            "pictures": pictures.RULES,
            "sources": sources.hexdigest()[:12],
        },
        "modalities": [
            {"name": "image", "kind": "image", "shape": [3, size, size], "dtype": "uint8"},
            {"name": "text", "kind": "tokens", "shape": [2, length], "dtype": "int32", "vocabulary": food.vocabulary},
        ],
        "classes": len(food.class_names),
        "class_names": list(food.class_names),
        "targets": ["class"],
        "weak": "image",
        "counts": dict(food.counts),
        "notes": ["ids number the pairs that were tried; those of images that could not be decoded are left out", *food.notes],
    }


def plans(food: Food101, in_order: InOrder) -> dict[str, Plan]:
    """How each split is made, in an order that the seed decides. Memory: a few chunks of 10 MB for each process."""
    size, length = food.size, food.length

    def plan(split: str) -> Plan:
        rows = food.rows[split]
        order = shuffled(len(rows), food.seed, "food101", split)

        def chunks(start: int, stop: int) -> Iterator[Samples]:
            parts = (range(first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK))
            return in_order(samples, ((split, part, [rows[k] for k in order[part]], size, length) for part in parts))

        return Plan(len(rows), chunks, exact=False)

    return {split: plan(split) for split in food.rows}


def samples(split: str, numbers: range, rows: Sequence[Row], size: int, length: int) -> Samples:
    """Decodes some pairs; those whose image is unusable are left out and counted."""
    images, kept, dropped, noted = [], [], Counter(), Counter()
    for number, row in zip(numbers, rows, strict=True):
        try:
            image, kinds = pictures.crop(Path(row.image).read_bytes(), size)
        except pictures.Unusable as reason:
            dropped[str(reason)] += 1
            continue
        except OSError as error:
            why = f"{row.image} was read once and now could not be: {error.strerror or error}"
            raise UserError(f"{why}; give the same command again", BAD_DATA) from None
        images.append(image)
        kept.append((number, row))
        noted.update((*kinds, *row.noted))
    return Samples(
        inputs={
            "image": np.stack(images) if images else np.empty((0, 3, size, size), dtype=np.uint8),
            "text": texts.padded([row.ids for _, row in kept], length),
        },
        present=np.ones((len(kept), 2), dtype=bool),
        label=np.array([row.label for _, row in kept], dtype=np.int64),
        id=np.array([f"{split}-{number:08d}" for number, _ in kept], dtype="U"),
        factors={},
        dropped=dropped,
        noted=noted,
    )
