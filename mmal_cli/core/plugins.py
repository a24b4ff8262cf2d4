"""A folder is a registry: the file `queries/badge.py` is `badge` in code, YAML, command line and tables."""

import hashlib
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from mmal_cli.core.errors import UserError, unknown

PACKAGE = Path(__file__).resolve().parent.parent


def names(folder: str, suffix: str = ".py") -> list[str]:
    """The names in a folder of the package, without importing any of them."""
    return sorted(path.stem for path in (PACKAGE / folder).glob(f"*{suffix}") if not path.stem.startswith("_"))


def find(folder: str, name: str, what: str, suffix: str = ".py") -> Path:
    """The file behind a name of the folder, or behind a path ending in `suffix`."""
    if name.endswith(suffix) or "/" in name:
        if not Path(name).is_file():
            raise UserError(f"{what} file {name} not found")
        return Path(name)
    if name not in names(folder, suffix):
        raise unknown(what, name, names(folder, suffix))
    return PACKAGE / folder / f"{name}{suffix}"


def load(folder: str, name: str, what: str, must_have: str) -> ModuleType:
    """Imports a plugin by name or by path and checks that it has what its kind must have."""
    path = find(folder, name, what)
    if path.parent == PACKAGE / folder:
        module = importlib.import_module(f"mmal_cli.{folder}.{path.stem}")
    else:
        spec = importlib.util.spec_from_file_location(f"mmal_plugin_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    if not hasattr(module, must_have):
        raise UserError(f"{what} file {path} has no `{must_have}`; see docs/extending.md")
    return module


def label(name: str) -> str:
    """What a table calls a plugin: its name, or the stem of its file."""
    return Path(name).stem if name.endswith(".py") else name


def fingerprint(name: str) -> str | None:
    """sha256 of a plugin given as a path; None for one of our own (the version of mmal stands for it)."""
    return hashlib.sha256(Path(name).read_bytes()).hexdigest() if name.endswith(".py") else None
