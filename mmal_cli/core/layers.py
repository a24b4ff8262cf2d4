"""Several layers of settings in one: later ones win, and every value knows where it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any


def merged(layers: Sequence[tuple[str, Mapping[str, Any]]], regime: str, qm: str) -> tuple[dict[str, Any], dict[str, str]]:
    """All layers in one, as far as they are of the regime and the query method; and the source of every key."""
    found, sources = {}, {}
    for source, layer in layers:
        named, before = layer.get("model", {}).get("fusion"), found.get("model", {})
        if named and named != before.get("fusion"):  # another fusion has other options than the one a file has them for
            options = before.get("fusion_options", {})
            for key in [key for key in options if not sources.get(f"model.fusion_options.{key}", "").startswith("--set")]:
                del options[key], sources[f"model.fusion_options.{key}"]
        chosen = dict(layer.get("regimes", {}).get(regime, {}))
        training = chosen.pop("train", {})
        flat = {key: value for key, value in layer.items() if key not in ("regimes", "query_options", "paradigms")}
        _merge(found, flat | {"budget": chosen, "query_options": layer.get("query_options", {}).get(qm, {})}, source, sources)
        _merge(found, {"train": training}, f"{source} ({regime})", sources)
    return found, sources


def _merge(into: dict[str, Any], layer: Mapping[str, Any], source: str, sources: dict[str, str], prefix: str = "") -> None:
    """Deep merge, later wins; remembers the source of every leaf."""
    for key, value in layer.items():
        if isinstance(value, Mapping):
            into[key] = into[key] if isinstance(into.get(key), dict) else {}
            _merge(into[key], value, source, sources, f"{prefix}{key}.")
        else:
            into[key] = value
            sources[f"{prefix}{key}"] = source
