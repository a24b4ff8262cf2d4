"""docs/extending.md keeps its promise: its blocks, run one after the other in an empty folder, end with a row of a table."""

import pages
import yaml

from mmal_cli.core import plugins


def test_from_an_empty_file_to_a_row_of_table_2(tmp_path):
    work, said = pages.run("extending.md", tmp_path)
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
    assert [(language, file) for language, file, _ in pages.blocks("extending.md") if language != "sh"] == [
        ("python", "mine.py"),
        ("yaml", "grid.yaml"),
    ]
