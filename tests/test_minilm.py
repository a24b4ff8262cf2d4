"""Where MiniLM lies, what a run with it is known by, and that its tokens are the dataset's."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from mmal_cli import first
from mmal_cli.cell import Cell
from mmal_cli.core import files, minilm
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.settings import resolve
from mmal_cli.model import build

COMMIT = "0123456789" * 4


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """No package, an empty cache (the folder that is returned) and no network."""

    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return tmp_path / "hub"


def filled(folder: Path, names=minilm.NEEDED, text: str = "") -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(text)
    return folder


def cached(hub: Path, names=minilm.NEEDED) -> Path:
    """A cache as the hub makes it."""
    repository = hub / "models--sentence-transformers--all-MiniLM-L6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return filled(repository / "snapshots" / COMMIT, names)


def test_the_folder_given_comes_first_then_the_package_then_the_cache(nowhere, tmp_path, monkeypatch):
    folder = cached(nowhere)
    assert minilm.find().samefile(folder)
    package = filled(tmp_path / "some_package" / "model").parent
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(minilm, "PACKAGE", "some_package")
    assert minilm.find() == package / "model"
    assert minilm.find(str(folder)) == folder
    (package / "model" / "config.json").unlink()
    assert minilm.find().samefile(folder)


def test_a_folder_that_lacks_files_names_them(tmp_path):
    folder = filled(tmp_path / "mine", ["config.json"])
    with pytest.raises(UserError, match=f"{folder} lacks model.safetensors, tokenizer.json; expected the files of") as error:
        minilm.find(str(folder))
    assert error.value.code == BAD_DATA


@pytest.mark.parametrize("partial", [False, True])
def test_nothing_found_says_where_it_looked_and_what_helps(nowhere, partial):
    if partial:
        cached(nowhere, ["config.json"])
    with pytest.raises(UserError, match=r"all-MiniLM-L6-v2 not found: neither the package .* nor the local .* cache") as error:
        minilm.find()
    assert error.value.code == BAD_DATA
    install = ".venv/bin/python -m pip install -e '.[food101]'"
    for words in (install, "--minilm DIR", "--set model.encoder_options.minilm.folder=DIR"):
        assert words in str(error.value)


def test_a_download_that_fails_is_one_message(nowhere, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"all-MiniLM-L6-v2 could not be downloaded: .*; install it in mmal's folder"):
        minilm.find(download=True)


def test_finding_it_loads_neither_torch_nor_the_package():
    code = (
        "import sys; from mmal_cli.core import minilm; print(minilm.vocabulary(minilm.find()))\n"
        "assert not {'torch', 'transformers', minilm.PACKAGE} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == minilm.vocabulary(minilm.find())


def test_a_vocabulary_is_known_by_its_content(tmp_path):
    text = (minilm.find() / minilm.TOKENIZER).read_text()
    of = {}
    for name, changed in {"same": text, "other": text.replace('"pie":', '"pi3":'), "broken": text[:-9]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / minilm.TOKENIZER).write_text(changed)
        if name != "broken":
            of[name] = minilm.vocabulary(tmp_path / name)
    assert of["same"] == minilm.vocabulary(minilm.find()) != of["other"]
    with pytest.raises(UserError, match=r"broken/tokenizer.json is not a tokenizer"):
        minilm.vocabulary(tmp_path / "broken")


def recipes(vocabulary: str | None = None) -> Dataset:
    """A manifest of photos and titles."""
    title = {"name": "title", "kind": "tokens", "shape": [2, 16], "dtype": "int32", "vocabulary": vocabulary}
    photo = {"name": "photo", "kind": "image", "shape": [3, 16, 16], "dtype": "uint8"}
    rest = {"recipe": {}, "class_names": [], "targets": [], "counts": {}, "made": {}}
    rest["splits"] = {"train": {"samples": 60_000, "shards": []}}
    return Dataset(id="0" * 12, name="own", classes=10, modalities=[photo, title], **rest)


def cell(*assignments: str, overlays=()) -> Cell:
    dataset = recipes()
    settings = resolve(dataset, "low", "random", overlays, ["model.encoders.image=convnet", *assignments])[0]
    return Cell(dataset, "random", "low", 0, settings)


def test_a_run_is_known_by_its_weights_and_not_by_their_place(tmp_path):
    one, two = (filled(tmp_path / name, text=text) for name, text in (("one", "same"), ("two", "same")))
    other = filled(tmp_path / "other", text="other")
    contents = [cell(f"model.encoder_options.minilm.folder={folder}").content for folder in (one, two, other)]
    assert contents[0]["weights"]["tokens"] == {
        "weights": files.sha256(one / minilm.WEIGHTS), "config": files.sha256(one / "config.json")
    }  # fmt: skip
    assert contents[0]["settings"]["model"]["encoder_options"] == {}
    assert str(tmp_path) not in str(contents)
    assert contents[0] == contents[1]
    assert contents[0]["weights"] != contents[2]["weights"]
    assert cell().content["weights"]["tokens"]["weights"] == files.sha256(minilm.find() / minilm.WEIGHTS)
    assert first._depends_on(cell(), 0.0, torch.device("cpu"))["weights"] == cell().content["weights"]


def test_a_run_without_pretrained_weights_has_none():
    small = cell("model.encoder_options.wordbag.dim=8", overlays=["quick"])
    assert "weights" not in small.content
    assert "weights" not in first._depends_on(small, 0.0, torch.device("cpu"))
    assert small.content["settings"]["model"]["encoder_options"] == {"wordbag": {"dim": 8}}


def test_an_option_that_the_encoder_does_not_have_is_named():
    with pytest.raises(UserError, match=r"minilm: .*unexpected keyword argument 'fold'"):
        _ = cell("model.encoder_options.minilm.fold=x").content


@pytest.mark.parametrize("encoder", ["minilm", "wordbag"])
def test_tokens_of_another_vocabulary_are_refused_by_an_encoder_that_has_one(encoder):
    settings = cell(f"model.encoders.tokens={encoder}").settings
    build(recipes(minilm.vocabulary(minilm.find())).modalities, 10, settings, 0.0, 7)
    if encoder == "wordbag":
        build(recipes("0" * 12).modalities, 10, settings, 0.0, 7)
    else:
        with pytest.raises(UserError, match=r"tokens of 'title' are of vocabulary 0{12}, encoder 'minilm' reads [0-9a-f]{12};"):
            build(recipes("0" * 12).modalities, 10, settings, 0.0, 7)


@pytest.mark.parametrize("damage", ["cut", "foreign", "config"])
def test_weights_that_cannot_be_read_are_one_message(damage, tmp_path):
    from safetensors.torch import save_file

    folder = tmp_path / "mine"
    folder.mkdir()
    for name in minilm.NEEDED:
        (folder / name).symlink_to(minilm.find() / name)
    target = folder / ("config.json" if damage == "config" else minilm.WEIGHTS)
    whole = target.read_bytes()
    target.unlink()
    if damage == "foreign":
        save_file({"x": torch.zeros(1)}, target)
    else:
        target.write_bytes(whole[: len(whole) // 2])
    message = {"cut": "could not be read", "config": "could not be read", "foreign": r"lacks \d+ weights of BERT"}[damage]
    with pytest.raises(UserError, match=message) as error:
        build(recipes().modalities, 10, cell(f"model.encoder_options.minilm.folder={folder}").settings, 0.0, 7)
    assert error.value.code == BAD_DATA
