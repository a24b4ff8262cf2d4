"""Manifests: an edit that contradicts the rest or the shards is named, and so is a file that is no manifest at all."""

import re
import shutil
from pathlib import Path

import pytest
import tiny
import yaml

from mmal_cli.core import datasets, files, shards
from mmal_cli.core.errors import BAD_DATA, WRONG_USE, UserError
from mmal_cli.core.manifest import Run, Strict, check, made
from mmal_cli.device import choose_device

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def edited(tmp_path, tiny_data):
    """Copies the tiny dataset, edits its manifest and reads it as a run does; gives the error."""
    folder = shutil.copytree(tiny_data, tmp_path / "d")

    def read(edit) -> UserError:
        raw = yaml.safe_load((folder / "dataset.yaml").read_text())
        edit(raw)
        (folder / "dataset.yaml").write_text(yaml.safe_dump(raw))
        with pytest.raises(UserError) as caught:
            shards.read_split(folder, datasets.read(folder), "train")
        assert caught.value.code == BAD_DATA
        assert f"{folder}/" in str(caught.value)
        return caught.value

    return read


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "classes",
            5,
            r"expected 5 as classes says; undo that edit; or make it again: mmal make-tiny --out .*d --force",
        ),
        ("weak", "q", "weak is 'q', expected one of a, b"),
        ("name", "../../evil", r"name: String should match pattern .*\(found '../../evil'\)"),
        ("name", "", "name: String should match pattern"),
        ("splits.train.samples", 700, "splits.train.samples is 700, expected 120, the sum of its shards"),
        ("splits.train.shards.0.file", "../x.h5", "splits.train.shards.0.file: String should match pattern"),
        ("modalities.0.name", "b", r"modalities are \['b', 'b'\], expected one or more, all different"),
        ("modalities.0.name", "c", r"train-00000.h5 is not as its manifest says: inputs/c is missing, expected uint8 \(120, "),
        ("modalities.0.shape", [1, 32, 32], r"inputs/a is uint8 \(120, 3, 16, 16\), expected uint8 \(120, 1, 32, 32\); "),
        ("modalities.1.dtype", "int16", r"inputs/b is uint8 \(120, 3, 16, 16\), expected int16 \(120, 3, 16, 16\)"),
    ],
)
def test_an_edit_that_contradicts_the_rest_is_named(edited, key, value, message):
    def edit(raw):
        *way, last = key.split(".")
        for part in way:
            raw = raw[int(part) if part.isdigit() else part]
        raw[last] = value

    assert re.search(message, str(edited(edit)))


def test_fewer_classes_than_labels(edited):
    error = edited(lambda raw: raw.update(classes=2, class_names=["x", "y"]))
    assert "train-00000.h5 is not as its manifest says: label has 2, expected 0 to 1; undo the edit of" in str(error)


def test_another_number_of_samples(edited):
    def edit(raw):
        train = raw["splits"]["train"]
        train["samples"] = train["shards"][0]["samples"] = 119

    assert "expected uint8 (119, 3, 16, 16)" in str(edited(edit))


def test_a_split_or_a_modality_less(edited):
    assert "present is bool (120, 2), expected bool (120, 1)" in str(edited(lambda raw: raw["modalities"].pop(0)))
    assert "splits are ['test'], expected train and test" in str(edited(lambda raw: raw["splits"].pop("train")))


def test_a_damaged_shard_without_the_command_that_made_it(edited):
    def edit(raw):
        raw["made"].pop("command")
        raw["splits"]["train"]["shards"][0]["sha256"] = "0"

    assert str(edited(edit)).endswith("the manifest has 0...")


def test_a_name_that_is_no_folder_ends_the_build_before_its_work(tmp_path):
    with pytest.raises(UserError, match=r"dataset 'a.b': name: String should match"):
        tiny.make(tmp_path / "d", name="a.b")
    assert not (tmp_path / "d").exists()


class Inner(Strict):
    values: list[int] = []


class Outer(Strict):
    name: str
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1], "x.yaml: expected keys and values (found list)"),
        ({"name": "x", "inner": 3}, "x.yaml: inner: expected keys and values (found 3)"),
        ({"inner": {}}, "x.yaml: name: Field required"),
        ({"name": {"page": "y" * 999}}, "x.yaml: name: Input should be a valid string (found dict)"),
        ({"name": "x", "inner": {"values": "y" * 61}}, "x.yaml: inner.values: Input should be a valid list (found str)"),
    ],
)
def test_what_is_found_is_shown_short(raw, message):
    with pytest.raises(UserError) as caught:
        check(Outer, raw, "x.yaml")
    assert str(caught.value) == message


def test_a_cut_record_does_not_fill_a_page(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"format": 1, "kind": "run", "id": "0", "config": {"a": ["b"] * 999}}))
    with pytest.raises(UserError, match=r"run.yaml: inputs: Field required$"):
        Run.read(tmp_path / "run.yaml")


