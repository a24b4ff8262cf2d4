"""Settings: YAML files that say what a quint dataset is made of; the shipped ones and a user's own are read alike."""

from itertools import combinations
from math import prod
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from data_recipes.quint.colours import COLOURS
from data_recipes.quint.shapes import SHAPES
from data_recipes.quint.textures import TEXTURES
from mmal_cli.core import files
from mmal_cli.core.errors import WRONG_USE, UserError, unknown
from mmal_cli.core.manifest import Strict, check

FOLDER = Path(__file__).resolve().parent / "settings"
NAMES = {
    "shape": list(SHAPES),
    "texture": list(TEXTURES),
    "colour": list(COLOURS),
    "background_texture": list(TEXTURES),
    "background_colour": list(COLOURS),
}
FACTORS = tuple(NAMES)
VALUES = 10  # of every factor
DRAWN_TO_DIFFER = {"colour", "background_colour"}
MOST_LABEL_FACTORS = 4

Sharing = Annotated[list[str], Field(min_length=2)]
Shared = Annotated[
    Annotated[list[str], Tag("list")] | Annotated[dict[str, Sharing], Tag("map")],
    Discriminator(lambda found: "map" if isinstance(found, dict) else "list"),
]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Perlin(Strict):
    """Erasure: `cells` x `cells` lattice cells, `octaves` of noise, a fraction q_min..q_max of the foreground goes."""

    enabled: bool = True
    q_min: float = Field(0.1, ge=0, le=0.9)
    q_max: float = Field(0.3, ge=0, le=0.9)
    cells: int = Field(4, ge=1, le=16)
    octaves: int = Field(3, ge=1, le=4)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.q_min > self.q_max:
            raise _wrong(f"q_min {self.q_min} is above q_max {self.q_max}")
        return self


class Picture(Strict):
    """How every image looks, whatever it shows; docs/protocol.md says why these are the defaults.

    Attributes:
        box: side of the shape's box as a share of the image's.
        period: of the textures in pixels; None: 6 up to 134 px, then 10 / 224 of the image's side.
        turn: shapes and textures are turned by -turn..turn degrees, in steps of one.
        dim: share of its colour that a region shows off its texture.
        jitter: largest shift of a colour's channel, of 1.
        supersampling: sub-pixels along the side of a pixel, for soft edges.
        perlin: erasure.
    """

    box: float = Field(0.57, gt=0.1, le=0.65)
    period: int | None = Field(None, ge=4)
    turn: int = Field(45, ge=0, le=180)
    dim: float = Field(0.4, ge=0, lt=1)
    jitter: float = Field(0.1, ge=0, lt=0.11)
    supersampling: int = Field(3, ge=1, le=8)
    perlin: Perlin = Perlin()

    def box_at(self, size: int) -> int:
        """Side of the shape's box in pixels."""
        return round(self.box * size)

    def period_at(self, size: int) -> int:
        """Period of the textures in pixels."""
        return self.period or max(6, round(10 * size / 224))

    def step(self) -> int:
        """What an image's size must be a multiple of."""
        return self.perlin.cells << (self.perlin.octaves - 1) if self.perlin.enabled else 1


