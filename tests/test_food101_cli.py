"""`mmal prepare-food101` and what follows it, as a user types it."""

import json
import shutil

import fake_food101 as fake
import pytest
import yaml

TINY = ["--regime", "low", "--with", "quick", "--gpu", "none", "--set", "train.min_epoch_samples=16"]
TINY += [f"regimes.low.{key}={value}" for key, value in {"start": "2C", "validation": "2C", "query": "1C", "cycles": 2}.items()]
TINY = [word for part in TINY for word in (("--set", part) if part.startswith("regimes") else (part,))]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return fake.make(tmp_path_factory.mktemp("source") / "upmc", odd=True)


def test_the_table_and_the_folder_are_the_result(mmal, source, tmp_path):
    words = ["prepare-food101", source, "--size", 32, "--out", "food", "--max-tokens", 32]
    done = mmal(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *table, folder = done.stdout.splitlines()
    assert folder == "food"
    found = {
        " ".join(line.split()[:-2]): line.split()[-2:] for line in table if line.split()[-1:] and line.split()[-1].isdigit()
    }
    assert found["images"] == ["134", "40"]
    assert found["left out: row malformed"] == ["1", "0"]
    assert found["left out: image truncated"] == ["2", "0"]
    assert found["samples"] == ["127", "40"]
    assert found["text empty"] == ["2", "0"]
    said = done.stderr.splitlines()
    assert said[0].startswith(f"{source} has the layout titles: images/{{train,test}}/<class>/*.jpg + texts/")
    assert any(line.startswith("reading: 171 of 171 files, done") for line in said)
    assert any(line.startswith("food101: 171 of 171 images, done") for line in said)
    again = mmal(*words, "--jobs", 1, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "already done: food" in again.stderr.splitlines()
    manifest = (tmp_path / "food" / "dataset.yaml").read_text()
    assert str(source) not in manifest
    command = "mmal prepare-food101 SOURCE --text titles --max-tokens 32 --size 32 --seed 0"
    assert yaml.safe_load(manifest)["made"]["command"] == command
    other = mmal(*words, "--seed", 1, cwd=tmp_path)
    assert (other.returncode, other.stdout) == (2, "")
    assert "seed (there 0, asked 1); choose another --out, or --force" in other.stderr


def test_a_class_that_train_lacks_is_reported(mmal, tmp_path):
    source = fake.make(tmp_path / "s", {"train": 2, "test": 2})
    shutil.rmtree(source / "images" / "train" / "tacos")
    done = mmal("prepare-food101", source, "--size", 32, "--jobs", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: train has no sample of tacos; runs refuse such a dataset" in done.stderr.splitlines()


def test_what_is_missing_is_one_message(mmal, source, tmp_path):
    done = mmal("prepare-food101", tmp_path / "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"error: {tmp_path / 'nowhere'} not found, expected a folder with images/ and texts/ or texts_txt/\n"
    done = mmal("prepare-food101", source, "--minilm", tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"error: {tmp_path} lacks config.json, model.safetensors, tokenizer.json" in done.stderr
    assert not list(tmp_path.iterdir())


def test_from_files_to_ranks(mmal, source, tmp_path):
    assert mmal("prepare-food101", source, "--size", 32, cwd=tmp_path).returncode == 0
    words = ["--data", "data/food101", *TINY, "--set", "train.epochs=2"]
    for qm in ("random", "badge"):
        done = mmal("al-run", "--qm", qm, *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"runs/food101/low/{qm}/seed-0\n"), done.stderr
    again = mmal("al-run", "--qm", "badge", *words, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "already done: runs/food101/low/badge/seed-0\n")
    table = mmal("aulc", "runs", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "image (weak)" in table.stdout
    ranked = mmal("rank", "results/aulc.yaml", "--json", cwd=tmp_path)
    assert ranked.returncode == 0, ranked.stderr
    assert sum(json.loads(ranked.stdout)["sums"]["low"].values()) == 3

    words += ["--set", "train.epochs=1", "--set", "train.lr=0.001", "--set", "model.encoders.tokens=minilm", "--out", "real"]
    done = mmal("al-run", "--qm", "random", *words, cwd=tmp_path)  # the real MiniLM, trained on
    assert done.returncode == 0, done.stderr
    record = yaml.safe_load((tmp_path / done.stdout.strip() / "run.yaml").read_text())
    assert record["config"]["settings"]["model"]["encoders"]["tokens"] == "minilm"
    assert len(record["cycles"]) == 2
