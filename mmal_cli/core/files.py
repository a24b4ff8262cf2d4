"""Files that are whole or absent: written beside their name, then moved onto it; identities are hashes of content."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from mmal_cli.core.errors import BAD_DATA, UserError


class Twice(ValueError):
    """A key stands twice in one mapping."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # in C where there is one: seven times faster on a folder of runs
    """The safe loader, but for a key that stands twice, of which it would silently take the last."""

    def get_single_node(self) -> yaml.Node | None:
        """The document's node, before anything is merged in it."""
        node = super().get_single_node()
        todo, met = [node], set()
        while todo:
            one = todo.pop()
            if isinstance(one, yaml.CollectionNode) and id(one) not in met:
                met.add(id(one))
                todo += [child for pair in one.value for child in pair] if isinstance(one, yaml.MappingNode) else one.value
                _must_be_unique(one)
        return node


def _must_be_unique(node: yaml.CollectionNode) -> None:
    keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)] if isinstance(node, yaml.MappingNode) else []
    if len({(key.tag, key.value) for key in keys}) < len(keys):
        said = [(key.tag, key.value) for key in keys]
        again = next(key for number, key in enumerate(keys) if (key.tag, key.value) in said[:number])
        raise Twice(f"{again.value!r} stands twice, again in line {again.start_mark.line + 1}")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a name to write to and moves it onto `path` at the end; after any error nothing is left.

    A full disk or an unwritable folder is a UserError (exit 3) that names the place.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"{path} could not be written: {error.strerror or error}; nothing half-written was kept, "
            "make room or choose another folder and give the same command again",
            BAD_DATA,
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a small text file whole."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Writes a text file whole that nobody but its owner may read (mode 0600), from its first byte on."""
    with atomic(path) as part, os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode())


def read_yaml(path: Path, helps: str = "", code: int = BAD_DATA) -> Any:
    """Reads a YAML file; `helps` is the command that would make it, `code` the exit code where it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except FileNotFoundError:
        raise UserError(f"{path} not found" + (f"; make it by: {helps}" if helps else ""), code) from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}", code) from None
    except Twice as error:
        raise UserError(f"{path}: {error}", code) from None
    except (yaml.YAMLError, ValueError) as error:  # no YAML, no text, no such day, too long a number
        raise UserError(f"{path} is not a YAML file: {str(error).splitlines()[0]}", code) from None


class _Dumper(yaml.SafeDumper):
    """Block style for what has structure, flow style for lists of plain values."""

    def represent_list(self, data: list) -> yaml.Node:
        plain = all(not isinstance(x, dict | list) for x in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=plain)


_Dumper.add_representer(list, _Dumper.represent_list)


def dump_yaml(value: Any) -> str:
    """YAML text with the keys in the order given, lists of plain values on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def identity(content: Any) -> str:
    """12 hex digits of the canonical JSON of `content`: equal content, equal id, whatever the paths, times and machines."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:12]


def canonical(content: Any) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def sha256(path: Path) -> str:
    """sha256 of a file, read in pieces (about 1 s per GB)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; an empty mapping stays as a value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def difference(place: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """That a place belongs to another configuration, with the keys that differ; empty where none does."""
    a, b = flatten(found), flatten(expected)
    differ = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    shown = ", ".join(f"{key} (there {a.get(key)!r}, asked {b.get(key)!r})" for key in differ[:5])
    more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
    return f"{place} belongs to another configuration: {shown}{more}" if differ else ""


def must_match(place: Path, found: Mapping[str, Any], expected: Mapping[str, Any], helps: str) -> None:
    """Refuses to go on in a folder that another configuration made, naming the keys that differ."""
    if said := difference(place, found, expected):
        raise UserError(f"{said}; {helps}")
