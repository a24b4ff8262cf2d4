"""The card of a table: which columns are what. Read and checked before anything else is opened."""

import re
from os.path import expanduser
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mmal_cli.core import files, minilm, plugins
from mmal_cli.core.errors import WRONG_USE, UserError, lines, unknown
from mmal_cli.core.manifest import NAME, Strict, check

MINILM = "minilm"
LONGEST = 100  # characters of a name
Column = Annotated[str, Field(min_length=1)]
Most = Annotated[int, Field(ge=1)]


class Image(Strict):
    """A column of paths of images, which become (3, size, size)."""

    kind: Literal["image"]
    column: Column
    size: int = Field(ge=32, le=512)


class Tokens(Strict):
    """A column of texts, cut at `max_tokens`; `tokenizer` is minilm, or a folder with tokenizer.json."""

    kind: Literal["tokens"]
    column: Column
    tokenizer: str = MINILM
    max_tokens: int = Field(256, ge=8, le=512)


class Vector(Strict):
    """Columns of numbers; with `indicators` as many more follow that say which were there."""

    kind: Literal["vector"]
    columns: list[Column] = Field(min_length=1)
    indicators: bool = False


class Series(Strict):
    """A column of paths of waveforms (.npy or WFDB) of `shape` (channels, samples).

    scale: record: the least and greatest value of each become -1 and 1; none: as they are.
    """

    kind: Literal["series"]
    column: Column
    shape: tuple[Most, Most]
    scale: Literal["record", "none"] = "record"


Spec = Image | Tokens | Vector | Series
KINDS: dict[str, type[Spec]] = {"image": Image, "series": Series, "tokens": Tokens, "vector": Vector}
BY_FILE = (Image, Series)


class Card(Strict):
    """What a table is; `modalities` as they stand in the file, `specs` has them checked."""

    name: str
    table: str
    files: str | None = None
    id: Column
    label: Column
    split: Column | None = None
    group: Column | None = None
    test: float | None = Field(None, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    empty: list[str] = []
    modalities: dict[Annotated[str, Field(pattern=NAME)], dict[str, Any]] = Field(min_length=1)
    weak: str | None = None
    restricted: bool = False
    notes: list[str] = []


class Own(Strict):
    """A card with its places found.

    Attributes:
        card: as written.
        specs: modality -> what it is made of.
        table, files: where the table lies, and the folder that paths in it begin at.
        tokenizers: tokens modality -> folder with tokenizer.json; `vocabularies` the ids of what these read.
    """

    card: Card
    specs: dict[str, Spec]
    table: Path
    files: Path
    tokenizers: dict[str, Path]
    vocabularies: dict[str, str]

    @property
    def columns(self) -> dict[str, str]:
        """Column of the table -> the card's key that names it first."""
        named = {getattr(self.card, key): key for key in ("group", "split", "label", "id") if getattr(self.card, key)}
        for name, spec in self.specs.items():
            for column in spec.columns if isinstance(spec, Vector) else [spec.column]:
                named.setdefault(column, f"modalities.{name}")
        return named

    @property
    def content(self) -> dict[str, Any]:
        """What the dataset depends on: the card, without where things lie."""
        said = self.card.model_dump(mode="json", exclude={"table", "files", "modalities"})
        specs = {name: spec.model_dump(mode="json", exclude={"tokenizer"}) for name, spec in self.specs.items()}
        order = [*specs]  # that of the columns of `present`, which a mapping does not tell
        return said | {
            "test": self.test_share,
            "modalities": specs,
            "order": order,
            "unknown": "median",
            "vocabularies": self.vocabularies,
        }

    @property
    def test_share(self) -> float | None:
        """The share that is drawn for test; None where the table says what is for test."""
        return None if self.card.split else 0.25 if self.card.test is None else self.card.test


def read(path: Path) -> Own:
    """Reads a card and finds what it names; a relative place is seen from the card's folder.

    Raises:
        UserError: not there, an unknown key or kind with the nearest known one, or, in one message, all that contradicts
            itself or is not there.
    """
    raw = files.read_yaml(path, code=WRONG_USE)
    card = check(Card, raw, str(path))
    specs = {name: _spec(path, name, said) for name, said in card.modalities.items()}
    wrong = [f"{path}: {said}" for said in _contradictions(card, specs)]
    table = path.parent / expanduser(card.table)
    folder = table.parent if card.files is None else path.parent / expanduser(card.files)
    wrong += [] if table.is_file() else [f"{path}: table: {table} not found"]
    wrong += [] if card.files is None or folder.is_dir() else [f"{path}: files: {folder} is not a folder"]
    tokenizers = {}
    for name, spec in specs.items():
        if isinstance(spec, Tokens):
            try:
                tokenizers[name] = _tokenizer(path.parent, spec.tokenizer)
            except UserError as error:
                wrong.append(f"{path}: modalities.{name}.tokenizer: {error}")
    if wrong:
        raise UserError(lines(wrong))
    vocabularies = {name: minilm.vocabulary(place) for name, place in tokenizers.items()}
    return Own(card=card, specs=specs, table=table, files=folder, tokenizers=tokenizers, vocabularies=vocabularies)


def _spec(path: Path, name: str, said: dict[str, Any]) -> Spec:
    place = f"{path}: modalities.{name}"
    kind = said.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{place}: {'kind is missing; known: ' + ', '.join(KINDS) if kind is None else _unknown(kind)}")
    return check(KINDS[kind], said, place)


def _unknown(kind: object) -> str:
    """The message for a kind that is none, with what each is."""
    means = "image: a picture's path, series: a waveform's path, tokens: a text, vector: numbers"
    return f"{unknown('kind', str(kind), KINDS)}; {means}"


def _contradictions(card: Card, specs: dict[str, Spec]) -> list[str]:
    found = []
    if not re.fullmatch(NAME, card.name) or len(card.name) > LONGEST:
        limits = f"letters, digits, _ and - alone, {LONGEST} at most"
        found.append(f"name {card.name!r} is to have {limits}, since it becomes part of paths")
    elif card.name in plugins.names("protocols", ".yaml"):
        found.append(f"name {card.name!r} is that of one of mmal's own protocols, which would be used; give another")
    if card.split and card.test is not None:
        found.append("test would have no effect, since split names the column that says what is for test; remove one of them")
    if card.weak is not None and card.weak not in specs:
        found.append(f"weak is {card.weak!r}, expected one of {', '.join(specs)}")
    if same := [key for key in ("id", "split", "group") if getattr(card, key) == card.label]:
        found.append(f"label and {same[0]} are the same column, {card.label!r}")
    for name, spec in specs.items():
        given = spec.columns if isinstance(spec, Vector) else [spec.column]
        if twice := sorted({column for column in given if given.count(column) > 1}):
            found.append(f"modalities.{name}: columns names {', '.join(twice)} twice")
        if card.label in given:
            found.append(f"modalities.{name} is made of the label, {card.label!r}: every model would read it")
    return found


def _tokenizer(folder: Path, said: str) -> Path:
    """The folder of a tokenizer: MiniLM's, or one that was named."""
    if said == MINILM:
        return minilm.find()
    place = folder / expanduser(said)
    if not (place / minilm.TOKENIZER).is_file():
        raise UserError(f"{place} holds no {minilm.TOKENIZER}")
    return place
