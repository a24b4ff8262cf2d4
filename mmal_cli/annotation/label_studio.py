"""A batch as tasks for Label Studio, and what its export in JSON says.

Formats: labelstud.io/guide/predictions (tasks with predictions), /guide/task_format (the export).
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from mmal_cli.annotation.batch import Given
from mmal_cli.annotation.campaign import Ask, place_of
from mmal_cli.core.errors import BAD_DATA, UserError

CONFIG = "label-studio.xml"
ID, CONTROL, OBJECT = "sample_id", "label", "sample"
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".avif")


def config(class_names: Sequence[str], beside: Mapping[str, Sequence[str]]) -> str:
    """The labelling interface that tasks and answers rely on: one choice of class below id and columns of the sample.

    A column whose cells all end as names of pictures do is shown as pictures, any other as text.
    """
    columns = "".join(
        f'  <Header value={quoteattr(column)} size="5"/>\n  <{_tag(cells)} name="{field(column)}" value="${field(column)}"/>\n'
        for column, cells in beside.items()
    )
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in class_names)
    shown = f'  <Text name="{OBJECT}" value="${ID}"/>'
    control = f'  <Choices name="{CONTROL}" toName="{OBJECT}" choice="single">\n{choices}\n  </Choices>'
    return f"<View>\n{shown}\n{columns}{control}\n</View>\n"


def field(column: str) -> str:
    """What a task calls a column: always the same name, of letters, digits and _ alone, and another for each column."""
    return "show_" + re.sub("[^A-Za-z0-9]", lambda odd: f"_{ord(odd[0]):x}_", column)


def _tag(cells: Sequence[str]) -> str:
    """Of a file, or of an address with or without a query."""
    found = [(cell.lower(), cell.lower().partition("?")[0]) for cell in cells if cell]
    return "Image" if found and all(whole.endswith(PICTURES) or path.endswith(PICTURES) for whole, path in found) else "Text"


def text(ask: Ask, class_names: Sequence[str], beside: Mapping[str, Sequence[str]]) -> str:
    """The tasks to import, in the order of choice; each subset of modalities is a prediction, the largest first."""
    tasks = [
        {
            "data": {ID: name, "ask": ask.cycle.number, "order": number + 1}
            | {field(column): cells[number] for column, cells in beside.items()},
            "predictions": [
                _prediction(subset, guess, ask, number, class_names)
                for subset in reversed(ask.guesses)
                if (guess := ask.guesses[subset][number]) is not None
            ],
        }
        for number, name in enumerate(ask.asked)
    ]
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def _prediction(subset: str, guess: tuple[int, float], ask: Ask, number: int, class_names: Sequence[str]) -> dict[str, Any]:
    value = {"choices": [class_names[guess[0]]]}
    unique = f"{place_of(ask.cycle.number)}-{number + 1}-{subset}"
    result = {"id": unique, "from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": value}
    return {"model_version": f"{place_of(ask.cycle.number)} {subset}", "score": guess[1], "result": [result]}


def read(text: str, path: Path) -> list[Given]:
    """The answers of an export, one for each annotation, or an empty one; skipped annotations and other controls say nothing.

    Raises:
        UserError: not such an export, a task without our id, more choices than one.
    """
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}", BAD_DATA) from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "annotations" in task for task in tasks):
        raise UserError(f"{path} is no list of tasks with annotations; export it as JSON, not JSON-MIN", BAD_DATA)
    return [given for number, task in enumerate(tasks, start=1) for given in _given(task, number, path)]


def _given(task: dict[str, Any], number: int, path: Path) -> list[Given]:
    place = f"task {task.get('id', number)}"
    try:
        name = task["data"][ID]
        said = [label for one in task["annotations"] if not one.get("was_cancelled") for label in _labels(one["result"])]
    except (KeyError, TypeError, ValueError, AttributeError):
        helps = f"expected data.{ID}, and annotations whose result is one choice of {CONTROL!r}, as {CONFIG} has it"
        raise UserError(f"{path}, {place} is not of this campaign: {helps}", BAD_DATA) from None
    return [Given(str(name), label, place) for label in dict.fromkeys(said) or [""]]


def _labels(results: list[dict[str, Any]]) -> list[str]:
    """What an annotation says by our control, whatever else it says: nothing or one label."""
    found = []
    for result in results:
        if result.get("from_name") == CONTROL:
            (label,) = result["value"]["choices"]
            if not isinstance(label, str):
                raise TypeError
            found.append(label)
    return found
