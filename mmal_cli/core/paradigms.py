"""Training paradigms: what a model learns from beside the labels (Lueth et al. 2023)."""

from typing import Literal, get_args

Paradigm = Literal["st", "self-sl", "semi-sl"]  # nothing; encoders taught without labels; the pool
PARADIGMS: tuple[Paradigm, ...] = get_args(Paradigm)
ST, SELF_SL, SEMI_SL = PARADIGMS
