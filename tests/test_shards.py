"""Shards and folders: whole or absent, checked when read, continued when interrupted, and never another's."""

import resource
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tiny
import yaml

from mmal_cli.core import files, shards
from mmal_cli.core.build import Plan, build
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.data import load_split


def read(folder, split="train"):
    return shards.read_split(folder, Dataset.read(folder / "dataset.yaml"), split)


def test_what_is_written_is_read_and_the_samples_do_not_depend_on_the_shards(tmp_path):
    one = tiny.make(tmp_path / "one", absent={"a": 0.9})
    many = tiny.make(tmp_path / "many", absent={"a": 0.9}, shard_bytes=20_000)
    assert len(one.splits["train"].shards) == 1
    assert len(many.splits["train"].shards) > 5
    assert one.id == many.id
    a, b = read(tmp_path / "one"), read(tmp_path / "many")
    assert all(np.array_equal(a.columns()[name], b.columns()[name]) for name in a.columns())
    assert a.id[7] == "train-00000007"
    assert a.inputs["a"].dtype == np.uint8
    assert not a.inputs["a"][~a.present[:, 0]].any()
    split = load_split(tmp_path / "one", one, "train")
    assert split.names == ("a", "b")
    assert split.batch(split.labels.new_tensor([3, 1])).labels.tolist() == [0, 1]


