"""Splits that the data has are kept; a val part is cut and shares are drawn with persons and equal bytes whole."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest import build
from fairprune_cli.data.manifest.load import SPLITS, Manifest, load_manifest
from tests.support.data_layouts import Fact, draw, facts, own, write

HEAD = "version: 1\nimages: images\nclasses: [a, b]\n"
TRANSFORM = "transform: {size: 16, mean: [0.5], std: [0.25]}\n"
COLUMNS = "columns: {image: file, label: label, split: split, person: person}\n"
UNSPLIT = "columns: {image: file, label: label, person: person}\n"


def load(folder: Path, text: str) -> Manifest:
    (folder / "manifest.yaml").write_text(HEAD + TRANSFORM + text)
    return load_manifest(folder / "manifest.yaml")


def fault(folder: Path, text: str) -> str:
    with pytest.raises(FairpruneError) as caught:
        load(folder, text)
    return str(caught.value)


def told(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """{file name: (split, label)}, as a manifest has it."""
    return {
        file.rpartition("/")[2]: (SPLITS[split], manifest.classes[label])
        for file, split, label in zip(manifest.files, manifest.splits, manifest.labels, strict=True)
    }


@pytest.fixture
def found(tmp_path: Path) -> list[Fact]:
    """80 images whose owner has no val split; two images in a row are of one person."""
    found = facts(cycle="TTTTTTTSSS")
    draw(tmp_path / "images", [fact[0] for fact in found])
    rows = [(name, label, split, f"p{i // 2}") for i, (name, label, _, split) in enumerate(found)]
    write(tmp_path / "table.csv", "file,label,split,person", rows)
    return found


def copy(folder: Path, source: str, *targets: str) -> None:
    for target in targets:
        shutil.copyfile(folder / "images" / source, folder / "images" / target)


def test_a_table_for_each_split(tmp_path: Path) -> None:
    images = facts()
    draw(tmp_path / "images", [fact[0] for fact in images])
    for split in SPLITS:
        write(tmp_path / f"{split}.csv", "file,label,gender", [fact[:3] for fact in images if fact[3] == split])
    text = "table: {train: train.csv, val: val.csv, test: test.csv}\ncolumns: {image: file, label: label}\n"
    manifest = load(tmp_path, text)
    assert told(manifest) == own(images)
    assert manifest.where(len(manifest) - 1) == f"test.csv row {sum(fact[3] == 'test' for fact in images) + 1}"

    lines = (tmp_path / "val.csv").read_text().splitlines()
    lines[4] = lines[4].replace(",a,", ",x,").replace(",b,", ",x,")
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n")
    assert "val.csv row 5: label 'x' is unknown" in fault(tmp_path, text)
    assert "the tables name the splits already" in fault(tmp_path, text + "splits: {train: 0.5, val: 0.2, test: 0.3}\n")
    assert "unknown key" in fault(
        tmp_path, "table: {train: train.csv, dev: val.csv}\ncolumns: {image: file, label: label}\n"
    )


def test_an_unknown_cell_names_each_table_it_stands_in(tmp_path: Path) -> None:
    images = facts(40)
    draw(tmp_path / "images", [fact[0] for fact in images])
    for split in ("train", "test"):
        part = [
            (fact[0], "x", fact[2]) if k == 1 else fact[:3] for k, fact in enumerate(f for f in images if f[3] == split)
        ]
        write(tmp_path / f"{split}.csv", "file,label,gender", part)
    text = "table: {train: train.csv, test: test.csv}\ncolumns: {image: file, label: label}\n"
    assert "train.csv row 3 and test.csv row 3: label 'x' is unknown" in fault(tmp_path, text)


def test_words_of_a_column_mean_what_the_manifest_says(tmp_path: Path, found: list[Fact]) -> None:
    lines = (tmp_path / "table.csv").read_text().replace(",test,", ",val,").splitlines()
    lines[1] = lines[1].replace(",train,", ",extra,")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    manifest = load(tmp_path, "table: table.csv\n" + COLUMNS + "splits: {names: {val: test, extra: drop}}\n")
    expected = own(found)
    del expected[found[0][0]]
    assert told(manifest) == expected
    assert "1 images are left out, as `splits` drops them" in manifest.warnings
    assert "'nowhere' is no split" in fault(
        tmp_path, "table: table.csv\n" + COLUMNS + "splits: {names: {val: nowhere}}\n"
    )


@pytest.mark.parametrize("source", ["path", "name"])
def test_paths_name_the_splits(tmp_path: Path, source: str) -> None:
    images = facts()
    word = {"train": "Training", "val": "dev", "test": "Test"}
    path = {f[0]: f"{word[f[3]]}/{f[0]}" if source == "path" else f"{word[f[3]]}_{f[0]}" for f in images}
    draw(tmp_path / "images", path.values())
    write(tmp_path / "table.csv", "file,label", [(path[f[0]], f[1]) for f in images])
    text = "table: table.csv\ncolumns: {image: file, label: label}\nsplits: {from: %s}\n"
    manifest = load(tmp_path, text % source)
    assert Counter(told(manifest).values()) == Counter(own(images).values())
    assert "split '' is unknown" in fault(tmp_path, text % ("name" if source == "path" else "path"))
    assert "expected path" in fault(tmp_path, text % "sky")


class TestFromTrain:
    TEXT = "table: table.csv\n" + COLUMNS + "splits: {val: from-train}\n"

    def test_a_tenth_of_train_by_person(self, tmp_path: Path, found: list[Fact]) -> None:
        manifest = load(tmp_path, self.TEXT)
        after, before = told(manifest), own(found)
        assert {n for n, (s, _) in after.items() if s == "test"} == {n for n, (s, _) in before.items() if s == "test"}
        val = {n for n, (s, _) in after.items() if s == "val"}
        assert len(val) == 6  # of 56
        assert manifest.persons is not None
        of = {split: set(manifest.persons[manifest.splits == k]) for k, split in enumerate(SPLITS)}
        assert not of["train"] & of["val"]
        other = load(tmp_path, self.TEXT.replace("from-train", "from-train, seed: 1"))
        assert {n for n, (s, _) in told(other).items() if s == "val"} != val

    def test_equal_bytes_stay_together(self, tmp_path: Path, found: list[Fact]) -> None:
        train = [fact[0] for fact in found if fact[3] == "train"]
        plain = load(tmp_path, self.TEXT.replace("person: person", "person: file"))  # each image is a person
        val = [n for n, (s, _) in told(plain).items() if s == "val"]
        others = [n for n in train if n not in val][:3]
        copy(tmp_path, val[0], *others)
        after = told(load(tmp_path, self.TEXT.replace("person: person", "person: file")))
        assert len({after[name][0] for name in (val[0], *others)}) == 1

    def test_a_val_split_that_is_there_is_not_replaced(self, tmp_path: Path, found: list[Fact]) -> None:
        table = tmp_path / "table.csv"
        table.write_text(table.read_text().replace(",train,", ",val,", 3))
        assert "the data has a val split already" in fault(tmp_path, self.TEXT)

    def test_it_needs_a_split_to_cut_from(self, tmp_path: Path, found: list[Fact]) -> None:
        assert "needs a split column" in fault(tmp_path, "table: table.csv\n" + UNSPLIT + "splits: {val: from-train}\n")
        text = (
            (HEAD + TRANSFORM)
            .replace("classes: [a, b]\n", "")
            .replace("images: images\n", "format: folder\nroot: byclass\n")
        )
        draw(tmp_path / "byclass", [f"{c}/{i}.png" for c in "ab" for i in range(4)])
        (tmp_path / "m.yaml").write_text(text + "splits: {val: from-train}\n")
        with pytest.raises(FairpruneError, match="no splits"):
            load_manifest(tmp_path / "m.yaml")


class TestEqualBytes:
    SHARES = "splits: {train: 0.5, val: 0.25, test: 0.25, seed: 3%s}\n"

    def split_of(self, folder: Path, by: str = "") -> dict[str, str]:
        text = "table: table.csv\n" + UNSPLIT + self.SHARES % by
        return {name: split for name, (split, _) in told(load(folder, text)).items()}

    def test_copies_follow_one_of_them_and_nothing_else_moves(self, tmp_path: Path, found: list[Fact]) -> None:
        before = self.split_of(tmp_path)
        copies = [next(n for n, s in before.items() if s == split) for split in SPLITS]
        copy(tmp_path, copies[0], *copies[1:])
        after = self.split_of(tmp_path)
        assert len({after[name] for name in copies}) == 1
        assert {n: s for n, s in after.items() if n not in copies} == {
            n: s for n, s in before.items() if n not in copies
        }

    def test_persons_who_share_an_image_stay_together(self, tmp_path: Path, found: list[Fact]) -> None:
        before = self.split_of(tmp_path, ", by: person")
        first = {split: next(n for n, s in before.items() if s == split) for split in SPLITS}
        copy(tmp_path, first["train"], first["test"])
        after = self.split_of(tmp_path, ", by: person")
        pair = [int(first[split][:4]) // 2 * 2 for split in ("train", "test")]
        assert len({after[f"{i + k:04d}.png"] for i in pair for k in (0, 1)}) == 1
        people = [{n[:4] for n, s in after.items() if s == split} for split in SPLITS]
        assert all(
            not {int(n) // 2 for n in a} & {int(n) // 2 for n in b} for a in people for b in people if a is not b
        )

    def test_files_that_cannot_be_read_are_no_copies(self, tmp_path: Path, found: list[Fact]) -> None:
        before = self.split_of(tmp_path)
        hashes = np.zeros((80, 16), dtype=np.uint8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "content_hashes", lambda *_, **__: hashes)
            assert self.split_of(tmp_path) == before


def test_reading_for_a_drawing_gives_signs_of_life(tmp_path: Path, found: list[Fact]) -> None:
    (tmp_path / "manifest.yaml").write_text(
        HEAD + TRANSFORM + "table: table.csv\n" + UNSPLIT + "splits: {train: 0.6, val: 0.2, test: 0.2}\n"
    )
    signs: list[tuple[int, int]] = []
    load_manifest(tmp_path / "manifest.yaml", lambda done, total: signs.append((done, total)))
    assert signs == [(len(found), len(found))]
