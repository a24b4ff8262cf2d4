"""The whole chain as a user types it: gen-quint, al-run (two methods, two seeds), aulc, rank, first each in its own process."""

import json

import yaml

SMALL = ["--with", "quick", "--gpu", "none", "--set", "train.epochs=2", "--set", "train.min_epoch_samples=64"]
SMALL += ["--set", "regimes.low.cycles=3", "--set", "regimes.low.start=2C", "--set", "regimes.low.query=1C"]


def test_from_images_to_ranks(alone, mmal, tmp_path):
    made = alone("gen-quint", "--setting", "synergy-small", "--train", 400, "--test", 90, "--size", 32, cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "data/synergy-small\n"), made.stderr
    for qm, run in (("random", alone), ("badge", mmal)):
        for seed in (0, 1):
            done = run("al-run", "--qm", qm, "--regime", "low", "--seed", seed, *SMALL, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (0, f"runs/synergy-small/low/{qm}/seed-{seed}\n"), done.stderr
    again = mmal("al-run", "--qm", "badge", "--regime", "low", "--seed", 1, *SMALL, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "already done: runs/synergy-small/low/badge/seed-1\n")

    table = alone("aulc", "runs", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "b (weak) x3" in table.stdout
    rows = yaml.safe_load((tmp_path / "results" / "aulc.yaml").read_text())["rows"]
    assert [(row["qm"], row["seeds"]) for row in rows] == [("badge", [0, 1]), ("random", [0, 1])]
    record = yaml.safe_load((tmp_path / "runs/synergy-small/low/badge/seed-1/run.yaml").read_text())
    curve = [cycle["metrics"]["a+b"]["balanced_accuracy"] for cycle in record["cycles"]]
    assert rows[0]["subsets"]["a+b"]["aulc"]["values"][1] == (curve[0] + curve[1]) / 2 + (curve[1] + curve[2]) / 2

    ranked = alone("rank", "results/aulc.yaml", "--json", cwd=tmp_path)
    assert ranked.returncode == 0, ranked.stderr
    assert sum(json.loads(ranked.stdout)["sums"]["low"].values()) == 3

    (tmp_path / "runs/synergy-small/low/badge/seed-1/run.yaml").unlink()
    assert mmal("aulc", "runs", cwd=tmp_path).returncode == 0
    lacking = mmal("rank", "results/aulc.yaml", cwd=tmp_path)
    assert lacking.returncode == 3
    assert (
        "runs/synergy-small/low/badge lacks seed 1 (random has 0 1); run it: mmal al-run --data data/synergy-small --qm badge"
        in (lacking.stderr)
    )
    assert mmal("rank", "results/aulc.yaml", "--allow-incomplete", cwd=tmp_path).returncode == 0
