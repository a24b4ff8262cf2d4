"""Dataset folders: which one is meant, and what its manifest says."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from mmal_cli.core import plugins
from mmal_cli.core.errors import BAD_DATA, UserError, lines
from mmal_cli.core.manifest import UNLABELLED, Dataset

MANIFEST = "dataset.yaml"
SMALL = " --train 3000 --test 900 --size 32"  # as make (DEMO_TRAIN and so on) makes those that are called so
REAL = {  # datasets that are not drawn -> the command that makes them
    "share": "mmal prepare-share SOURCE",
    "food101": "mmal prepare-food101 SOURCE",
    "mimic": "mmal prepare-mimic MIMIC_IV MIMIC_IV_ECG",
    "miotcd": "mmal prepare-images SOURCE --name miotcd",
    "cifar10-lt": "mmal prepare-images SOURCE --long-tail 50",
    **dict.fromkeys(("cifar10", "cifar100", "isic2019"), "mmal prepare-images SOURCE"),
}
SETTINGS = "../data_recipes/quint/settings"  # seen from the package; listed, never imported


def choose(data: Path | None, root: Path = Path("data")) -> Path:
    """The folder given, or the one dataset under `root`; none or several is an error that names them."""
    if data is not None:
        return data
    found = sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    if not found:
        raise UserError(f"no dataset under {root}/; make one, for instance: mmal gen-quint --setting synergy", BAD_DATA)
    if len(found) > 1:
        raise UserError(f"{len(found)} datasets under {root}/; name one: --data " + " | --data ".join(map(str, found)))
    return found[0]


def read(folder: Path, name: str = "") -> Dataset:
    """The manifest of a dataset folder; without one the folder is missing or not complete.

    `name` is the dataset's, where the folder may be called otherwise: for the command that would make it.
    """
    if folder.is_file():
        helps = f"; its folder: {folder.parent}" if folder.name == MANIFEST else ""
        raise UserError(f"{folder} is a file, expected a dataset's folder{helps}")
    if folder.is_dir() and not (folder / MANIFEST).exists() and any(folder.glob("*.h5")):
        raise UserError(f"{folder} is not complete: it has shards and no {MANIFEST}; give its command again", BAD_DATA)
    return Dataset.read(folder / MANIFEST, helps=maker(folder, name or folder.name))


def read_all(folders: Mapping[str, Path]) -> dict[str, Dataset]:
    """The manifests of several datasets by their names; what is wrong with any of them is one error, a line for each."""
    found, wrong = {}, []
    for name, folder in folders.items():
        try:
            found[name] = read(folder, name)
            if found[name].name != name:
                wrong.append(f"{folder} holds dataset {found[name].name!r}, expected {name!r}")
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(lines(wrong), BAD_DATA)
    return found


def maker(folder: Path, name: str) -> str:
    """The command that would make this dataset folder."""
    command = REAL.get(name)
    if command is None:
        name = name if name in plugins.names(SETTINGS, ".yaml") else "synergy"
        command = f"mmal gen-quint --setting {name}{SMALL if name.endswith('-small') else ''}"
    return command if folder == Path("data", name) else f"{command} --out {shlex.quote(str(folder))}"


def gaps(dataset: Dataset) -> list[str]:
    """Classes without a sample; runs refuse those that train lacks."""
    found = []
    for split in (name for name in dataset.splits if name != UNLABELLED):
        empty = [name for name, n in zip(dataset.class_names, dataset.counts[split]["classes"], strict=True) if not n]
        if empty:
            refused = "; runs refuse such a dataset" if split == "train" else ""
            more = ", ..." if len(empty) > 5 else ""
            found.append(f"{split} has no sample of {', '.join(empty[:5])}{more}{refused}")
    return found
