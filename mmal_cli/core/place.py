"""A run's place in the grid: what it trains on and how, its regime, method and seed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from mmal_cli.core.paradigms import PARADIGMS, SELF_SL, ST, Paradigm

REGIMES = ("low", "mid", "high")
NO_MODDROP = "-nomoddrop"


class Variant(BaseModel):
    """One way to train on a dataset: what stands in one table and has figures of its own."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    moddrop: bool
    paradigm: Paradigm = ST

    @property
    def variant(self) -> tuple[str, int, bool]:
        """Sorts by dataset, then st, self-sl, semi-sl, then moddrop (on first)."""
        return self.dataset, PARADIGMS.index(self.paradigm), not self.moddrop

    @property
    def suffix(self) -> str:
        """What a folder of runs and a file of figures add to a name."""
        return ("" if self.paradigm == ST else f"-{self.paradigm}") + ("" if self.moddrop else NO_MODDROP)

    @property
    def name(self) -> str:
        """`cifar10`; `cifar10 semi-sl`."""
        return self.dataset if self.paradigm == ST else f"{self.dataset} {self.paradigm}"

    @property
    def title(self) -> str:
        """`synergy, moddrop off`; `cifar10, moddrop on, semi-sl`."""
        return f"{self.dataset}, moddrop {'on' if self.moddrop else 'off'}{'' if self.paradigm == ST else f', {self.paradigm}'}"


class InRegime(Variant):
    """A variant in a regime: what is ranked together."""

    regime: str

    @property
    def block(self) -> tuple[str, tuple[int, str], int, bool]:
        """Sorts by dataset, then low, mid, high, then as `variant`."""
        dataset, *variant = self.variant
        return dataset, regime_order(self.regime), *variant


class Place(InRegime):
    """A run's place in the grid, as its config says; other keys of the config are ignored."""

    qm: str
    seed: int

    @model_validator(mode="before")
    @classmethod
    def _of_before_there_were_paradigms(cls, config: Any) -> Any:
        """A record that has none and began with pretrained encoders."""
        settings = config.get("settings", {}) if isinstance(config, dict) else {}
        if settings and "paradigm" not in config and settings.get("model", {}).get("start"):
            return config | {"paradigm": SELF_SL}
        return config

    @property
    def row(self) -> tuple[tuple[str, tuple[int, str], int, bool], str]:
        """What is averaged: the block and the method."""
        return self.block, self.qm

    @property
    def folder(self) -> str:
        """The folder of all seeds, below that of all runs."""
        return f"{self.dataset}/{self.regime}/{self.qm}{self.suffix}"


def regime_order(regime: str) -> tuple[int, str]:
    """Sorts low, mid, high, then others by name."""
    return (REGIMES.index(regime) if regime in REGIMES else len(REGIMES), regime)
