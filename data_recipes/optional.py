"""Packages that only some recipes need, imported when one does; without them a message names the extra that brings them."""

import importlib
import warnings
from types import ModuleType

from mmal_cli.core.errors import UserError, install


def package(name: str, extra: str, why: str) -> ModuleType:
    """The package; `why` begins the message where it is not installed, `extra` brings it.

    Warnings while it is imported are its own affair: pandas deprecates what wfdb 4.3.1 does then.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{why} by {name}, which is not installed; {install(extra)}") from None
