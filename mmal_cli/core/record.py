"""What readers of a run's record look into although it is free: mappings inside others, and a command made of words."""

import shlex
from collections.abc import Mapping
from typing import Any


def contradiction(config: Mapping[str, Any], inputs: Mapping[str, Any], made: Mapping[str, Any]) -> str | None:
    """What is not as every reader takes it to be; None where all is."""
    inner = {"config.settings": config.get("settings"), "config.own_files": config.get("own_files", {})}
    inner["inputs.dataset"] = inputs.get("dataset", {})
    if isinstance(inner["config.settings"], dict):
        inner |= {f"config.settings.{key}": inner["config.settings"].get(key, {}) for key in ("model", "train", "budget")}
    inner["made.versions"] = made.get("versions", {})
    for key, value in inner.items():
        if not isinstance(value, dict):
            return f"{key} is {value!r}, expected keys and values"
    texts = {"config.own_files.qm": inner["config.own_files"].get("qm", "")}
    for key, value in (texts | {f"made.{key}": made.get(key, "") for key in ("mmal", "commit", "device")}).items():
        if not isinstance(value, str | None):
            return f"{key} is {value!r}, expected text"
    command = made.get("command", "")
    try:
        shlex.split(command)
    except (ValueError, AttributeError):  # a quote without its other; no text
        return f"made.command is {command!r}, expected words of a shell"
    return None
