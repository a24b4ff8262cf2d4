"""`mmal` as typed: the help, bad input with one message and the right exit code, and a GPU that is not there."""

import sys

import pytest
import tiny
import torch

WRONG_USE, BAD_DATA = 2, 3
QUICK = ("--regime", "low", "--with", "quick", *(word for text in tiny.BUDGET for word in ("--set", text)))


def refused(done, code: int, message: str) -> None:
    """One line on stderr, nothing on stdout, no traceback."""
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_help_lists_the_stages_in_their_order(mmal):
    said = mmal("--help").stdout
    places = [said.index(f" {name} ") for name in ("gen-quint", "prepare-share", "al-run", "aulc", "rank", "bench", "ls")]
    assert places == sorted(places)
    assert mmal("--version").stdout.startswith("mmal 0.")


def test_help_imports_nothing_heavy():
    import subprocess

    script = (
        "import sys; from mmal_cli.app import build; build()\n"
        "print([m for m in ('torch', 'h5py', 'numpy', 'transformers', 'scipy', 'sklearn', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_method_or_regime_offers_the_nearest(mmal, tiny_data):
    done = mmal("al-run", "--data", tiny_data, "--qm", "badg", *QUICK)
    refused(done, WRONG_USE, "error: unknown query method 'badg'; did you mean 'badge'? (known: badge, bald,")
    done = mmal("al-run", "--data", tiny_data, "--qm", "badge", "--regime", "hihg")
    refused(done, WRONG_USE, "error: unknown regime 'hihg'; did you mean 'high'? (known: high, low, mid")


def test_a_dataset_that_is_not_there_says_how_to_make_it(mmal, tmp_path):
    done = mmal("al-run", "--data", "data/share", "--qm", "badge", *QUICK, cwd=tmp_path)
    refused(done, BAD_DATA, "error: data/share/dataset.yaml not found; make it by: mmal prepare-share SOURCE")
    done = mmal("al-run", "--qm", "badge", *QUICK, cwd=tmp_path)
    refused(done, BAD_DATA, "error: no dataset under data/; make one, for instance: mmal gen-quint --setting synergy")


def test_without_data_the_only_dataset_is_taken_and_several_are_named(mmal, tmp_path):
    tiny.make(tmp_path / "data" / "one")
    done = mmal("al-run", "--qm", "random", *QUICK, "--print-config", cwd=tmp_path)
    assert done.returncode == 0
    assert "budget.start" in done.stdout
    tiny.make(tmp_path / "data" / "two")
    done = mmal("al-run", "--qm", "random", *QUICK, cwd=tmp_path)
    refused(done, WRONG_USE, "error: 2 datasets under data/; name one: --data data/one | --data data/two")


def test_a_dataset_that_is_not_complete_or_harmed(mmal, tmp_path):
    tiny.make(tmp_path / "d")
    shard = tmp_path / "d" / "train-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-10])
    done = mmal("al-run", "--data", tmp_path / "d", "--qm", "random", *QUICK, "--gpu", "none", "--out", tmp_path / "runs")
    refused(done, BAD_DATA, "train-00000.h5 is damaged or edited: sha256")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "d" / "dataset.yaml").unlink()
    done = mmal("al-run", "--data", tmp_path / "d", "--qm", "random", *QUICK)
    refused(done, BAD_DATA, "is not complete: it has shards and no dataset.yaml; give its command again")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_says_so_and_names_the_way_out(mmal, tiny_data, tmp_path):
    done = mmal("al-run", "--data", tiny_data, "--qm", "grace", "--regime", "mid", "--gpu", "0", "--out", tmp_path)
    refused(done, WRONG_USE, "error: GPU 0 is not there: torch")
    assert done.stderr.rstrip().endswith("sees no GPU; run on the CPU: --gpu none")
    assert list(tmp_path.iterdir()) == []
    done = mmal("al-run", "--data", tiny_data, "--qm", "grace", *QUICK, "--gpu", "one")
    refused(done, WRONG_USE, "--gpu 'one' is not auto, none or a number")


def test_a_folder_that_cannot_be_written(mmal, tiny_data, tmp_path):
    (tmp_path / "runs").write_text("a file stands where the folder should be")
    words = ("--set", "train.epochs=1", "--set", "train.warmup_epochs=0", "--set", "train.min_epoch_samples=8")
    done = mmal("al-run", "--data", tiny_data, "--qm", "random", *QUICK, *words, "--gpu", "none", "--out", tmp_path / "runs")
    refused(done, BAD_DATA, "could not be written: Not a directory")


@pytest.mark.parametrize(("file", "kept"), [("cycle-01.h5", {"cycle-00.h5", "run.log"}), ("*.pt", {"run.log"})])
def test_a_disk_that_is_full_while_a_run_writes_loses_nothing_that_was_finished(tiny_data, tmp_path, file, kept):
    """A limit on file sizes, set before one file is written, stands for the full disk."""
    import subprocess

    script = (
        "import fnmatch, resource, sys\nfrom mmal_cli import app\nfrom mmal_cli.core import files\n"
        "real = files.atomic\n"
        "def atomic(path):\n"
        f"    if fnmatch.fnmatch(path.name, {file!r}): resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "    return real(path)\n"
        "files.atomic = atomic\n"
        "app.main()\n"
    )
    words = ["al-run", "--data", str(tiny_data), "--qm", "random", *QUICK, "--gpu", "none", "--out", str(tmp_path)]
    words += ["--set", "train.epochs=1", "--set", "train.warmup_epochs=0", "--set", "train.min_epoch_samples=8"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    refused(done, BAD_DATA, "could not be written: File too large; nothing half-written was kept")
    assert {path.name for path in (tmp_path / "tiny/low/random/seed-0").iterdir()} == kept
    assert list((tmp_path / "tiny/low").rglob("*.part")) == []


def test_tables_are_never_cut_and_take_any_text(mmal, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "a[b]").mkdir()
    overlay = tmp_path / "a[b]" / "[red]mine.yaml"
    overlay.write_text("train: {lr: 0.125}\n")
    words = ("al-run", "--data", tiny_data, "--qm", "random", *QUICK, "--with", overlay, "--print-config")
    said = mmal(*words).stdout
    assert "model.fusion_options.feedforward" in said
    assert "…" not in said
    assert next(line for line in said.splitlines() if "train.lr " in line).split() == ["train.lr", "0.125", str(overlay)]
