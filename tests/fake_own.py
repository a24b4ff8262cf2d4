"""A table of one's own with all that its cells may name: images of several modes, texts, numbers, .npy and WFDB waveforms."""

import csv
import re
from pathlib import Path

import numpy as np
from fake_mimic import write_record
from PIL import Image

PAGE = Path(__file__).resolve().parent.parent / "docs" / "datasets" / "own.md"
CARD = re.search(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)[1]  # the one that the page shows
COLUMNS = ("visit", "patient", "diagnosis", "photo", "report", "age", "sodium", "crp", "ecg")
LABELS = ("cold", "flu", "well")
MODES = ("RGB", "L", "P", "RGBA", "I;16", "CMYK")
Cells = dict[str, str]


def rows(folder: Path, count: int = 60) -> list[Cells]:
    """Writes the files of some rows; three rows for each patient, every seventh without label, no two alike."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    return [_row(folder, k) for k in range(count)]


def _row(folder: Path, k: int) -> Cells:
    rng, c = np.random.default_rng(k), k % len(LABELS)
    return {
        "visit": f"v{k}",
        "patient": f"p{k // 3}",
        "diagnosis": "" if k % 7 == 3 else LABELS[c],
        "photo": "" if k % 5 == 4 else _photo(folder, k, 60 * c + k),
        "report": "  " if k % 4 == 1 else f"visit {k}: looks like {LABELS[c]}",
        "age": str(20 + k),
        "sodium": "NA" if k % 3 == 0 else f"{rng.normal(140, 3):.2f}",
        "crp": "" if k % 2 else f"{rng.normal(5 * c, 1):.3f}",
        "ecg": ("", _npy(folder, k, rng), _record(folder, k, rng))[k % 3],
    }


def _photo(folder: Path, k: int, shade: int) -> str:
    mode, name = MODES[k % len(MODES)], f"files/{k}.{'jpg' if MODES[k % len(MODES)] == 'CMYK' else 'png'}"
    grey = Image.new("L", (40 + k % 3, 48), shade % 256)
    if mode == "I;16":
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 256).save(folder / name)
    else:
        grey.convert("RGB").convert(mode).save(folder / name)
    return name


def _npy(folder: Path, k: int, rng: np.random.Generator) -> str:
    np.save(folder / f"files/{k}.npy", rng.normal(size=(2, 500)))
    return f"files/{k}.npy"


def _record(folder: Path, k: int, rng: np.random.Generator) -> str:
    write_record(folder / f"files/r{k}", rng.integers(-900, 900, (2, 500)).astype(np.int16), names=("I", "II"))
    return f"files/r{k}" + (".hea" if k % 2 else "")


def write_table(folder: Path, cells: list[Cells], name: str = "visits.csv") -> Path:
    """A CSV file with the cells, in the order of the first row's columns."""
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    return folder / name


def write_card(folder: Path, text: str = CARD, **changes: str) -> Path:
    """The page's card with the lines of some keys in place of its own; None takes a line out."""
    for key, value in changes.items():
        line = "" if value is None else f"{key}: {value}\n"
        text, found = re.subn(rf"^{key}:.*\n", line, text, flags=re.M)
        text += "" if found else line
    (folder / "clinic.yaml").write_text(text, encoding="utf-8")
    return folder / "clinic.yaml"


def make(folder: Path, count: int = 60) -> Path:
    """Everything; returns the card."""
    write_table(folder, rows(folder, count))
    return write_card(folder)