class Setting(Strict):
    """What a quint dataset is made of.

    Attributes:
        modalities: names, one image each.
        shared: factors that have the same value in all modalities, or factor -> the modalities in which they have; all others
            are independent.
        label: what the label is made of, at most four parts: a shared factor by its name, any other as modality.factor;
            `a.texture + b.texture` is the sum of the values' numbers modulo how many there are, so that all terms are needed.
        absent: modality -> probability that a training sample lacks it; one modality always stays.
        weak: the modality that tables call weak.
        values: factor -> the names that it takes in this dataset; all ten where nothing is said. Not for colours.
        picture: how images look.
    """

    modalities: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]] = Field(min_length=1, max_length=8)
    shared: Shared = Field(default_factory=list)
    label: list[str] = Field(min_length=1, max_length=MOST_LABEL_FACTORS)
    absent: dict[str, Probability] = Field(default_factory=dict)
    weak: str | None = None
    values: dict[str, Annotated[list[str], Field(min_length=2)]] = Field(default_factory=dict)
    picture: Picture = Picture()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        terms = [term for part in self.parts for term in part]
        for what, several in (("modalities", self.modalities), ("shared", list(self.shared)), ("label", terms)):
            _all_different(what, several)
        for name in self.shared:
            _known("shared", "factor", name, FACTORS)
            _all_different(f"shared.{name}", self.showing(name))
            for modality in self.showing(name):
                _known(f"shared.{name}", "modality", modality, self.modalities)
        for term in terms:
            self._check_term(term)
        for factor, chosen in self.values.items():
            _known("values", "factor", factor, set(FACTORS) - DRAWN_TO_DIFFER)
            _all_different(f"values.{factor}", chosen)
            for name in chosen:
                _known(f"values.{factor}", factor, name, NAMES[factor])
        for part in self.parts:
            if len({len(self.choices(term)) for term in part}) > 1:
                counts = ", ".join(f"{term} {len(self.choices(term))}" for term in part)
                raise _wrong(f"label: the terms of a sum must have equally many values, found {counts}")
        for where, names in (("absent", self.absent), ("weak", [self.weak] if self.weak else [])):
            for name in names:
                _known(where, "modality", name, self.modalities)
        for modality in self.modalities:
            shown = {f: self.term(modality, f) for f in FACTORS}
            fixed = {f for f, term in shown.items() if term == f or term in terms}
            if fixed >= DRAWN_TO_DIFFER:
                raise _wrong("colour and background_colour cannot both be shared or in the label: they never are the same")
        return self

    def _check_term(self, term: str) -> None:
        modality, dot, factor = term.rpartition(".")
        _known("label", "factor", factor, FACTORS)
        if dot:
            _known("label", "modality", modality, self.modalities)
            if self.term(modality, factor) == factor:
                raise _wrong(f"label: {factor} is shared, write {factor!r} instead of {term!r}")
        elif factor not in self.shared:
            raise _wrong(f"label: {factor} is not shared, write {self.modalities[0]}.{factor} or add it to shared")

    @property
    def parts(self) -> list[list[str]]:
        """The label's parts, each with its terms: one, or those of a sum."""
        return [[term.strip() for term in part.split("+")] for part in self.label]

    def showing(self, term: str) -> list[str]:
        """The modalities that show a term: those that share a factor, or the one of modality.factor."""
        modality, dot, factor = term.rpartition(".")
        if dot:
            return [modality]
        return self.shared[factor] if isinstance(self.shared, dict) else self.modalities

    def term(self, modality: str, factor: str) -> str:
        """What a modality shows of a factor: `shape` where it shares it, otherwise `a.shape`."""
        return factor if factor in self.shared and modality in self.showing(factor) else f"{modality}.{factor}"

    @property
    def classes(self) -> int:
        """C: the label's parts cross."""
        return prod(self.radices)

    @property
    def radices(self) -> list[int]:
        """How many values each of the label's parts takes."""
        return [len(self.choices(terms[0])) for terms in self.parts]

    def choices(self, term: str) -> list[int]:
        """Positions in the list of all ten of the values that a factor takes, by its name or as modality.factor."""
        factor = term.rpartition(".")[2]
        return [NAMES[factor].index(name) for name in self.values.get(factor, NAMES[factor])]

    def ceilings(self) -> dict[str, float]:
        """Subset of modalities -> the best accuracy on a complete, balanced split: a part that is not seen whole is guessed.

        Terms are independent and stand in one part only, so that what is seen of a sum says nothing of its value.
        """
        found = {}
        for many in range(1, len(self.modalities) + 1):
            for subset in combinations(self.modalities, many):
                unseen = [
                    values
                    for terms, values in zip(self.parts, self.radices, strict=True)
                    if not all(set(subset) & set(self.showing(term)) for term in terms)
                ]
                found["+".join(subset)] = float(round(1 / prod(unseen), 6))
        return found


def load(name: str) -> tuple[str, Setting]:
    """Reads a shipped setting by name, or any other by the path of its YAML file; gives its name too."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
    elif name in names():
        path = FOLDER / f"{name}.yaml"
    else:
        raise unknown("setting", name, names())
    raw = files.read_yaml(path, code=WRONG_USE)
    if not isinstance(raw, dict):
        raise UserError(f"{path} holds no keys, expected modalities, shared, label, ...")
    return path.stem, check(Setting, raw, str(path))


def names() -> list[str]:
    """The shipped settings."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _all_different(what: str, values: list[str]) -> None:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise _wrong(f"{what}: {twice[0]} stands there twice")


def _known(where: str, what: str, name: str, known: Any) -> None:
    if name not in known:
        raise _wrong(f"{where}: {unknown(what, name, known)}")


def _wrong(message: str) -> PydanticCustomError:
    """An error whose text pydantic keeps as it is."""
    return PydanticCustomError("setting", "{text}", {"text": message})
