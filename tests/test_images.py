"""Datasets of images alone: layouts, splits that never change, the long tail, and mistakes in what is given."""

import csv
import io

import numpy as np
import pytest
import real
import torch
import yaml
from PIL import Image

from data_recipes.arrays import Images as Arrays
from data_recipes.images import layouts, recipe, sources
from mmal_cli.cell import Cell
from mmal_cli.core import shards
from mmal_cli.core.build import build
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.settings import resolve
from mmal_cli.data import load_split
from mmal_cli.start import start

CIFAR10_LT = [4500, 2913, 1886, 1221, 790, 512, 331, 214, 139, 90]  # Lueth et al. 2023, by their code


def picture(shade: int, side: int = 40, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 0, 0)).save(file, kind)
    return file.getvalue()


def folders(place, counts: dict[str, int]):
    """A folder for each class, every image of a shade of its own."""
    for c, (name, count) in enumerate(counts.items()):
        (place / name).mkdir(parents=True)
        for number in range(count):
            (place / name / f"{number:03d}.png").write_bytes(picture(20 * c + number))
    return place


def arrays(counts, side=4):
    """(n, side, side, 3) of 0, 1, 2, ... and their labels."""
    label = np.repeat(np.arange(len(counts)), counts)
    pixels = np.arange(len(label))[:, None, None, None] % 251
    return Arrays(np.broadcast_to(pixels, (len(label), side, side, 3)).astype(np.uint8), label)


