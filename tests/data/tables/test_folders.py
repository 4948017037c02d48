"""Class folders as a data set, with and without split folders and a table of attributes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.load import Manifest, init_manifest, load_manifest
from fairprune_cli.data.tables.folders import list_folder

TRANSFORM = "transform: {size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
PLAIN = "version: 1\nformat: folder\nroot: .\nsplits: {train: 0.5, val: 0.25, test: 0.25}\n" + TRANSFORM
SPLIT = "version: 1\nformat: folder\nroot: .\n" + TRANSFORM
ATTRIBUTES = "attributes_table: attributes.csv\nattributes: {gender: {column: sex, values: [m, f]}}\n"


def fill(folder: Path, count: int = 8) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(list(str(folder.name).encode()))
    for i in range(count):
        Image.fromarray(generator.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """root/class/image: cats and dogs, 8 each, beside things that are no images."""
    fill(tmp_path / "dog")
    fill(tmp_path / "cat" / "indoors", 4)
    fill(tmp_path / "cat" / "outdoors", 4)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """root/split/class/image."""
    for name in ("train", "valid", "test"):
        fill(tmp_path / name / "cat", 2)
        fill(tmp_path / name / "dog", 3)
    return tmp_path


def load(folder: Path, text: str) -> Manifest:
    (folder / "manifest.yaml").write_text(text)
    return load_manifest(folder)


def attributes(folder: Path, skip: int = 0) -> list[str]:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    lines = [f"{file},{'mf'[i % 2]},p{i // 2}" for i, file in enumerate(files)]
    (folder / "attributes.csv").write_text("\n".join(["file,sex,who", *lines[skip:]]) + "\n")
    return lines


def test_class_folders(plain: Path) -> None:
    manifest = load(plain, PLAIN)
    assert manifest.classes == ("cat", "dog")
    assert len(manifest) == 16
    assert manifest.files[0] == "cat/indoors/0.png"
    assert manifest.labels.tolist() == [0] * 8 + [1] * 8
    assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [8, 4, 4]


def test_order_of_classes_is_that_of_the_manifest(plain: Path) -> None:
    manifest = load(plain, PLAIN + "classes: [dog, cat]\n")
    assert manifest.classes == ("dog", "cat")
    assert manifest.labels.tolist() == [1] * 8 + [0] * 8


def test_split_folders(split: Path) -> None:
    manifest = load(split, SPLIT)
    assert manifest.classes == ("cat", "dog")
    assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [5, 5, 5]
    assert all(manifest.files[i].startswith("valid/") for i in manifest.rows_of("val"))


def test_split_folders_and_fractions_contradict(split: Path) -> None:
    with pytest.raises(FairpruneError, match="the folders name the splits already"):
        load(split, PLAIN)


def test_no_split_folders_and_no_fractions(plain: Path) -> None:
    with pytest.raises(FairpruneError, match="no splits"):
        load(plain, SPLIT)


def test_attributes_come_from_the_table_by_path(split: Path) -> None:
    lines = attributes(split)
    manifest = load(split, SPLIT + ATTRIBUTES + "columns: {person: who}\n")
    gender = manifest.grouping("gender")
    for i, file in enumerate(manifest.files):
        line = next(line for line in lines if line.startswith(file + ","))
        assert gender.groups[gender.index[i]] == line.split(",")[1]
        assert manifest.rows[i] == lines.index(line) + 2
    assert manifest.persons is not None


def test_image_without_attributes_is_in_no_group(split: Path) -> None:
    attributes(split, skip=2)
    manifest = load(split, SPLIT + ATTRIBUTES)
    assert (manifest.grouping("gender").index < 0).sum() == 2
    assert "2 images have no row in attributes.csv" in manifest.warnings
    unknown = load(split, SPLIT + ATTRIBUTES.replace("[m, f]", "[m, f], missing: unknown"))
    assert unknown.classes == ("cat", "dog")


def test_faults_of_the_attributes_table(split: Path) -> None:
    lines = attributes(split)
    with (split / "attributes.csv").open("a") as table:
        table.write("test/cat/9.png,m,p9\n" + lines[0] + "\n")
    with pytest.raises(FairpruneError) as caught:
        load(split, SPLIT + ATTRIBUTES)
    text = str(caught.value)
    assert "attributes.csv row 17: no such image in the class folders, as 'test/cat/9.png'" in text
    assert "attributes.csv row 18: the image stands in an earlier row already" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPLIT + "attributes: {gender: {column: sex}}\n", "attributes_table: attributes.csv"),
        (SPLIT + "classes: [cats, dog]\n", ", 6 images: label 'cat' is unknown; did you mean 'cats'"),
        (SPLIT + "table: x.csv\n", "table: unknown key"),
        (SPLIT.replace("root: .", "root: gone"), "cannot be read"),
        (SPLIT.replace("format: folder", "format: foldr"), "supported: folder"),
        (SPLIT + "columns: {split: s}\n", "columns.split: unknown key"),
    ],
)
def test_faults_of_the_manifest(split: Path, text: str, expected: str) -> None:
    with pytest.raises(FairpruneError) as caught:
        load(split, text)
    assert expected in str(caught.value)


def test_formats_that_cannot_be_read_say_what_can(split: Path) -> None:
    with pytest.raises(FairpruneError, match=r"imagenet.*supported: folder, celeba, fairface, lfw, utkface"):
        load(split, SPLIT.replace("format: folder", "format: imagenet"))


def test_split_folders_beside_others_are_ambiguous(split: Path) -> None:
    fill(split / "extra", 2)
    with pytest.raises(FairpruneError, match="'test', 'train', 'valid' name splits, but 'extra'"):
        load(split, SPLIT)


def test_images_outside_class_folders_are_counted(split: Path) -> None:
    Image.new("RGB", (16, 16)).save(split / "test" / "stray.png")
    assert load(split, SPLIT).warnings == ("1 images lie outside any class folder and are left out",)


def test_a_class_folder_that_links_outside_the_root_is_an_error(split: Path) -> None:
    outside = split.parent / f"{split.name}-outside"
    fill(outside, 2)
    (split / "test" / "owl").symlink_to(outside)
    with pytest.raises(FairpruneError, match="outside the image root"):
        load(split, SPLIT)


def test_linked_folders_below_a_class_are_not_passed_over_silently(split: Path) -> None:
    (split / "test" / "cat" / "more").symlink_to(split / "train" / "cat")
    with pytest.raises(FairpruneError, match="links to a folder"):
        load(split, SPLIT)


def test_a_folder_without_images_is_no_class_and_said(split: Path) -> None:
    (split / "train" / "owl").mkdir()
    manifest = load(split, SPLIT)
    assert manifest.classes == ("cat", "dog")
    assert manifest.warnings == ("folder 'owl' holds no image and is no class",)


def test_file_names_that_cannot_be_printed_are_errors(split: Path) -> None:
    with open(bytes(split / "test" / "cat") + b"/\xff.png", "wb"):
        pass
    with pytest.raises(FairpruneError, match="not printable UTF-8"):
        load(split, SPLIT)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="no image in class folders"):
        load(tmp_path, PLAIN)


def test_a_new_file_changes_the_hash(split: Path) -> None:
    before = load(split, SPLIT).sha256
    Image.new("RGB", (16, 16)).save(split / "test" / "cat" / "new.png")
    assert load(split, SPLIT).sha256 != before


@pytest.mark.parametrize("layout", ["plain", "split"])
def test_init_recognises_the_layout(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    text = init_manifest(folder)
    manifest = load(folder, text)
    assert manifest.classes == ("cat", "dog")
    assert manifest.name == folder.name
    assert ("splits:" in text) == (layout == "plain")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "m.yaml").write_text(init_manifest(folder, out=folder / "elsewhere" / "m.yaml"))
    again = load_manifest(folder / "elsewhere" / "m.yaml")
    assert again.files == manifest.files
    assert again.classes == manifest.classes


def test_a_split_folder_beside_others_is_a_problem_until_they_have_names(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "unlabeled/x", "later/cat", "later/dog"):
        fill(tmp_path / name, 3)
    with pytest.raises(
        FairpruneError, match="the folder 'train' names a split, but 'later', 'unlabeled' beside it do not"
    ):
        load(tmp_path, SPLIT)
    manifest = load(tmp_path, SPLIT + "splits: {names: {later: test, unlabeled: drop}}\n")
    assert manifest.classes == ("cat", "dog")
    assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [6, 0, 6]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        fill(tmp_path / name)
    assert load(tmp_path, PLAIN).classes == ("bus", "train")


def test_class_folders_have_names_that_can_be_printed(tmp_path: Path) -> None:
    for name in ("a", "b\nc", "d\x1b[31m"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    problems = Problems("")
    list_folder(tmp_path, problems)
    assert problems.texts == ["names of class folders cannot be printed: 'b\\nc', 'd\\x1b[31m'"]


def test_files_with_narrow_blanks_are_listed_and_those_with_line_ends_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Screenshot 3.45.12\u202fPM.png").touch()
    problems = Problems("")
    listing = list_folder(tmp_path, problems)
    assert problems.texts == []
    assert listing is not None
    assert listing.files == ["a/Screenshot 3.45.12\u202fPM.png"]
    (tmp_path / "a" / "1\n2.png").touch()
    list_folder(tmp_path, problems)
    assert "the file name '1\\n2.png' is not printable" in problems.texts[0]


def test_classes_are_composed_and_never_joined(tmp_path: Path) -> None:
    for form in ("NFD", "NFC"):
        folder = tmp_path / unicodedata.normalize(form, "né")
        folder.mkdir()
        (folder / "1.png").touch()
        problems = Problems("")
        listing = list_folder(tmp_path, problems)
        assert listing is not None
        assert set(listing.labels) == {"né"}
    assert problems.texts == ["class folders differ in white space or the form of Unicode alone: 'ne\\u0301', 'n\\xe9'"]
