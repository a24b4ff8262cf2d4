"""A query method as a run holds it: loaded by name or path, its needs known, its options checked before any training."""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError, unknown
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL
from mmal_cli.core.place import NO_MODDROP
from mmal_cli.pool import KNOWN_NEEDS, PoolView, checked

ENDS = (f"-{SELF_SL}", f"-{SEMI_SL}", NO_MODDROP)  # a run's folder would be read as that of another method
log = logging.getLogger("mmal")


class Broken(UserError):
    """A query raised what is no UserError: where in its own file, and what."""


@dataclass(frozen=True)
class Method:
    """What tables call it, what it reads of the predictions, `query(view, size, rng)` with its options filled in, its file."""

    name: str
    needs: frozenset[str]
    query: Callable[[PoolView, int, torch.Generator], Tensor]
    file: str


def load_method(name: str, options: Mapping[str, Any]) -> Method:
    """Loads a query method by name or path; options become the types that its `query` declares.

    Raises:
        UserError: a name that ends as folders of runs do or begins as hidden ones, no NEEDS, something unknown in it, an
            option that `query` does not take or of another type, a `query` of other arguments than (view, size, rng).
    """
    module, label = plugins.load("queries", name, "query method", must_have="query"), plugins.label(name)
    if label.endswith(ENDS):
        raise UserError(f"query method {label} ends as folders of runs do ({', '.join(ENDS)}); give its file another name")
    if label.startswith("."):
        raise UserError(f"query method {label}: its runs would lie in a hidden folder; give its file another name")
    needs = _needs(module, label)
    return Method(label, needs, partial(module.query, **_checked(module.query, label, options)), module.__file__)


def select(method: Method, view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """The selection of a run, checked; what breaks in a file of the user's own is one message, its traceback in the log.

    Raises:
        UserError: the method breaks or refuses, or its answer is no `size` distinct samples of the pool.
    """
    try:
        return checked(answer(method, view, size, rng), view, size, method.name)
    except Broken as error:
        if Path(method.file).parent == plugins.PACKAGE / "queries":
            raise error.__cause__ from None  # a mistake of mmal's, whose traceback is to be seen
        log.info("query method %s broke", method.name, exc_info=error.__cause__)
        raise UserError(f"query method {method.name}, cycle {view.cycle}: {error}") from error


def answer(method: Method, view: PoolView, size: int, rng: torch.Generator) -> Tensor:
    """What a method gives, unchecked; what it prints is no result and goes to stderr.

    Raises:
        Broken: it raised what is no UserError, or ended the process.
    """
    try:
        with redirect_stdout(sys.stderr), torch.set_grad_enabled(torch.is_grad_enabled()):  # after it, as before
            return method.query(view, size, rng)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        hint = "; NEEDS must name all that is read" if "'NoneType'" in str(error) else ""
        asked = f"asked for {size} of {len(view.unlabelled.index)}"
        raise Broken(f"{asked}: {plugins.told(error, method.file)}{hint}") from error


def _needs(module: ModuleType, label: str) -> frozenset[str]:
    example = "say what it reads: NEEDS = {'logits'}; see docs/extending.md"
    if not hasattr(module, "NEEDS"):
        raise UserError(f"query method {label} has no NEEDS; {example}")
    needs = module.NEEDS
    if not isinstance(needs, set | frozenset | list | tuple) or not all(isinstance(need, str) for need in needs):
        raise UserError(f"query method {label}: NEEDS is {needs!r}, expected a set of names; {example}")
    for need in needs:
        if need not in KNOWN_NEEDS:
            raise unknown(f"need of query method {label}", need, KNOWN_NEEDS)
    return frozenset(needs)


def _checked(query: Callable, label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        signature = inspect.signature(query)
    except (ValueError, TypeError) as error:
        raise UserError(f"query method {label}: {error}, expected a function query(view, size, rng)") from None
    known = {p.name: p.annotation for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
    found = {}
    for option, value in options.items():
        if option not in known:
            raise unknown(f"option of query method {label}", option, known)
        try:
            found[option] = _declared(query, known[option], f"{label}: {option}").validate_python(value)
        except ValidationError as error:
            raise UserError(f"option {option} of query method {label}: {error.errors()[0]['msg']} (found {value!r})") from None
    try:
        signature.bind(None, None, None, **found)
    except TypeError as error:
        raise UserError(f"query method {label}: {error} in query{signature}, expected query(view, size, rng)") from None
    return found


def _declared(query: Callable, annotation: Any, place: str) -> TypeAdapter:
    """What checks an option; only its own annotation is read, that of an argument may hold names for type checkers alone."""
    try:
        written = isinstance(annotation, str)
        kind = eval(annotation, getattr(inspect.unwrap(query), "__globals__", {})) if written else annotation
        return TypeAdapter(Any if kind is inspect.Parameter.empty else kind)
    except Exception as error:
        why = str(error).splitlines()[0]
        raise UserError(f"query method {place}: {annotation} is no type that can be checked: {why}") from error