def made(place, *words, mmal):
    done = mmal("prepare-images", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    return done


def test_a_folder_for_each_class_gets_a_quarter_for_test_whatever_the_order_of_files(mmal, tmp_path):
    source = folders(tmp_path / "s", {"bus": 9, "car": 16, "van": 4})
    (source / "bus" / "notes.txt").write_text("no image")
    (source / "car" / "cut.png").write_bytes(picture(1)[:60])
    done = made(tmp_path, source, "--name", "cars", "--size", 32, mmal=mmal)
    *_, folder = done.stdout.splitlines()
    dataset = Dataset.read(tmp_path / folder / "dataset.yaml")
    assert (folder, dataset.class_names, dataset.weak) == ("data/cars", ["bus", "car", "van"], "image")
    train, test = (shards.read_split(tmp_path / folder, dataset, split) for split in ("train", "test"))
    assert np.bincount(test.label).tolist()[::2] == [2, 1]
    assert np.bincount(np.concatenate([train.label, test.label])).tolist() == [9, 16, 4]  # the cut one is left out
    shades = np.concatenate([train.inputs["image"], test.inputs["image"]])[:, 0, 0, 0]
    assert len(np.unique(shades)) == 29
    assert str(source) not in (tmp_path / folder / "dataset.yaml").read_text()
    again = made(tmp_path, source, "--name", "cars", "--size", 32, "--jobs", 1, "--out", "again", mmal=mmal)
    assert again.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    one, two = (yaml.safe_load((tmp_path / place / "dataset.yaml").read_text())["splits"] for place in (folder, "again"))
    assert one == two


def test_names_of_any_length_are_kept(tmp_path):
    folders(tmp_path, {"a": 100, "b": 100})
    (tmp_path / "a" / "050.png").rename(tmp_path / "a" / "a much longer name.png")
    found, in_order = layouts.listing(tmp_path, "folders"), lambda make, tasks: (make(*task) for task in tasks)
    content = sources.OnDisk(tmp_path, found, 32, in_order, lambda done, total: None)
    images = recipe.Images("x", "folders", found.class_names, 32, None, content)
    dataset, _ = build(tmp_path / "d", recipe.head(images), recipe.plans(images), command="mmal")
    ids = {str(name) for split in dataset.splits for name in shards.read_split(tmp_path / "d", dataset, split).id}
    assert ids == {file.name for file in found.train}


def test_given_splits_are_kept(tmp_path):
    folders(tmp_path / "train", {"a": 3, "b": 2})
    folders(tmp_path / "test", {"a": 1, "b": 1})
    assert layouts.find(tmp_path) == "folders"
    found = layouts.listing(tmp_path, "folders")
    assert (len(found.train), len(found.test)) == (5, 2)
    assert found.test[1] == ("test/b/000.png", 1)
    folders(tmp_path / "test" / "c", {"x": 1})
    (tmp_path / "test" / "c" / "1.png").write_bytes(picture(1))
    with pytest.raises(UserError, match=r"train/ and test/ differ in their classes: c"):
        layouts.listing(tmp_path, "folders")


def test_a_test_folder_without_classes_is_none(tmp_path):
    folders(tmp_path / "train", {"a": 4, "b": 4})
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(picture(1))
    assert layouts.listing(tmp_path, "folders").test == []


def isic(place, rows):
    (place / "ISIC_2019_Training_Input").mkdir(parents=True)
    with (place / "ISIC_2019_Training_GroundTruth.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "MEL", "NV", "UNK"])
        for name, *marks in rows:
            table.writerow([name, *marks])
            (place / "ISIC_2019_Training_Input" / f"{name}.jpg").write_bytes(picture(len(name), kind="JPEG"))
    return place


def test_isic_s_table_says_the_classes(mmal, tmp_path):
    rows = [(f"ISIC_{k:07d}", float(k % 3 == 0), float(k % 3 != 0), 0.0) for k in range(15)]
    source = isic(tmp_path / "isic", rows)
    done = made(tmp_path, source, "--size", 32, mmal=mmal)
    dataset = Dataset.read(tmp_path / "data" / "isic2019" / "dataset.yaml")
    assert done.stdout.endswith("data/isic2019\n")
    assert dataset.class_names == ["MEL", "NV"]
    assert [dataset.counts[split]["classes"] for split in ("train", "test")] == [[4, 8], [1, 2]]
    (source / "ISIC_2019_Training_Input" / "ISIC_0000003.jpg").unlink()
    done = mmal("prepare-images", source, "--out", "other", cwd=tmp_path)
    assert (done.returncode, "ISIC_0000003.jpg could not be read: No such file" in done.stderr) == (3, True)
    isic(tmp_path / "two", [("ISIC_1", 1.0, 1.0, 0.0)])
    with pytest.raises(UserError, match=r"GroundTruth.csv, line 2: 2 classes are marked, expected 1"):
        layouts.listing(tmp_path / "two", "isic2019")


def empty(*names):
    return lambda place: [(place / name).mkdir(parents=True) for name in names]


def holding(**counts):
    return lambda place: folders(place, counts)


def table(text: str | bytes):
    def make(place):
        isic(place, [])
        (place / layouts.ISIC[0]).write_bytes(text.encode() if isinstance(text, str) else text)

    return make


def odd_name(place):
    folders(place, {"a": 4, "b": 4})
    (place / "a").rename(place / b"\xff\xfe".decode(errors="surrogateescape"))


ISIC_LAYOUT, FOLDERS, NAMED = ["--layout", "isic2019"], ["--layout", "folders"], ["--name", "x"]
WRONG = [
    (3, empty("."), [], "is none of the layouts that are known: cifar10: cifar-10-batches-py/; "),
    (3, lambda place: None, [], "source is no folder; to fetch CIFAR into it: --layout cifar10 --download"),
    (3, empty("cifar-100-python"), [], "cifar-100-python/train not found (nor test, meta); put it there"),
    (2, empty("cifar-100-python", "cifar-10-batches-py"), [], "holds cifar10 and cifar100; say which: --layout cifar10"),
    (2, holding(a=4, b=4), [*NAMED, "--download"], "--download fetches CIFAR alone; what folders is read from has to be there"),
    (2, holding(a=4, b=4), [], "has no name of its own; give the dataset one, such as: --name miotcd"),
    (2, holding(a=4, b=4), ["--name", "my/set"], "--name 'my/set' is to have letters, digits, _ and - alone"),
    (3, holding(a=4, b=3), NAMED, "class b has 3 images, expected 4 or more"),
    (3, holding(a=20, b=20), [*NAMED, "--long-tail", "90"], "a long tail of 90 leaves class b none of its 14 images"),
    (3, holding(a=9), [*NAMED, *FOLDERS], "has not the layout folders: a folder for each class, or "),
    (3, holding(a=4, b=4), ISIC_LAYOUT, "has not the layout isic2019: ISIC_2019_Training_GroundTruth.csv beside"),
    (3, table("name,A,B\nx,1,0\n"), ISIC_LAYOUT, "has no column `image` beside one for each class, or no rows"),
    (3, table("image,A,B\n"), ISIC_LAYOUT, "has no column `image` beside one for each class, or no rows"),
    (3, table("image,A,B\nx,1,0,1\n"), ISIC_LAYOUT, "line 2: "),
    (3, table(b"image,A,B\n\xff\xff,1,0\n"), ISIC_LAYOUT, "could not be read as a table: 'utf-8' codec can't decode"),
    (3, odd_name, NAMED, "has a name that is not UTF-8: "),
]


@pytest.mark.parametrize(("code", "make", "words", "said"), WRONG)
def test_what_is_wrong_is_one_message(mmal, tmp_path, code, make, words, said):
    make(tmp_path / "source")
    done = mmal("prepare-images", tmp_path / "source", *words, "--size", 32, "--jobs", 1, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_cifar_has_a_size_of_its_own(mmal, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    done = mmal("prepare-images", tmp_path, "--size", 64)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: --size 64 is for images from files: CIFAR's have 32 px",
    )


def test_what_is_not_read_and_what_is_left_out_is_said(mmal, tmp_path):
    source = folders(tmp_path / "s" / "train", {"a": 9, "b": 8}).parent
    for name in ("train/.hidden", "train/scans", "val/a"):
        (source / name).mkdir(parents=True)
        (source / name / ("x.tif" if name == "train/scans" else "x.png")).write_bytes(picture(1))
    (source / "train" / "a" / "._000.png").write_bytes(b"of macOS")
    (source / "train" / "b" / "000.png").write_bytes(b"broken")
    done = made(tmp_path, source, "--name", "odd", "--size", 32, mmal=mmal)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    ends = ", ".join(sorted(layouts.ENDS))
    assert notes == ["note: val/ is not read", f"note: scans/ has no file that ends in {ends}, so it is no class"]
    (left_out,) = (line.split() for line in done.stdout.splitlines() if "left out: image unreadable" in line)
    assert sorted(left_out[-2:]) == ["0", "1"]


def test_counts_of_files_leave_out_what_is_reserved(mmal, tmp_path):
    source = folders(tmp_path / "s", {"a": 40, "b": 40})
    done = made(tmp_path, source, "--name", "tail", "--size", 32, "--long-tail", 3, mmal=mmal)
    dataset = Dataset.read(tmp_path / "data" / "tail" / "dataset.yaml")
    train = shards.read_split(tmp_path / "data" / "tail", dataset, "train")
    assert dataset.counts["train"]["classes"] == np.bincount(train.label[~train.reserved]).tolist() == [27, 9]
    assert train.reserved.sum() == 6
    assert "reserved for validation       6" in done.stdout
    assert {name.partition("/")[0] for name in train.id} == {"a", "b"}


def test_one_folder_is_of_one_name(mmal, tmp_path):
    source = folders(tmp_path / "s", {"a": 4, "b": 4})
    made(tmp_path, source, "--name", "one", "--size", 32, "--out", "d", mmal=mmal)
    done = mmal("prepare-images", source, "--name", "two", "--size", 32, "--out", "d", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "d holds the same images as the dataset one; choose another --out, or --force" in done.stderr


def test_isic_s_other_folders_are_no_classes(tmp_path):
    isic(tmp_path, [("ISIC_1", 1.0, 0.0, 0.0), ("ISIC_2", 0.0, 1.0, 0.0)])
    (tmp_path / "ISIC_2019_Test_Input").mkdir()
    (tmp_path / "ISIC_2019_Test_Input" / "x.jpg").write_bytes(picture(1))
    assert layouts.find(tmp_path) == "isic2019"


def test_a_long_tail_has_the_counts_of_the_paper_and_reserves_a_tenth_for_validation():
    label = np.repeat(np.arange(10), 5000)
    position, reserved = recipe.order(label, [str(c) for c in range(10)], 50)
    assert np.bincount(label[position[~reserved]]).tolist() == CIFAR10_LT
    assert np.bincount(label[position[reserved]]).tolist() == [500] * 10
    assert len(np.unique(position)) == len(position) == 12_596 + 5000
    whole, none = recipe.order(label, [], None)
    assert (sorted(whole.tolist()), none) == (list(range(50_000)), None)


@pytest.fixture
def long_tailed(tmp_path):
    """100 of each of three classes in train: 10 of each reserved, 90, 28 and 9 beside them."""
    content = sources.InMemory({"train": arrays([100] * 3), "test": arrays([5] * 3)})
    images = recipe.Images("cifar10-lt", "cifar10", ["a", "b", "c"], 4, 10, content)
    build(tmp_path, recipe.head(images), recipe.plans(images), command="mmal prepare-images")
    return tmp_path, Dataset.read(tmp_path / "dataset.yaml")


def begun(folder, dataset, *assignments):
    budget = [f"regimes.low.{key}={value}" for key, value in {"start": 20, "validation": 15, "query": 5, "cycles": 3}.items()]
    settings, _ = resolve(dataset, "low", "random", (), [*budget, *assignments])
    train = load_split(folder, dataset, "train")
    return train, *start(train, Cell(dataset, "random", "low", 0, settings))


def test_validation_comes_from_what_is_reserved_and_the_pool_never(long_tailed):
    train, pool, validation = begun(*long_tailed)
    assert long_tailed[1].counts["train"] == {"classes": [90, 28, 9], "reserved for validation": 30}
    assert train.reserved.sum() == 30
    assert train.reserved[validation].all()
    assert torch.bincount(train.labels[validation]).tolist() == [5, 5, 5]
    assert not train.reserved[pool.labelled_index].any()
    assert torch.bincount(train.labels[~pool.barred]).tolist() == [90, 28, 9]
    assert torch.bincount(train.labels[pool.labelled_index]).min() >= 5
    assert train.to(torch.device("cpu")).reserved.equal(train.reserved)


def test_a_start_set_that_takes_more_of_a_class_than_there_is(long_tailed):
    message = "the start set takes 11 of each class, and c has 9 beside validation; take fewer, or any: --set start_set=random"
    with pytest.raises(UserError, match=message):
        begun(*long_tailed, "start_set=11", "regimes.low.start=40")
    with pytest.raises(UserError, match="the start set takes 13 of each class, and c has 9 beside validation"):
        begun(*long_tailed, "start_set=balanced", "regimes.low.start=40")
    _, pool, _ = begun(*long_tailed, "start_set=11")  # of 20, no more than 6 of each
    assert pool.labelled.sum() == 20


def test_quick_takes_its_share_of_what_is_reserved(long_tailed):
    settings, _ = resolve(long_tailed[1], "low", "random", ["quick"])
    assert settings.budget.validation == 6


def test_validation_can_have_so_many_of_each_class_and_then_any(long_tailed):
    train, _, validation = begun(*long_tailed, "validation_set=2")
    assert torch.bincount(train.labels[validation], minlength=3).min() >= 2
    assert len(validation) == 15


def test_more_validation_than_is_reserved(long_tailed):
    message = "validation size 31 is more than the 30 samples that cifar10-lt reserves for it; make it smaller: --set"
    with pytest.raises(UserError, match=message):
        begun(*long_tailed, "regimes.low.validation=31")


@real.needs("cifar-10-batches-py")
def test_the_real_cifar10_and_its_long_tail(mmal, tmp_path):
    made(tmp_path, real.ROOT, "--layout", "cifar10", mmal=mmal)
    made(tmp_path, real.ROOT, "--layout", "cifar10", "--long-tail", 50, mmal=mmal)
    whole, tail = (Dataset.read(tmp_path / "data" / name / "dataset.yaml") for name in ("cifar10", "cifar10-lt"))
    assert whole.counts == {"train": {"classes": [5000] * 10}, "test": {"classes": [1000] * 10}}
    assert tail.counts["train"] == {"classes": CIFAR10_LT, "reserved for validation": 5000}
    assert tail.class_names[:2] == ["airplane", "automobile"]
