"""What each sample shows: its label, its factors and which modalities it has, by (seed, split, number) alone."""

import numpy as np

from data_recipes.quint.setting import FACTORS, VALUES, Setting
from data_recipes.quint.streams import below, words


def labels(setting: Setting, seed: int, split: str, start: int, stop: int) -> np.ndarray:
    """Balanced labels: each run of C samples, from sample 0 on, holds every class once, in its own order. (n,) int64."""
    c = setting.classes
    first, last = start // c, -(-stop // c)
    runs = words(seed, (split, "labels"), first, last, c).argsort(axis=1, kind="stable")
    return runs.reshape(-1)[start - first * c : stop - first * c].astype(np.int64)


def presence(setting: Setting, seed: int, split: str, start: int, stop: int) -> np.ndarray:
    """Which modalities a sample has: each goes with its own probability; where all went, one at random comes back.

    The test split is complete.

    Returns:
        (n, M) bool.
    """
    n, m = stop - start, len(setting.modalities)
    if split == "test":
        return np.ones((n, m), bool)
    raw = words(seed, (split, "present"), start, stop, m + 1)
    gone = np.array([round(setting.absent.get(name, 0) * 2**32) for name in setting.modalities], np.uint64)
    present = raw[:, :m] >> np.uint64(32) >= gone
    alone = np.flatnonzero(~present.any(axis=1))
    present[alone, below(raw[alone, m], m)] = True
    return present


def factors(setting: Setting, seed: int, split: str, start: int, label: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The values of all factors: those of the label from the label, shared ones from the sample, all others from the image.

    The two colours of an image always differ: the one that is neither shared nor in the label steps past the other.

    Args:
        setting: which factor is what.
        seed: the dataset's seed.
        split: name of the split.
        start: number of the first sample.
        label: (n,) labels of samples start..start + n - 1.

    Returns:
        modality -> factor -> (n,) int64 in 0..9.
    """
    stop = start + len(label)
    common = _drawn(setting, seed, (split, "shared"), start, stop)
    own = {m: _drawn(setting, seed, (split, m, "factors"), start, stop) for m in setting.modalities}
    drawn = {f: common[f] for f in setting.shared} | {f"{m}.{f}": own[m][f] for m in own for f in FACTORS}
    said = _label_terms(setting, label, drawn)
    found = {}
    for modality in setting.modalities:
        terms = {f: setting.term(modality, f) for f in FACTORS}
        values = {f: said.get(term, drawn[term]) for f, term in terms.items()}
        behind = terms["background_colour"]
        fixed = behind in said or behind in setting.shared
        kept, moved = ("background_colour", "colour") if fixed else ("colour", "background_colour")
        step = 1 + own[modality][f"{moved} step"]
        values[moved] = (values[kept] + step) % VALUES
        found[modality] = values
    return found


def _label_terms(setting: Setting, label: np.ndarray, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the label says: term -> (n,) values in 0..9. Parts cross, the last one changing fastest.

    The terms of a sum are as drawn but for the last, which makes the sum what the label says.
    """
    places = np.unravel_index(label, setting.radices)
    found = {}
    for (*free, last), place in zip(setting.parts, places, strict=True):
        for term in free:
            found[term] = drawn[term]
            place = place - _positions(drawn[term], setting.choices(term))
        chosen = np.array(setting.choices(last))
        found[last] = chosen[place % len(chosen)]
    return found


def _positions(values: np.ndarray, choices: list[int]) -> np.ndarray:
    """(n,) values -> where they stand among the choices."""
    return (values[:, None] == np.array(choices)).argmax(axis=1)


def _drawn(setting: Setting, seed: int, purpose: tuple[str, ...], start: int, stop: int) -> dict[str, np.ndarray]:
    """A uniform value for each factor, and for the two colours a step 0..8 to the other one."""
    raw = words(seed, purpose, start, stop, len(FACTORS) + 2)
    choices = [np.array(setting.choices(factor)) for factor in FACTORS]
    values = {f: choices[i][below(raw[:, i], len(choices[i]))] for i, f in enumerate(FACTORS)}
    steps = {f"{f} step": below(raw[:, len(FACTORS) + i], VALUES - 1) for i, f in enumerate(("colour", "background_colour"))}
    return values | steps
