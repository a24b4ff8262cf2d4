"""README keeps its promises: the help that it shows, the commands and options that it names, the targets of make."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmal_cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.M | re.S)


@cache
def help_of(*words: str) -> str:
    done = CliRunner().invoke(app.build(), [*words, "--help"])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def commands() -> list[str]:
    """Every `mmal ...` line in the README's shell blocks, and every one in backticks there and in docs/."""
    found = {line.split("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()}
    for path in DOCS:
        found |= set(re.findall(r"`(mmal [^`]+)`", path.read_text(encoding="utf-8")))
    return sorted(line for line in found if line.startswith("mmal "))


def pinned(name: str) -> str:
    """The version that constraints.txt names."""
    return re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M)[1]


@pytest.mark.skipif(version("typer") != pinned("typer"), reason="another typer than the pinned one draws help otherwise")
def test_the_help_block_is_what_mmal_prints():
    shown = next(text for _, text in BLOCKS if "Usage: mmal" in text)
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mmal_cli", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert shown.strip() == "\n".join(line.rstrip() for line in said.strip().splitlines())


@pytest.mark.parametrize("line", commands())
def test_every_command_and_option_exists(line):
    words = shlex.split(line)[1:]
    name = next((word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)), "")
    said = help_of(*([name] if name else []))
    for option in (word for word in words if word.startswith("--")):
        assert option in said, f"{line}: {option} is no option of mmal {name}"


def test_every_target_exists():
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    targets = {line.split("#")[0].split()[1] for line in lines if line.startswith("make ")}
    assert {"demo", "test"} < targets
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^([\w ]+ )?{target}( [\w ]+)?:", makefile, flags=re.M) for target in targets)


def test_every_file_that_a_page_links_to_exists():
    links = [(page, link) for page in DOCS for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))]
    inside = [(page, link.split("#")[0]) for page, link in links if not link.startswith("http")]
    assert len(inside) > 5
    assert [(page.name, link) for page, link in inside if not (page.parent / link).exists()] == []


def test_nothing_is_left_to_be_filled_in():
    for path in DOCS:
        assert re.findall(r"@[A-Z]+@|TODO|FIXME", path.read_text(encoding="utf-8")) == [], path
