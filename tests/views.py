"""What tests of query methods share: asking a shipped method by its name."""

from mmal_cli.checking._views import chance, lend
from mmal_cli.core import plugins
from mmal_cli.pool import PoolView, checked


def ask(name: str, view: PoolView, size: int, seed: int = 0, **options) -> list[int]:
    """The train positions a method chooses, seeing only what it NEEDS, after the loop's own check."""
    method = plugins.load("queries", name, "query method", "query")
    return checked(method.query(lend(view, method.NEEDS), size, chance(seed), **options), view, size, name).tolist()
