"""docs/extending.md keeps its promise: its blocks, run one after the other in an empty folder, end with a row of a table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from mmal_cli.core import plugins

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", PAGE, flags=re.M | re.S)  # language, file, content


def test_from_an_empty_file_to_a_row_of_table_2(tmp_path):
    programs, work = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    work.mkdir()
    (programs / "mmal").write_text(f'#!/bin/sh\nexec {sys.executable} -W error -m mmal_cli "$@"\n')
    (programs / "mmal").chmod(0o755)
    path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    said = ""
    for language, file, content in BLOCKS:
        if file:
            (work / file).write_text(content, encoding="utf-8")
        elif language == "sh":
            command = ["bash", "-ec", content]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=work, env=os.environ | path, timeout=300, check=False
            )
            assert done.returncode == 0, f"{content}{done.stderr}"
            said += done.stdout
    sha256 = plugins.fingerprint(str(work / "mine.py"))
    rows = yaml.safe_load((work / "results/aulc.yaml").read_text(encoding="utf-8"))["rows"]
    assert [(row["dataset"], row["qm"], row["seeds"], row.get("qm_sha256")) for row in rows] == [
        ("synergy-small", "mine", [0, 1], sha256),
        ("synergy-small", "random", [0, 1], None),
    ]
    ranked = yaml.safe_load((work / "results/rank.yaml").read_text(encoding="utf-8"))
    assert (sum(ranked["sums"]["low"].values()), ranked["own_files"]) == (3, {"mine": sha256})
    assert " passed, 0 failed, " in said
    assert said.count(f"mine.py: sha256 {sha256}\n") == 3  # check-query, aulc, rank


def test_every_python_and_yaml_block_is_a_file_that_is_run():
    assert [(language, file) for language, file, _ in BLOCKS if language != "sh"] == [
        ("python", "mine.py"),
        ("yaml", "grid.yaml"),
    ]
