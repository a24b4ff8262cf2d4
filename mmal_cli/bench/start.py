"""How long does `mmal --help` take, beside a Python that does nothing and one that imports torch?"""

import os
import subprocess
import sys
from collections.abc import Callable

from mmal_cli.bench._turns import beside, in_turns

ROUNDS = 11
OURS = ("-m", "mmal_cli", "--help")
REFERENCES = {"python -c pass": ("-c", "pass"), "python -c 'import torch'": ("-c", "import torch")}


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each of the two to stand beside: whole processes, from start to end, files in the cache."""
    ways = {name: lambda words=words: _process(words) for name, words in {"ours": OURS, **REFERENCES}.items()}
    seconds = in_turns(ways, ROUNDS, on_progress)
    return [{"beside": name} | beside(seconds["ours"], seconds[name], "ms", lambda s: 1000 * s) for name in REFERENCES]


def _process(words: tuple[str, ...]) -> None:
    """Python keeps what it compiles, whatever this shell says, as it does for who has installed mmal."""
    place = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *words], env=place, stdout=subprocess.DEVNULL, check=True)