def test_a_finished_dataset_is_not_made_again_and_another_is_refused(tmp_path):
    tiny.make(tmp_path / "d")
    stamp = (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns
    tiny.make(tmp_path / "d")
    assert (tmp_path / "d" / "train-00000.h5").stat().st_mtime_ns == stamp
    message = r"d belongs to another configuration: train \(there 120, asked 90\); choose another --out, or --force"
    with pytest.raises(UserError, match=message):
        tiny.make(tmp_path / "d", train=90)
    assert tiny.make(tmp_path / "d", train=90, force=True).splits["train"].samples == 90


def test_a_build_that_was_interrupted_goes_on_with_its_shards(tmp_path, monkeypatch):
    whole, real = tiny.make(tmp_path / "whole", shard_bytes=50_000), tiny.samples

    def dies(start, stop, *rest):
        for sample in real(start, stop, *rest):
            if sample.id[0] == "train-00000100":
                raise KeyboardInterrupt
            yield sample

    monkeypatch.setattr(tiny, "samples", dies)
    with pytest.raises(KeyboardInterrupt):
        tiny.make(tmp_path / "d", shard_bytes=50_000)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d").iterdir()}
    assert kept
    assert not [name for name in kept if "part" in name]
    monkeypatch.setattr(tiny, "samples", real)
    assert tiny.make(tmp_path / "d", shard_bytes=50_000).splits == whole.splits
    assert all((tmp_path / "d" / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())


def leaving_out(folder, unusable, interrupt_at=None, **options):
    """The tiny dataset without the samples whose number `unusable` says; made chunk by chunk of ten."""

    def chunks(split, start, stop):
        for first in range(start, stop, 10):
            if (split, first) == interrupt_at:
                raise KeyboardInterrupt
            kept = [k for k in range(first, min(first + 10, stop)) if not unusable(k)]
            parts = [p for k in kept or [first] for p in tiny.samples(k, k + 1, 3, ("a", "b"), {"a": 0.5}, split)]
            columns = {name: np.concatenate([p.columns()[name] for p in parts])[: len(kept)] for name in parts[0].columns()}
            yield shards.Samples(
                {name: columns[f"inputs/{name}"] for name in ("a", "b")},
                columns["present"],
                columns["label"],
                np.char.decode(columns["id"], "utf-8"),
                {"shape": columns["factors/shape"]},
                dropped={"unusable": min(first + 10, stop) - first - len(kept)},
                noted={"even": sum(k % 2 == 0 for k in kept)},
            )

    plans = {split: Plan(n, lambda a, b, s=split: chunks(s, a, b), exact=False) for split, n in (("train", 120), ("test", 30))}
    head = tiny.head("tiny", 120, 30, 3, {}, ("a", "b")) | {"counts": {"train": {"rows": 120}}}
    return build(folder, head, plans, command="mmal make-tiny", **options)[0]


def test_samples_that_cannot_be_used_are_left_out_and_counted(tmp_path):
    made = leaving_out(tmp_path / "d", lambda k: k % 7 == 0 or k < 20, shard_bytes=20_000)
    read_back = read(tmp_path / "d")
    usable = [k for k in range(120) if k % 7 and k >= 20]
    assert read_back.id.tolist() == [f"train-{k:08d}" for k in usable]
    assert made.splits["train"].samples == len(usable) == len(read_back.inputs["a"])
    assert len(made.splits["train"].shards) > 5
    counts = made.counts["train"]
    assert counts["classes"] == np.bincount([k % 3 for k in usable]).tolist()
    assert counts["dropped"] == {"unusable": 120 - len(usable)}
    assert counts["noted"] == {"even": sum(k % 2 == 0 for k in usable)}
    assert sum(counts["present"].values()) == len(usable)
    assert counts["present"].keys() == {"a+b", "b"}
    assert counts["rows"] == 120


def test_a_build_that_leaves_samples_out_goes_on_where_it_was_interrupted(tmp_path):
    def unusable(k):
        return k % 5 == 0

    whole = leaving_out(tmp_path / "whole", unusable, shard_bytes=50_000)
    with pytest.raises(KeyboardInterrupt):
        leaving_out(tmp_path / "d", unusable, ("train", 106), shard_bytes=50_000)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d").iterdir()}
    assert kept
    again = leaving_out(tmp_path / "d", unusable, shard_bytes=50_000)
    assert (again.splits, again.counts) == (whole.splits, whole.counts)
    assert all((tmp_path / "d" / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())


def test_a_split_of_which_nothing_is_left_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"d: no sample of train can be used \(unusable: 120\)") as caught:
        leaving_out(tmp_path / "d", lambda k: True)
    assert caught.value.code == BAD_DATA


@pytest.mark.parametrize("harm", ["truncate", "edit", "remove"])
def test_a_harmed_shard_is_named_and_made_again_by_the_same_command(tmp_path, harm):
    tiny.make(tmp_path / "d")
    shard = tmp_path / "d" / "train-00000.h5"
    if harm == "truncate":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif harm == "edit":
        with h5py.File(shard, "r+") as file:
            file["label"][5] = 2 - file["label"][5]
    else:
        shard.unlink()
    said = "not found" if harm == "remove" else "is damaged or edited: sha256"
    with pytest.raises(UserError, match=rf"train-00000.h5 {said}.*make it again: mmal make-tiny --out .*d") as caught:
        read(tmp_path / "d")
    assert caught.value.code == BAD_DATA
    tiny.make(tmp_path / "d")
    tiny.make(tmp_path / "fresh")
    assert np.array_equal(read(tmp_path / "d").label, read(tmp_path / "fresh").label)


@pytest.mark.parametrize("force", [False, True])
def test_what_a_killed_build_left_is_removed(tmp_path, force):
    (tmp_path / "d").mkdir()
    for name in ("train-00000.h5.12-ab.part", "train-00007.h5.12.part", "mine.part"):
        (tmp_path / "d" / name).touch()
    tiny.make(tmp_path / "d", force=force)
    assert {path.name for path in (tmp_path / "d").iterdir()} == {
        "dataset.yaml", "test-00000.h5", "train-00000.h5", "mine.part"
    }  # fmt: skip


def test_another_format_is_refused_by_name(tmp_path):
    tiny.make(tmp_path / "d")
    raw = yaml.safe_load((tmp_path / "d" / "dataset.yaml").read_text())
    (tmp_path / "d" / "dataset.yaml").write_text(yaml.safe_dump(raw | {"format": 2}))
    with pytest.raises(UserError, match=r"dataset.yaml has format 2, this mmal \S+ reads format 1"):
        Dataset.read(tmp_path / "d" / "dataset.yaml")
    (tmp_path / "d" / "dataset.yaml").write_text(yaml.safe_dump(raw | {"clases": 3}))
    with pytest.raises(UserError, match=r"unknown key 'clases'; did you mean 'classes'\?"):
        Dataset.read(tmp_path / "d" / "dataset.yaml")
    (tmp_path / "d" / "dataset.yaml").write_text("kind: run\n")
    with pytest.raises(UserError, match=r"holds 'run', expected kind 'dataset'"):
        Dataset.read(tmp_path / "d" / "dataset.yaml")


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    """The limit on a file's size makes the write fail as a full disk does, inside HDF5."""
    script = (
        "import sys, tiny, resource; from pathlib import Path; from mmal_cli.core.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "try: tiny.make(Path(sys.argv[1]))\n"
        "except UserError as error: print(error.code, error)\n"
    )
    assert resource.RLIMIT_FSIZE
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "d")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": "tests"})
    assert done.stdout.startswith("3 "), done.stderr
    assert "train-00000.h5 could not be written" in done.stdout
    assert list((tmp_path / "d").iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "d").write_text("a file stands where the folder should be")
    with pytest.raises(UserError, match=r"d/train-00000.h5 could not be written: .*; nothing half-written was kept"):
        tiny.make(tmp_path / "d")


def test_identity_is_of_content():
    assert files.identity({"a": 1, "b": [1, 2]}) == files.identity({"b": [1, 2], "a": 1})
    assert files.identity({"a": 1}) != files.identity({"a": 2})
    assert len(files.identity({})) == 12


def test_ctrl_c_while_a_file_is_open_is_raised_when_it_is_closed(tmp_path, monkeypatch):
    """Wherever it comes, h5py's weak references among it, it is not lost."""
    shards.write_arrays(tmp_path / "x.h5", {"a": np.arange(3)}, {})
    real = shards._names

    def interrupted(file):
        signal.raise_signal(signal.SIGINT)
        return real(file)

    monkeypatch.setattr(shards, "_names", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        shards.read_arrays(tmp_path / "x.h5")
    assert signal.getsignal(signal.SIGINT) is before
