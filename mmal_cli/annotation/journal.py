"""The journal of answers: numbered files that are whole or absent and never rewritten, a line of JSON for each answer."""

import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Strict, check
from mmal_cli.core.running import refresh

FOLDER = "answers"


class Answer(Strict):
    """One answer: the class's name for a sample, the number of the ask, who said it and when, and what label it takes back."""

    id: str
    label: str
    ask: int
    revises: str | None = None
    by: str | None = None
    at: datetime


def read(campaign: Path) -> list[Answer]:
    """All answers so far, in the order in which they were taken."""
    return [answer for path in _files(campaign) for answer in _lines(path)]


def labels(answers: Iterable[Answer]) -> dict[str, str]:
    """Id -> label, by id: the last answer counts, and nothing else depends on their order."""
    return dict(sorted({answer.id: answer.label for answer in answers}.items()))


def append(campaign: Path, decide: Callable[[list[Answer]], Sequence[Answer]]) -> Path | None:
    """Writes new answers as the journal's next file and returns it; None where there are none.

    Needs no lock, so that nobody waits for a process that is gone, and a file system in a network suffices: a file gets its
    number by a hard link, which fails where somebody was quicker. Then what they said is read, and decided upon anew.

    Args:
        decide: all answers so far -> new ones; raises UserError where they cannot be taken. May be called several times.
    """
    folder = campaign / FOLDER
    part = folder / f"{secrets.token_hex(8)}.part"
    try:
        while True:
            refresh(folder)
            taken = _files(campaign)
            new = decide([answer for path in taken for answer in _lines(path)])
            if not new:
                return None
            path = folder / f"{len(taken) + 1:06d}.jsonl"
            _write(part, "".join(answer.model_dump_json(exclude_none=True) + "\n" for answer in new))
            if _linked(part, path):
                return path
    except OSError as error:
        raise UserError(f"{folder} could not be written: {error.strerror}; nothing was taken", BAD_DATA) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _write(part: Path, text: str) -> None:
    part.parent.mkdir(exist_ok=True)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _linked(part: Path, path: Path) -> bool:
    """Whether the file is now under that name too, on disk; False where there is another."""
    try:
        os.link(part, path)
    except FileExistsError:
        if part.stat().st_nlink < 2:  # else the link was made, and a network's second try met it
            return False
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _files(campaign: Path) -> list[Path]:
    """The journal's files; a gap in their numbers is an error."""
    found = sorted((campaign / FOLDER).glob("*.jsonl"))
    for number, path in enumerate(found, start=1):
        if path.name != f"{number:06d}.jsonl":
            raise UserError(f"{path.parent / f'{number:06d}.jsonl'} is missing, {path.name} is there; bring it back", BAD_DATA)
    return found


def _lines(path: Path) -> list[Answer]:
    found = []
    try:
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
            found.append(check(Answer, json.loads(line), f"{path}, line {number}", BAD_DATA))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or edited ({error}); bring back what it was", BAD_DATA) from None
    return found