def test_a_path_that_is_no_folder_or_no_file(tmp_path, tiny_data):
    with pytest.raises(UserError, match=rf"is a file, expected a dataset's folder; its folder: {tiny_data}$") as caught:
        datasets.read(tiny_data / "dataset.yaml")
    assert caught.value.code == WRONG_USE
    with pytest.raises(UserError, match=r"dataset.yaml could not be read: Is a directory") as caught:
        files.read_yaml(_folder(tmp_path / "dataset.yaml"))
    assert caught.value.code == BAD_DATA
    with pytest.raises(UserError, match=r"dataset.yaml/x could not be read: Not a directory") as caught:
        files.read_yaml(tiny_data / "dataset.yaml" / "x", code=WRONG_USE)
    assert caught.value.code == WRONG_USE
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"broken.yaml is not a YAML file") as caught:
        files.read_yaml(tmp_path / "broken.yaml", code=WRONG_USE)
    assert caught.value.code == WRONG_USE


def test_a_key_that_stands_twice_is_named(tmp_path):
    (tmp_path / "card.yaml").write_text("modalities:\n  v: {kind: image}\n  w: {kind: image, kind: vector}\nmodalities: {}\n")
    with pytest.raises(UserError, match=r"card.yaml: 'modalities' stands twice, again in line 4"):
        files.read_yaml(tmp_path / "card.yaml")
    (tmp_path / "card.yaml").write_text("a: &one {lr: 1}\nb: {<<: *one, lr: 2, on: {lr: 3}}\n")
    assert files.read_yaml(tmp_path / "card.yaml")["b"] == {"lr": 2, True: {"lr": 3}}
    (tmp_path / "card.yaml").write_text("a: &a {x: 1}\nb: {c: &b {<<: *a, x: 2}}\nd: {<<: *b, y: 1}\n1: one\n'1': text\n")
    assert files.read_yaml(tmp_path / "card.yaml")["d"] == {"x": 2, "y": 1}


@pytest.mark.parametrize("text", ["a: 2026-13-45", "a: " + "9" * 5000])
def test_a_value_that_cannot_be_read(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError, match=r"run.yaml is not a YAML file: "):
        files.read_yaml(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config", {}, "config.settings is None, expected keys and values"),
        ("config", {"settings": 3}, "config.settings is 3, expected keys and values"),
        ("config", {"settings": {"model": None}}, "config.settings.model is None, expected keys and values"),
        ("config", {"settings": {}, "own_files": ["a"]}, "config.own_files is ['a'], expected keys and values"),
        ("inputs", {"dataset": "a"}, "inputs.dataset is 'a', expected keys and values"),
        ("made", {"command": "mmal al-run --qm don't"}, 'made.command is "mmal al-run --qm don\'t", expected words of a shell'),
        ("made", {"command": 3}, "made.command is 3, expected words of a shell"),
    ],
)
def test_a_record_that_readers_would_stumble_over(tmp_path, key, value, message):
    whole = {"format": 1, "kind": "run", "id": "0", "config": {"settings": {}}, "inputs": {}, "cycles": [], "made": {}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(whole))
    Run.read(tmp_path / "run.yaml")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(whole | {key: value}))
    with pytest.raises(UserError, match=re.escape(f"run.yaml: {message}")):
        Run.read(tmp_path / "run.yaml")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("data/synergy-small", "mmal gen-quint --setting synergy-small --train 3000 --test 900 --size 32"),
        ("data/share", "mmal prepare-share SOURCE"),
        ("data/mine", "mmal gen-quint --setting synergy --out data/mine"),
        ("else where/unique", "mmal gen-quint --setting unique --out 'else where/unique'"),
        ("else/share", "mmal prepare-share SOURCE --out else/share"),
    ],
)
def test_a_missing_dataset_names_the_command_that_makes_this_folder(folder, command):
    with pytest.raises(UserError) as caught:
        datasets.read(Path(folder))
    assert str(caught.value) == f"{folder}/dataset.yaml not found; make it by: {command}"


@pytest.mark.parametrize("gpu", ["²", "٣", "-1", ""])
def test_what_is_no_number_of_a_gpu(gpu):
    with pytest.raises(UserError, match="is not auto, none or a number"):
        choose_device(gpu)


def test_two_writers_of_one_file_have_two_names(tmp_path):
    with files.atomic(tmp_path / "x") as one, files.atomic(tmp_path / "x") as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")


def test_what_was_made_names_the_commit_of_a_checkout():
    found = made(0.0, "mmal x", ("numpy", "no-such-package"))
    assert found["versions"]["no-such-package"] == "not installed"
    if (ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{12}\+?", found["commit"])
    else:
        assert "commit" not in found
