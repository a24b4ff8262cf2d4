"""The Food-101 dataset: both layouts, everything odd counted, the same content the same dataset, interrupted or not."""

import contextlib
import shutil
from pathlib import Path

import fake_food101 as fake
import numpy as np
import pytest

from data_recipes import texts as tokens
from data_recipes.food101 import layouts, recipe
from data_recipes.workers import processes
from mmal_cli.core import minilm, settings, shards
from mmal_cli.core.build import build
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset

SAID = {"size": 32, "seed": 0, "vocabulary": "v"}
TOKENS = 64


def here(make, tasks):
    """All in this process."""
    return (make(*task) for task in tasks)


def read(source: Path, in_order=here, layout: str = "titles", **said) -> recipe.Food101:
    return recipe.read(source, layout, minilm.find(), TOKENS, in_order, **SAID | said)


def made(folder: Path, food: recipe.Food101, in_order=here, **options) -> Dataset:
    return build(folder, recipe.head(food), recipe.plans(food, in_order), command="mmal prepare-food101 SOURCE", **options)[0]


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    return fake.make(tmp_path_factory.mktemp("odd"), odd=True)


@pytest.fixture(scope="module")
def odd_data(odd, tmp_path_factory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("data") / "food101"
    return folder, made(folder, read(odd))


def test_everything_odd_is_counted_and_nothing_is_fatal(odd_data):
    counts = odd_data[1].counts
    assert counts["train"]["unmatched"] == fake.UNMATCHED
    assert counts["train"]["dropped"] == fake.DROPPED
    assert counts["train"]["noted"] == fake.NOTED
    assert counts["train"]["images"] == 120 + 14
    assert counts["train"]["texts"] == 120 + 17
    assert counts["train"]["classes"] == [30, 37, 30, 30]
    assert counts["train"]["present"] == {"image+text": 127}
    assert counts["test"]["classes"] == [10] * 4
    assert counts["test"]["unmatched"] == counts["test"]["dropped"] == counts["test"]["noted"] == {}


def test_a_sample_is_an_image_its_title_and_its_class(odd_data):
    folder, dataset = odd_data
    assert dataset.class_names == list(fake.CLASSES)
    assert (dataset.weak, dataset.targets, dataset.restricted, dataset.ceiling) == ("image", ["class"], False, {})
    image, text = dataset.modalities
    assert (image.name, image.kind, image.shape, image.vocabulary) == ("image", "image", (3, 32, 32), None)
    assert (text.name, text.kind, text.shape, text.vocabulary) == ("text", "tokens", (2, 16), "v")
    test, pieces = shards.read_split(folder, dataset, "test"), tokens.tokenizer(minilm.find(), TOKENS)
    colours = np.array([fake.COLOURS[fake.CLASSES[label]] for label in test.label])
    assert np.abs(test.inputs["image"].mean((2, 3)) - colours).max() < 15
    ids, mask = test.inputs["text"][:, 0], test.inputs["text"][:, 1]
    said = [tuple(row[real == 1]) for row, real in zip(ids, mask, strict=True)]
    expected = {tuple(pieces.encode(fake.title(c, k)).ids): n for n, c in enumerate(fake.CLASSES) for k in range(10)}
    assert dict(zip(said, test.label, strict=True)) == expected
    assert not (ids * (1 - mask)).any()


def test_the_papers_settings_are_its_protocol(odd_data):
    chosen = {regime: settings.resolve(odd_data[1], regime, "badge")[0] for regime in ("low", "mid", "high")}
    budgets = {regime: tuple(found.budget.model_dump().values()) for regime, found in chosen.items()}
    assert budgets == {"low": (505, 2525, 505, 10), "mid": (1010, 5050, 1010, 10), "high": (5050, 5050, 5050, 5)}
    train, model = chosen["low"].train, chosen["low"].model
    assert (train.epochs, train.batch_size, train.lr, train.weight_decay) == (60, 128, 0.1, 5e-4)
    assert (train.augmentation, train.moddrop.enabled) == ("randaug", True)
    assert (model.encoders["image"], model.encoders["tokens"]) == ("efficientnet", "minilm")
    assert chosen["low"].normalise["image"].mean == [0.485, 0.456, 0.406]


def test_samples_are_in_random_order_decided_by_the_seed(odd, odd_data):
    train = shards.read_split(*odd_data, "train")
    assert (np.diff(train.label) < 0).sum() > 30
    assert len(set(train.id)) == 127
    assert train.id[0] == "train-00000000"
    assert train.id[-1] == "train-00000130", "numbers are of the 131 pairs that were tried"
    chunks = recipe.plans(read(odd, seed=1), here)["test"].chunks(0, 40)
    assert not np.array_equal(np.concatenate([chunk.label for chunk in chunks]), shards.read_split(*odd_data, "test").label)


def test_processes_shards_and_interruption_change_no_byte(odd, odd_data, tmp_path, monkeypatch):
    """Two processes, chunks of 7, shards of 20 pairs, stopped after each shard; against one process and one shard."""
    small = 20 * (3 * 32 * 32 + 2 * 16 * 4)
    whole = made(tmp_path / "whole", read(odd), shard_bytes=small)

    def stop(done: int, total: int) -> None:
        if done > 50:
            raise KeyboardInterrupt

    with processes(2) as in_order:
        monkeypatch.setattr(recipe, "CHUNK", 7)
        food = read(odd, in_order)
        with contextlib.suppress(KeyboardInterrupt):
            made(tmp_path / "cut", food, in_order, shard_bytes=small, on_progress=stop)
        assert not (tmp_path / "cut" / "dataset.yaml").exists()
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cut/*.h5")}
        assert len(kept) == 2
        cut = made(tmp_path / "cut", food, in_order, shard_bytes=small)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert (cut.id, cut.counts) == (whole.id, whole.counts) == (odd_data[1].id, odd_data[1].counts)
    for split in ("train", "test"):
        one, two, three = (
            shards.read_split(*d, split) for d in (odd_data, (tmp_path / "cut", cut), (tmp_path / "whole", whole))
        )
        for name, array in one.columns().items():
            assert np.array_equal(array, two.columns()[name]), name
            assert np.array_equal(array, three.columns()[name]), name


def test_a_shard_of_broken_images_alone_is_kept_empty(tmp_path):
    source = fake.make(tmp_path / "source", {"train": 3, "test": 3})
    food, folder = read(source), tmp_path / "d"
    for row in [food.rows["train"][k] for k in recipe.shuffled(12, 0, "food101", "train")[4:8]]:
        Path(row.image).write_bytes(b"broken")
    dataset = made(folder, read(source), shard_bytes=4 * (3 * 32 * 32 + 2 * 16 * 4))
    assert [shard.samples for shard in dataset.splits["train"].shards] == [4, 0, 4]
    assert dataset.counts["train"]["dropped"] == {"image unreadable": 4}
    assert len(shards.read_split(folder, dataset, "train").label) == 8


def test_content_decides_the_identity_paths_and_headers_do_not(tmp_path):
    source = fake.make(tmp_path / "one")
    ours = recipe.head(read(source))["recipe"]
    moved = fake.make(tmp_path / "two", header=True)
    assert recipe.head(read(moved))["recipe"] == ours
    assert str(tmp_path) not in str(ours)
    titles = moved / "texts" / "test_titles.csv"
    before = titles.read_text(encoding="utf-8")
    titles.write_text(before.replace("fish", "Fish", 1), encoding="utf-8")
    assert recipe.head(read(moved))["recipe"]["sources"] != ours["sources"]
    titles.write_text(before, encoding="utf-8")
    (moved / "images/train/ramen/ramen_0.jpg").write_bytes(fake.picture("ramen", 9999))
    assert recipe.head(read(moved))["recipe"]["sources"] != ours["sources"]
    assert recipe.head(read(source, seed=1, size=64))["recipe"] == ours | {"seed": 1, "size": 64}


def test_pages_are_the_texts_where_there_are_no_titles(tmp_path):
    source = fake.add_pages(fake.make(tmp_path / "s"))
    assert layouts.find(source) == "titles"
    assert layouts.find(source, "pages") == "pages"
    shutil.rmtree(source / "texts")
    assert layouts.find(source) == "pages"
    pages = source / "texts_txt" / "tacos"
    (source / "images/train/tacos/tacos_5.jpg").unlink()  # test has another of this name
    (pages / "tacos_6.txt").unlink()
    (pages / "tacos_25.txt").unlink()
    (pages / "tacos_26.txt").write_bytes(b"")
    (pages / "tacos_27.txt").write_bytes(b"\xef\xbb\xbffish \xff\xfe tacos")
    (pages / "lonely.txt").write_text("no image")
    food = read(source, layout="pages")
    assert food.notes == ["pages that have no image in either split: 1"]
    dataset = made(tmp_path / "d", food)
    assert dataset.recipe["text"] == "pages"
    assert dataset.modalities[1].shape == (2, TOKENS)
    train, test = dataset.counts["train"], dataset.counts["test"]
    assert (train["images"], train["texts"]) == (119, 117)
    assert (train["unmatched"], test["unmatched"]) == ({"image without a page": 2}, {"image without a page": 1})
    assert train["noted"] == {"text cut at 64 word pieces": 115, "text empty": 1}
    lengths = shards.read_split(tmp_path / "d", dataset, "train").inputs["text"][:, 1].sum(1)
    assert sorted(lengths)[:3] == [2, 5, 64]  # a byte that is no UTF-8 is no word piece either


def test_files_that_cannot_be_read_are_counted(tmp_path, monkeypatch):
    source = fake.add_pages(fake.make(tmp_path / "s"))
    read_bytes = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name in ("ramen_3.jpg", "ramen_25.txt"):
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    food = read(source, layout="pages")
    assert food.counts["train"]["unmatched"] == {"image file cannot be read": 1, "page cannot be read": 1}
    assert len(food.rows["train"]) == 118
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    food = read(source, layout="pages")
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(UserError, match=r"ramen_3\.jpg was read once and now could not be: Permission denied; give the same"):
        made(tmp_path / "d", food)


def test_without_a_layout_the_message_lists_what_is_known(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    known = (
        r"has none of the layouts that mmal knows; found: images; known:\n"
        r"  titles: images/{train,test}/<class>/\*.jpg \+ texts/.*: lacks images/test, texts/train_titles.csv, .*\n"
        r"  pages: .*/<class>/\*.txt: lacks images/test, texts_txt"
    )
    with pytest.raises(UserError, match=known) as error:
        layouts.find(tmp_path)
    assert error.value.code == BAD_DATA
    with pytest.raises(UserError, match=r"nowhere not found, expected a folder with images/ and texts/ or texts_txt/"):
        layouts.find(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file is a file, expected a folder"):
        layouts.find(tmp_path / "file")
    source = fake.make(tmp_path / "s", {"train": 1, "test": 1})
    with pytest.raises(
        UserError, match=r"(?s)s has not the layout that --text pages asks for.*titles: .*: is there\n.*lacks texts_txt"
    ):
        layouts.find(source, "pages")


def test_a_split_without_a_usable_pair_is_one_message(tmp_path):
    source = fake.make(tmp_path / "s", {"train": 2, "test": 2})
    titles = source / "texts" / "test_titles.csv"
    before = titles.read_text(encoding="utf-8")
    titles.write_text(before.replace(".jpg", "_.jpg"), encoding="utf-8")
    message = r"no image of images/test has a text \(image without a row: 8, row without an image: 8\), expected images/{train"
    with pytest.raises(UserError, match=message):
        read(source)
    titles.write_text(before, encoding="utf-8")
    for image in source.glob("images/test/*/*"):
        image.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"no sample of test can be used \(image unreadable: 8\)") as error:
        made(tmp_path / "d", read(source))
    assert error.value.code == BAD_DATA
    shutil.rmtree(source / "images" / "test")
    (source / "images" / "test").mkdir()
    with pytest.raises(UserError, match=r"no image of images/test has a text \(row without an image: 8\)"):
        read(source)


