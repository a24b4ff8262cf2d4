"""Looks for what may not leave: paths, names of users and machines, addresses, numbers of patients."""

import getpass
import ipaddress
import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

# names that tell nobody apart
NOBODY = {"", "root", "user", "admin", "ubuntu", "nobody", "localhost", "localdomain"}
HASH, END = r"(?=[0-9]*[a-f])[0-9a-f]+", r"(?![0-9A-Za-z])"
WHAT = {
    "an absolute path": r"(?<![\w./~\\])/[\w.~][^\s\"']*|(?i:\bfile:/)[^\s\"']*",
    "a Windows path": r"(?<![A-Za-z])[A-Za-z]:[\\/][^\s\"']*|\\\\[\w.-]+\\[^\s\"']*",
    "a home folder": r"(?<![\w/])~[\w.-]*[/\\][^\s\"']*|(?<![\w-])(?i:home|users)[/\\][\w.-]+|\$HOME\b|%USERPROFILE%",
    "a path that leads out": r"(?<![\w.])\.\.[/\\][^\s\"']*",
    "an IP address": r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)",
    "an address of files": r"(?i)\b(?!https?:|file:)[a-z][a-z0-9+.-]*://[^\s\"']+",
    "an e-mail address": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    # an option's own name may be one of these: --set query_options.mine.local=3
    "a host name": r"(?i)\b[\w-]+(?:\.[\w-]+)*\.(?:local|lan|internal|intranet|edu|com|org)\b(?!=)|\bhttps?://[\w-]+(?![\w.-])",
    "a name of MIMIC's identifiers": r"(?i)(?<![^\W_])(?:subject|hadm|stay|icustay|study)[_ -]?id(?![^\W_])",
    # subject_id, hadm_id, stay_id and ECGs' study_id begin with 1 to 4, maybe after a word; not hashes, nor dates of versions
    "a number as MIMIC's identifiers are": (
        rf"(?<![0-9A-Za-z.])[1-4]\d{{7}}{END}|(?<![0-9A-Za-z])(?!{HASH}{END})[A-Za-z0-9]*[A-Za-z](?<!dev)[1-4]\d{{7}}{END}"
    ),
}
PATTERNS = {what: re.compile(pattern) for what, pattern in WHAT.items()}
COLONS = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")  # an IPv6 address, or a time
TEXT = "SUO"  # kinds of arrays
LOW, HIGH = 10_000_000, 50_000_000  # of 8-digit identifiers


class Finding(NamedTuple):
    """Something that may not leave."""

    file: str
    key: str
    what: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}, {self.key}: {self.what}, {self.found!r}"


def people_and_machines() -> dict[str, re.Pattern]:
    """What to look for on this machine: its user's and its own names, whole words whatever their case."""
    users, hosts = {os.path.basename(os.path.expanduser("~"))}, {socket.gethostname()}
    with suppress(OSError, KeyError, ImportError):  # no user of that number
        users.add(getpass.getuser())
    users |= {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    hosts |= {os.environ.get(name, "") for name in ("HOSTNAME", "COMPUTERNAME")}
    hosts |= {host.partition(".")[0] for host in hosts}
    found = {"the user's name": _words(users), "this machine's name": _words(hosts)}
    return {what: pattern for what, pattern in found.items() if pattern}


def _words(names: Collection[str]) -> re.Pattern | None:
    telling = sorted(name for name in names if len(name) > 1 and name.lower() not in NOBODY)
    return re.compile("|".join(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])" for name in telling), re.I) if telling else None


def findings(file: str, content: Mapping[str, Any], names: Mapping[str, re.Pattern]) -> Iterator[Finding]:
    """What may not leave of a record, or of a cycle's arrays and attributes.

    Args:
        content: mappings, lists, texts, numbers, arrays.
        names: as `people_and_machines` gives them.
    """
    for key, text in _texts(content, ""):
        yield from (Finding(file, key, what, found) for what, found in _of_text(text, names))
    for key, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in TEXT:
            yield Finding(file, key, "text where numbers belong", str(value.ravel()[:1].tolist()))


def _texts(content: Any, key: str) -> Iterator[tuple[str, str]]:
    """All texts and whole numbers with their keys, the keys among them."""
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, bytes):
        yield key, content.decode("utf-8", "replace")
    elif isinstance(content, int) and not isinstance(content, bool):
        yield key, str(content)
    elif isinstance(content, float) and content.is_integer():
        yield key, str(int(content))
    elif isinstance(content, np.ndarray):
        yield from _of_array(content, key)
    elif isinstance(content, Mapping):
        for name, value in content.items():
            inner = f"{key}.{name}" if key else str(name)
            yield inner, str(name)
            yield from _texts(value, inner)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value, key)


def _of_array(array: np.ndarray, key: str) -> Iterator[tuple[str, str]]:
    """Of text all of it, of whole numbers those that are as long as an identifier."""
    if array.dtype.kind in TEXT:
        for value in array.ravel().tolist():
            yield from _texts(value, key)
    elif array.dtype.kind in "iu":
        yield from ((key, str(value)) for value in array[(array >= LOW) & (array < HIGH)].tolist())


def _of_text(text: str, names: Mapping[str, re.Pattern]) -> Iterator[tuple[str, str]]:
    for what, pattern in (PATTERNS | names).items():
        yield from ((what, found.group()) for found in pattern.finditer(text))
    for found in COLONS.findall(text):
        with suppress(ValueError):  # it is none
            ipaddress.IPv6Address(found)
            yield "an IP address", found
