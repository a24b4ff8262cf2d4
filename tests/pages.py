"""Pages whose blocks are run: commands and whole files, one after the other in an empty folder."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(name: str) -> list[tuple[str, str, str]]:
    """Language, file (or nothing) and content of the blocks of a page in docs/."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", page, flags=re.M | re.S)


def run(name: str, place: Path, links: Mapping[str, Path] | None = None, seconds: int = 300) -> tuple[Path, str]:
    """Runs a page below a place; the folder that it worked in, and all that its commands printed as results."""
    programs, work = place / "bin", place / "work"
    programs.mkdir()
    work.mkdir()
    for link, folder in (links or {}).items():
        (work / link).symlink_to(folder)
    for program, words in (("mmal", "-W error -m mmal_cli"), ("python", "-W error")):
        (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / program).chmod(0o755)
    env = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    said = ""
    for language, file, content in blocks(name):
        if file:
            (work / file).write_text(content, encoding="utf-8")
        elif language == "sh":
            command = ["bash", "-ec", content]
            done = subprocess.run(command, capture_output=True, text=True, cwd=work, env=env, timeout=seconds, check=False)
            assert done.returncode == 0, f"{content}{done.stderr}"
            said += done.stdout
    return work, said