def test_a_folder_without_images_is_no_class_and_what_classes_there_are_is_part_of_the_identity(tmp_path):
    source = fake.make(tmp_path / "s", {"train": 3, "test": 2})
    plain = recipe.head(read(source))
    (source / "images/train/__MACOSX").mkdir()
    (source / "images/train/__MACOSX/notes.txt").write_text("no image")
    assert recipe.head(read(source))["recipe"] == plain["recipe"]
    (source / "images/train/aaa").mkdir()
    shutil.copy(source / "images/train/ramen/ramen_0.jpg", source / "images/train/aaa/lonely.jpg")
    more = recipe.head(read(source))
    assert more["class_names"] == ["aaa", *fake.CLASSES]
    assert more["recipe"] != plain["recipe"]


def test_another_tokenizer_with_the_same_vocabulary_is_another_dataset(tmp_path):
    source = fake.make(tmp_path / "s", {"train": 3, "test": 2})
    other = shutil.copytree(minilm.find(), tmp_path / "other")
    file = other / "tokenizer.json"
    file.write_text(
        file.read_text().replace('"lowercase":true', '"lowercase":false').replace('"lowercase": true', '"lowercase": false')
    )
    assert minilm.vocabulary(other) == minilm.vocabulary(minilm.find())
    (source / "texts/train_titles.csv").write_text((source / "texts/train_titles.csv").read_text().replace("miso", "MISO"))
    found = [recipe.read(source, "titles", place, TOKENS, here, **SAID) for place in (minilm.find(), other)]
    assert recipe.head(found[0])["recipe"]["sources"] != recipe.head(found[1])["recipe"]["sources"]
