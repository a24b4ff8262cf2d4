"""A folder is a registry: the file `queries/badge.py` is `badge` in code, YAML, command line and tables."""

import hashlib
import importlib
import sys
import traceback
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType

from mmal_cli.core.errors import UserError, unknown

PACKAGE = Path(__file__).resolve().parent.parent


def names(folder: str, suffix: str = ".py") -> list[str]:
    """The names in a folder of the package, without importing any of them."""
    return sorted(path.stem for path in (PACKAGE / folder).glob(f"*{suffix}") if not path.stem.startswith("_"))


def find(folder: str, name: str, what: str, suffix: str = ".py") -> Path:
    """The file behind a name of the folder, or behind a path ending in `suffix`.

    Raises:
        UserError: unknown, not there, or a path whose file has the name of one of ours, which tables could not tell apart.
    """
    if not name.endswith(suffix) and "/" not in name:
        if name not in names(folder, suffix):
            raise unknown(what, name, names(folder, suffix))
        return PACKAGE / folder / f"{name}{suffix}"
    path = Path(name)
    if not path.is_file() or path.suffix != suffix:
        raise UserError(f"{what} file {name} " + (f"does not end in {suffix}" if path.is_file() else "not found"))
    if path.stem in names(folder, suffix) and path.resolve().parent != PACKAGE / folder:
        raise UserError(f"{what} file {name} has the name of one of mmal's own, {path.stem!r}; give it another name")
    return path


def load(folder: str, name: str, what: str, must_have: str) -> ModuleType:
    """Imports a plugin by name or by path and checks that it has what its kind must have."""
    path = find(folder, name, what)
    if path.parent == PACKAGE / folder:
        module = importlib.import_module(f"mmal_cli.{folder}.{path.stem}")
    else:
        module = _execute(path, what)
    if not callable(getattr(module, must_have, None)):
        raise UserError(f"{what} file {path} has no `{must_have}` that can be called; see docs/extending.md")
    return module


@cache
def source(path: Path) -> bytes:
    """A file of the user's own, read once for a whole process: what is hashed is what runs, whatever is edited meanwhile."""
    return path.read_bytes()


def _execute(path: Path, what: str) -> ModuleType:
    """The module that a file of the user's own makes; nothing is written beside it, what it prints is no result."""
    module = ModuleType(f"mmal_plugin_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up the module that they stand in
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(source(path.resolve()), str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise UserError(f"{what} file {path}{line}: {error.msg}") from error
    except ImportError as error:
        raise UserError(f"{what} file {path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{what} file {path}: {told(error, str(path))}") from error
    return module


def told(error: BaseException, file: str | None) -> str:
    """Where a plugin broke, the last place in its own file if there is one, and on what."""
    frames = traceback.extract_tb(error.__traceback__)
    last = ([frame for frame in frames if frame.filename == file] or frames)[-1]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{last.filename.rpartition('/')[2]}, line {last.lineno}: {said}"


def label(name: str) -> str:
    """What a table calls a plugin: its name, or the stem of its file."""
    return Path(name).stem if name.endswith(".py") else name


def fingerprint(name: str) -> str | None:
    """sha256 of a plugin given as a path; None for one of our own, which its name tells."""
    return hashlib.sha256(source(Path(name).resolve())).hexdigest() if name.endswith(".py") else None


@cache
def code() -> str:
    """sha256 of the code that trains: the package without its commands, tables and query methods."""
    rooms = (PACKAGE, *(PACKAGE / room for room in ("core", "encoders", "fusions")))
    files = sorted(path for room in rooms for path in room.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
