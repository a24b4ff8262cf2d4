"""What a query method must keep to, checked; a file holds one concern and yields a row for each check of it."""

import logging
from collections.abc import Callable

from mmal_cli.checking._asking import Row, Subject
from mmal_cli.core import plugins


def run(subject: Subject, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[Row]:
    """All checks of a query method, in the order of their files' PLACE. What the method logs is not shown meanwhile.

    Args:
        on_progress: called with (files done, files in all).
    """
    log = logging.getLogger("mmal")
    disabled, log.disabled = log.disabled, True
    try:
        modules = [plugins.load("checking", name, "check", must_have="rows") for name in plugins.names("checking")]
        found = []
        for done, module in enumerate(sorted(modules, key=lambda module: module.PLACE)):
            on_progress(done, len(modules))
            found += module.rows(subject)
            if found[0].result == "FAIL":
                found.append(Row("all other checks", "skipped", "nothing to compare before a plain query is right"))
                break
        on_progress(len(modules), len(modules))
    finally:
        log.disabled = disabled
    return found
