"""Budgets: a number, "5C" (five for each class), "20%" (of the train split, rounded down), or a list: the least counts.

A share for validation is of the samples that are reserved for it, where there are such.
"""

from typing import Any

from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import RESERVED, Dataset

Amount = int | str | list[int | str]


def count(key: str, value: Any, dataset: Dataset) -> Any:
    """A budget as a number; what is neither of these forms is left for the settings' own check.

    Raises:
        UserError: a text of another form.
    """
    if isinstance(value, list) and value:
        return min(count(key, one, dataset) for one in value)
    if not isinstance(value, str):
        return value
    number, unit = (value[:-1], value[-1]) if value[-1:] in ("C", "%") else (value, "")
    if not (number.isascii() and number.isdecimal()):
        raise UserError(
            f"budget {key} is {value!r}, expected a number, a multiple of the classes such as 5C or a share of train, 20%"
        )
    if unit == "%":
        reserved = dataset.counts.get("train", {}).get(RESERVED) if key == "validation" else None
        return (reserved or dataset.splits["train"].samples) * int(number) // 100
    return int(number) * (dataset.classes if unit else 1)
