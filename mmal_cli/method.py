"""A query method as a run holds it: loaded by name or path, its needs known, its options checked before any training."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError, unknown
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL
from mmal_cli.core.place import NO_MODDROP
from mmal_cli.pool import KNOWN_NEEDS, PoolView

ENDS = (f"-{SELF_SL}", f"-{SEMI_SL}", NO_MODDROP)  # a run's folder would be read as that of another method


@dataclass(frozen=True)
class Method:
    """What tables call it, what it reads of the predictions, and `query(view, size, rng)` with its options filled in."""

    name: str
    needs: frozenset[str]
    query: Callable[[PoolView, int, torch.Generator], Tensor]


def load_method(name: str, options: Mapping[str, Any]) -> Method:
    """Loads a query method by name or path; options become the types that its `query` declares.

    Raises:
        UserError: a name that ends as folders of runs do, no NEEDS, something unknown in it, an option that `query` does not
            take or of another type.
    """
    module, label = plugins.load("queries", name, "query method", must_have="query"), plugins.label(name)
    if label.endswith(ENDS):
        raise UserError(f"query method {label} ends as folders of runs do ({', '.join(ENDS)}); give its file another name")
    if not hasattr(module, "NEEDS"):
        raise UserError(f"query method {label} has no NEEDS; say what it reads: NEEDS = {{'logits'}}; see docs/extending.md")
    for need in module.NEEDS:
        if need not in KNOWN_NEEDS:
            raise unknown(f"need of query method {label}", need, KNOWN_NEEDS)
    return Method(label, frozenset(module.NEEDS), partial(module.query, **_checked(module.query, label, options)))


def _checked(query: Callable, label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(query, eval_str=True).parameters.values()
    known = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    found = {}
    for option, value in options.items():
        if option not in known:
            raise unknown(f"option of query method {label}", option, known)
        kind = Any if known[option] is inspect.Parameter.empty else known[option]
        try:
            found[option] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise UserError(f"option {option} of query method {label}: {error.errors()[0]['msg']} (found {value!r})") from None
    return found
