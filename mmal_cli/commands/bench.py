"""`mmal bench`: measures what is promised, beside a plain reference where there is one."""

import json as json_format
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mmal_cli import show

STAGE = 4.0

Item = Annotated[str | None, typer.Argument(help="What to measure; default: everything, one after the other.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder of bench.json, where an item replaces its last figures, and of drawings.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, no tables: --format json.")]


def bench(
    item: Item = None, out: Out = None, format: show.Format = "rich", json: Json = False, progress: show.Progress = "auto"
) -> None:
    """Measure speed and learnability on this machine; the figures come with hardware and versions."""
    from mmal_cli.core import files, plugins

    format, found = "json" if json else format, {}
    before = _kept(out / "bench.json") if out else {}
    for name in [item] if item else plugins.names("bench"):
        module = plugins.load("bench", name, "bench item", "run")
        show.note(f"{name}: {(module.__doc__ or 'no description').strip().splitlines()[0]}")
        started = time.monotonic()
        with show.progress(name, "done", progress) as bar:
            rows = module.run(bar)
        made = {"seconds": round(time.monotonic() - started, 1), "hardware": hardware(), "versions": versions()}
        found[name] = {"rows": rows, **made}
        if format != "json":
            foot = f"{made['seconds']} s; {made['hardware']}; {', '.join(f'{k} {v}' for k, v in made['versions'].items())}"
            cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
            show.table(name, list(rows[0]), cells, foot, format=format)
        if out:  # after each item, so that none is lost with a later one
            files.write_text(out / "bench.json", json_format.dumps(before | found, indent=1) + "\n")
            show.note(f"written: {out / 'bench.json'}")
            if hasattr(module, "draw"):
                module.draw(rows, out / f"{name}.png")
    if format == "json":
        show.result(json_format.dumps(found, indent=1))


def _kept(place: Path) -> dict[str, Any]:
    """The figures of other items, which stay."""
    from mmal_cli.core.errors import BAD_DATA, UserError

    try:
        return json_format.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    except ValueError as error:
        raise UserError(f"{place} is no JSON: {error}; move it away, or choose another --out", BAD_DATA) from None


def hardware() -> str:
    """Processor, cores and accelerator: "AMD EPYC, 2 cores, no GPU"; never the machine's name."""
    import os
    import platform
    from pathlib import Path

    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model}, {os.cpu_count()} cores, {gpu}"


def versions() -> dict[str, Any]:
    """What the figures depend on."""
    import platform

    import numpy
    import torch

    from mmal_cli import __version__

    return {"mmal": __version__, "python": platform.python_version(), "numpy": numpy.__version__, "torch": torch.__version__}
