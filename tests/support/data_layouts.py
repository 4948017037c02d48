"""Data sets as they lie around, drawn small: each with the split and label of every image as its owner means them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

KEPT, ASKED, REFUSED, DRAWN = "kept", "asked", "refused", "no split: shares drawn"
Fact = tuple[str, str, str, str]  # file name, label, gender, split


@dataclass(frozen=True)
class Truth:
    """What is given to `data init`, and {file name: (split, label)}; the split is "" where the owner has none."""

    path: Path
    own: dict[str, tuple[str, str]]

    def counts(self) -> Counter[tuple[str, str]]:
        """Images by split and label."""
        return Counter(self.own.values())


@dataclass(frozen=True)
class Layout:
    """One way in which data lies around, and what `data init` should make of it."""

    name: str
    build: Callable[[Path], Truth]
    expected: str


LAYOUTS: list[Layout] = []


def layout(name: str, expected: str) -> Callable[[Callable[[Path], Truth]], Callable[[Path], Truth]]:
    """List a function that writes the data into an empty folder."""

    def listed(build: Callable[[Path], Truth]) -> Callable[[Path], Truth]:
        LAYOUTS.append(Layout(name, build, expected))
        return build

    return listed


def facts(count: int = 80, classes: Sequence[str] = ("a", "b"), cycle: str = "TTTTTTVVSS") -> list[Fact]:
    """Images whose splits, labels and genders go together in no way."""
    split = {"T": "train", "V": "val", "S": "test"}
    size = len(cycle)
    turns = [i // size for i in range(count)]
    return [
        (f"{i:04d}.png", classes[turn % len(classes)], "fm"[(turn // len(classes)) % 2], split[cycle[i % size]])
        for i, turn in enumerate(turns)
    ]


def draw(folder: Path, names: Iterable[str]) -> None:
    """A different image under each name."""
    for k, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)


def write(path: Path, header: str, rows: Iterable[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def own(found: Iterable[Fact], named: bool = True) -> dict[str, tuple[str, str]]:
    return {name: (split if named else "", label) for name, label, _, split in found}


def _column(folder: Path, words: dict[str, str], column: str = "split", cycle: str = "TTTTTTVVSS") -> Truth:
    """A table with a split column of such words."""
    found = facts(cycle=cycle)
    draw(folder / "images", [f[0] for f in found])
    rows = [(name, label, gender, words[split]) for name, label, gender, split in found]
    return Truth(write(folder / "table.csv", f"file,label,gender,{column}", rows), own(found))


def _words(train: str, val: str, test: str) -> dict[str, str]:
    return {"train": train, "val": val, "test": test}


def _paths(folder: Path, path: Callable[[Fact], str], cycle: str = "TTTTTTVVSS", images: str = ".") -> Truth:
    """A table whose split stands in the paths alone."""
    found = facts(cycle=cycle)
    paths = [path(fact) for fact in found]
    draw(folder / images, paths)
    rows = [(path, label, gender) for path, (_, label, gender, _) in zip(paths, found, strict=True)]
    write(folder / "labels.csv", "file_name,label,gender", rows)
    names = {path.rpartition("/")[2]: fact for path, fact in zip(paths, found, strict=True)}
    return Truth(folder, {name: (fact[3], fact[1]) for name, fact in names.items()})


def _tables(folder: Path, name: Callable[[str], str], cycle: str = "TTTTTTVVSS", images: str = "images") -> Truth:
    """A table per split."""
    found = facts(cycle=cycle)
    for split in dict.fromkeys(fact[3] for fact in found):
        part = [fact for fact in found if fact[3] == split]
        write(folder / name(split), "file,label,gender", [fact[:3] for fact in part])
        draw(folder / images.format(split=split), [fact[0] for fact in part])
    if "{split}" not in images:
        draw(folder / images, [fact[0] for fact in found])
    return Truth(folder, own(found))


def _folders(folder: Path, path: Callable[[Fact], str], cycle: str = "TTTTTTVVSS", named: bool = True,
             classes: Sequence[str] = ("cat", "dog")) -> Truth:  # fmt: skip
    """Class folders."""
    found = facts(20 * len(cycle) if len(classes) > 2 else 80, classes, cycle)
    paths = [path(fact) for fact in found]
    draw(folder, paths)
    pairs = zip(paths, found, strict=True)
    return Truth(folder, {p.rpartition("/")[2]: (fact[3] if named else "", fact[1]) for p, fact in pairs})


@layout("column split: train, val, test", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train", "val", "test"))


@layout("column Split: TRAIN, Val, test", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("TRAIN", "Val", "test"), "Split")


@layout("column split: train, dev, test", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train", "dev", "test"))


@layout("column phase: training, validation, testing", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("training", "validation", "testing"), "phase")


@layout("column of any name: train_set, valid_set, test_set", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train_set", "valid_set", "test_set"), "belongs")


@layout("column partition: 0, 1, 2", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("0", "1", "2"), "partition")


@layout("column Eval Partition: 0, 1, 2", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("0", "1", "2"), "Eval Partition")


@layout("column split: train, test", KEPT)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train", "val", "test"), cycle="TTTTTTTSSS")


@layout('cells written as a, "b"', KEPT)
def _(folder: Path) -> Truth:
    found = facts()
    draw(folder / "images", [f[0] for f in found])
    lines = ["file, label, gender, split", *(f'{n}, "{c}", "{g}", "{s}"' for n, c, g, s in found)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return Truth(folder / "table.csv", own(found))


@layout("semicolons, a byte order mark, Windows line ends", KEPT)
def _(folder: Path) -> Truth:
    found = facts()
    draw(folder / "images", [f[0] for f in found])
    lines = ["file;label;gender;split", *map(";".join, found)]
    (folder / "table.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    return Truth(folder, own(found))


@layout("column split with two empty cells", ASKED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("train", "val", "test"))
    lines = truth.path.read_text().splitlines()
    for i in (3, 8):
        lines[i] = lines[i].rpartition(",")[0] + ","
    truth.path.write_text("\n".join(lines) + "\n")
    return truth


@layout("column split: 0, 1", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("0", "?", "1"), cycle="TTTTTTTSSS")


@layout("column split: 1, 2, 3", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("1", "2", "3"))


@layout("column split: train, val", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train", "val", "?"), cycle="TTTTTTTVVV")


@layout("column split: train, val, test, extra", ASKED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("train", "val", "test"))
    truth.path.write_text(truth.path.read_text().replace("train", "extra", 3))
    return truth


@layout("column split: train, dev, val, test", ASKED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("train", "val", "test"))
    truth.path.write_text(truth.path.read_text().replace("val", "dev", 4))
    return truth


@layout("column usage: Training, PublicTest, PrivateTest", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("Training", "PublicTest", "PrivateTest"), "usage")


@layout("column is_train: True, False", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("True", "?", "False"), "is_train", "TTTTTTTSSS")


@layout("column fold: 0 to 4", ASKED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("?", "?", "?"), "fold")
    lines = truth.path.read_text().splitlines()
    lines[1:] = [line.replace("?", str(i % 5)) for i, line in enumerate(lines[1:])]
    truth.path.write_text("\n".join(lines) + "\n")
    return truth


@layout("two split columns", ASKED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("train", "val", "test"))
    lines = truth.path.read_text().splitlines()
    other = ["official_split", *(("train", "test")[i % 2] for i in range(len(lines) - 1))]
    truth.path.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, other, strict=True)) + "\n")
    return truth


@layout("paths train/, val/, test/", KEPT)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: f"{fact[3]}/{fact[0]}")


@layout("paths Training/, Testing/ below images/", KEPT)
def _(folder: Path) -> Truth:
    word = {"train": "Training", "test": "Testing"}
    return _paths(folder, lambda fact: f"{word[fact[3]]}/{fact[0]}", "TTTTTTTSSS", "images")


@layout("paths data/train2017/class/, data/val2017/class/, data/test2017/class/", KEPT)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: f"data/{fact[3]}2017/{fact[1]}/{fact[0]}")


@layout("file names train_0001.png, test_0002.png", KEPT)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: f"{fact[3]}_{fact[0]}", "TTTTTTTSSS", "images")


@layout("paths of which some begin with train/, test/", ASKED)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: fact[0] if fact[0] < "0005" else f"{fact[3]}/{fact[0]}")


@layout("paths that all begin with train/", ASKED)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: f"train/{fact[0]}", "T")


@layout("bare names in the table, images in train/, val/, test/", ASKED)
def _(folder: Path) -> Truth:
    found = facts()
    draw(folder, [f"{fact[3]}/{fact[0]}" for fact in found])
    write(folder / "labels.csv", "file,label,gender", [fact[:3] for fact in found])
    return Truth(folder, own(found))


@layout("train.csv, val.csv, test.csv", KEPT)
def _(folder: Path) -> Truth:
    return _tables(folder, lambda split: f"{split}.csv")


@layout("labels_train.csv, labels_test.csv", KEPT)
def _(folder: Path) -> Truth:
    return _tables(folder, lambda split: f"labels_{split}.csv", "TTTTTTTSSS")


@layout("train.csv, test.csv with images in train/, test/", KEPT)
def _(folder: Path) -> Truth:
    return _tables(folder, lambda split: f"{split}.csv", "TTTTTTTSSS", "{split}")


@layout("train/metadata.csv, validation/metadata.csv, test/metadata.csv beside their images", KEPT)
def _(folder: Path) -> Truth:
    truth = _tables(folder, lambda split: f"{split}/metadata.csv", images="{split}")
    (folder / "val").rename(folder / "validation")
    return truth


@layout("train.parquet, val.parquet, test.parquet", KEPT)
def _(folder: Path) -> Truth:
    import pyarrow.csv
    import pyarrow.parquet

    truth = _tables(folder, lambda split: f"{split}.csv")
    for split in ("train", "val", "test"):
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(folder / f"{split}.csv"), folder / f"{split}.parquet")
        (folder / f"{split}.csv").unlink()
    return truth


@layout("train.csv, valid.csv and no test", ASKED)
def _(folder: Path) -> Truth:
    return _tables(folder, lambda split: f"{split}.csv", "TTTTTTTVVV")


@layout("train.csv given, with test.csv beside it", ASKED)
def _(folder: Path) -> Truth:
    truth = _tables(folder, lambda split: f"{split}.csv", "TTTTTTTSSS")
    return Truth(folder / "train.csv", truth.own)


@layout("train.csv with labels, test.csv without", REFUSED)
def _(folder: Path) -> Truth:
    truth = _tables(folder, lambda split: f"{split}.csv", "TTTTTTTSSS")
    lines = (folder / "test.csv").read_text().splitlines()
    (folder / "test.csv").write_text("\n".join(line.split(",")[0] for line in lines) + "\n")
    return truth


@layout("folders train/class, valid/class, test/class", KEPT)
def _(folder: Path) -> Truth:
    word = _words("train", "valid", "test")
    return _folders(folder, lambda fact: f"{word[fact[3]]}/{fact[1]}/{fact[0]}")


@layout("folders Training/class, Testing/class", KEPT)
def _(folder: Path) -> Truth:
    word = _words("Training", "?", "Testing")
    return _folders(folder, lambda fact: f"{word[fact[3]]}/{fact[1]}/{fact[0]}", "TTTTTTTSSS")


@layout("folders class/train, class/val, class/test", KEPT)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"{fact[1]}/{fact[3]}/{fact[0]}")


@layout("folders archive/faces/train/class, archive/faces/test/class", KEPT)
def _(folder: Path) -> Truth:
    truth = _folders(folder / "archive" / "faces", lambda fact: f"{fact[3]}/{fact[1]}/{fact[0]}", "TTTTTTTSSS")
    return Truth(folder, truth.own)


@layout("class folders with files train_0001.png, test_0002.png", KEPT)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"{fact[1]}/{fact[3]}_{fact[0]}", "TTTTTTTSSS")


@layout("folders train/class, test/class of 12 numbers: torchvision's order", KEPT)
def _(folder: Path) -> Truth:
    classes = [str(i) for i in range(12)]
    return _folders(folder, lambda fact: f"{fact[3]}/{fact[1]}/{fact[0]}", "TTTTTTTTTTVVVVVSSSSS", classes=classes)


@layout("folders seg_train/class, seg_test/class, seg_pred", ASKED)
def _(folder: Path) -> Truth:
    truth = _folders(folder, lambda fact: f"seg_{fact[3]}/{fact[1]}/{fact[0]}", "TTTTTTTSSS")
    draw(folder / "seg_pred", ["x.png"])
    return truth


@layout("folders train/class beside unlabeled/", ASKED)
def _(folder: Path) -> Truth:
    truth = _folders(folder, lambda fact: f"train/{fact[1]}/{fact[0]}", "T")
    draw(folder / "unlabeled", ["x.png", "y.png"])
    return truth


@layout("folders train/class alone", ASKED)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"train/{fact[1]}/{fact[0]}", "T")


@layout("class folders beside train.txt, test.txt", ASKED)
def _(folder: Path) -> Truth:
    truth = _folders(folder, lambda fact: f"{fact[1]}/{fact[0]}", "TTTTTTTSSS")
    for split in ("train", "test"):
        (folder / f"{split}.txt").write_text("\n".join(n for n, (s, _) in truth.own.items() if s == split))
    return truth


@layout("class folders beside splits.csv", ASKED)
def _(folder: Path) -> Truth:
    truth = _folders(folder, lambda fact: f"{fact[1]}/{fact[0]}", "TTTTTTTSSS")
    write(folder / "splits.csv", "image_id,split", [(name[:-4], split) for name, (split, _) in truth.own.items()])
    return truth


@layout("images/class beside meta/train.txt, meta/test.txt", ASKED)
def _(folder: Path) -> Truth:
    truth = _folders(folder / "images", lambda fact: f"{fact[1]}/{fact[0]}", "TTTTTTTSSS")
    (folder / "meta").mkdir()
    for split in ("train", "test"):
        (folder / "meta" / f"{split}.txt").write_text("\n".join(n for n, (s, _) in truth.own.items() if s == split))
    return Truth(folder, truth.own)


@layout("images/train/class beside masks/train/class", ASKED)
def _(folder: Path) -> Truth:
    _folders(folder / "masks", lambda fact: f"{fact[3]}/{fact[1]}/{fact[0]}")
    return Truth(folder, _folders(folder / "images", lambda fact: f"{fact[3]}/{fact[1]}/{fact[0]}").own)


@layout("labels.csv beside partition.csv", ASKED)
def _(folder: Path) -> Truth:
    found = facts()
    draw(folder / "images", [f[0] for f in found])
    write(folder / "partition.csv", "file,part", [(f[0], f[3]) for f in found])
    return Truth(write(folder / "labels.csv", "file,label,gender", [f[:3] for f in found]), own(found))


@layout("trainval.csv, test.csv", KEPT)
def _(folder: Path) -> Truth:
    truth = _tables(folder, lambda split: f"{split}.csv", "TTTTTTTSSS")
    (folder / "train.csv").rename(folder / "trainval.csv")
    return truth


@layout("folders train/class, val/class and no test", ASKED)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"{fact[3]}/{fact[1]}/{fact[0]}", "TTTTTTTVVV")


@layout("class folders without a split", DRAWN)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"{fact[1]}/{fact[0]}", named=False)


@layout("class folders, one of a vehicle called train", DRAWN)
def _(folder: Path) -> Truth:
    return _folders(folder, lambda fact: f"{fact[1]}/{fact[0]}", named=False, classes=("bus", "train"))


@layout("table without a split, label called mood, gender before it", DRAWN)
def _(folder: Path) -> Truth:
    found = facts()
    draw(folder / "images", [f[0] for f in found])
    write(folder / "faces.csv", "gender,photo,mood", [(g, name, label) for name, label, g, _ in found])
    return Truth(folder, own(found, False))


@layout("table with 12 integer classes: the order of numbers", KEPT)
def _(folder: Path) -> Truth:
    found = facts(480, [str(i) for i in range(12)])
    draw(folder / "images", [f[0] for f in found])
    return Truth(write(folder / "table.csv", "file,label,gender,split", found), own(found))


@layout("a mistyped path", REFUSED)
def _(folder: Path) -> Truth:
    truth = _column(folder, _words("train", "val", "test"))
    return Truth(folder / "tabel.csv", truth.own)


@layout("names COCO_train2014_0001.png, COCO_val2014_..., COCO_test2015_...", ASKED)
def _(folder: Path) -> Truth:
    years = {"train": "train2014", "val": "val2014", "test": "test2015"}
    return _paths(folder, lambda fact: f"COCO_{years[fact[3]]}_{fact[0]}", images="images")


@layout("names 0001_train.png, 0002_test.png", ASKED)
def _(folder: Path) -> Truth:
    return _paths(folder, lambda fact: f"{fact[0].removesuffix('.png')}_{fact[3]}.png", images="images")


@layout("column evaluation_status: train, query, gallery", ASKED)
def _(folder: Path) -> Truth:
    return _column(folder, _words("train", "query", "gallery"), "evaluation_status")


@layout("folders fold1/cat, fold2/cat, fold3/cat", ASKED)
def _(folder: Path) -> Truth:
    folds = {"train": "fold1", "val": "fold2", "test": "fold3"}
    return _folders(folder, lambda fact: f"{folds[fact[3]]}/{fact[1]}/{fact[0]}")
