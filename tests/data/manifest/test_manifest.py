"""Manifests: what is read, and that every mistake is an error that names its place."""

from __future__ import annotations

import builtins
import io
import os
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.checks.images import check_images
from fairprune_cli.data.images.pillow import ImageFault, open_image
from fairprune_cli.data.manifest.load import Manifest, Transform, find_manifest, init_manifest, load_manifest

MANIFEST = """\
version: 1
name: faces
table: table.csv
images: images
columns: {image: file, label: expression, split: split, person: person}
classes: [neutral, smiling]
attributes:
  gender: {column: gender, values: [male, female]}
  age: {column: age, bins: [0, 30, 60, 120]}
transform: {size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""
HEADER = "file,expression,gender,age,person,split"
GENDERS, AGES, LABELS = ("male", "female"), ("20", "30", "120"), ("neutral", "smiling")


def rows(count: int = 36) -> list[str]:
    lines = []
    for i in range(count):
        split = ("train", "val", "test")[i // 12 % 3]
        lines.append(f"{i:03d}.png,{LABELS[i % 2]},{GENDERS[i // 2 % 2]},{AGES[i % 3]},p{split}{i % 4},{split}")
    return lines


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """36 images, 12 in each split, with every combination of label, gender and age bin in each split."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(36):
        pixels = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03d}.png")
    write(tmp_path, rows())
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    return tmp_path


def write(folder: Path, lines: list[str], header: str = HEADER) -> None:
    (folder / "table.csv").write_text("\n".join([header, *lines]) + "\n")


def load(folder: Path, manifest: str | None = None) -> Manifest:
    if manifest is not None:
        (folder / "manifest.yaml").write_text(manifest)
    return load_manifest(folder / "manifest.yaml")


def error(folder: Path, manifest: str | None = None) -> str:
    with pytest.raises(FairpruneError) as caught:
        load(folder, manifest)
    assert caught.value.code == 2
    return str(caught.value)


def test_everything_the_manifest_says_is_read(data: Path) -> None:
    manifest = load(data)
    assert manifest.name == "faces"
    assert manifest.classes == ("neutral", "smiling")
    assert manifest.transform == Transform(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert manifest.files[5] == "005.png"
    assert manifest.rows[5] == 7
    assert manifest.labels.tolist() == [i % 2 for i in range(36)]
    assert manifest.splits.tolist() == [i // 12 for i in range(36)]
    assert manifest.persons is not None
    assert len(set(manifest.persons.tolist())) == 12
    age = manifest.grouping("age")
    assert age.groups == ("0-30", "30-60", "60-120")
    # 30 opens the second bin; 120, the last edge, belongs to the last.
    assert age.index[:3].tolist() == [0, 1, 2]
    assert manifest.warnings == ()


def test_counts_agree_with_a_plain_count(data: Path) -> None:
    counts = load(data).counts()
    for split in ("train", "val", "test"):
        lines = [line.split(",") for line in rows() if line.endswith(split)]
        assert counts[split]["n"] == len(lines)
        for label in LABELS:
            assert counts[split]["labels"][label] == sum(line[1] == label for line in lines)
            female = counts[split]["attributes"]["gender"]["female"]
            assert female["labels"][label] == sum(line[1] == label and line[2] == "female" for line in lines)


def test_counts_of_chosen_attributes(data: Path) -> None:
    counts = load(data).counts(["age", "gender*age"])
    assert list(counts["test"]["attributes"]) == ["age", "gender*age"]
    assert sum(entry["n"] for entry in counts["test"]["attributes"]["gender*age"].values()) == 12


def test_intersection_names_the_combinations_that_occur(data: Path) -> None:
    manifest = load(data)
    both = manifest.grouping("gender * age")
    assert both.name == "gender*age"
    assert both.groups[0] == "male*0-30"
    gender, age = manifest.grouping("gender"), manifest.grouping("age")
    for i in range(36):
        assert both.groups[both.index[i]] == f"{gender.groups[gender.index[i]]}*{age.groups[age.index[i]]}"


def test_intersection_leaves_out_whom_one_attribute_leaves_out(data: Path) -> None:
    write(data, [rows()[0].replace("male", "NA"), *rows()[1:]])
    manifest = load(data)
    assert manifest.grouping("gender*age").index[0] == -1
    assert "1 of 36" in manifest.warnings[0]


def test_intersection_without_test_image_is_an_error(data: Path) -> None:
    lines = [line.replace("female,120", "male,120") if line.endswith("test") else line for line in rows()]
    write(data, lines)
    with pytest.raises(FairpruneError, match=r"female\*60-120.*no test image"):
        load(data).grouping("gender*age")


def test_unknown_attribute_names_the_nearest(data: Path) -> None:
    with pytest.raises(FairpruneError, match="did you mean 'gender'"):
        load(data).grouping("gendre")


def test_missing_as_a_group_of_its_own(data: Path) -> None:
    lines = [line.replace(",male", ",") if i % 8 == 0 else line for i, line in enumerate(rows())]
    write(data, lines)
    manifest = load(data, MANIFEST.replace("female]}", "female], missing: unknown}"))
    assert manifest.grouping("gender").groups == ("male", "female", "unknown")
    assert manifest.grouping("gender").index[0] == 2
    dropped = load(data, MANIFEST)
    assert dropped.grouping("gender").index[0] == -1
    assert "5 of 36" in dropped.warnings[0]


def test_values_left_out_are_the_sorted_distinct_ones(data: Path) -> None:
    manifest = load(data, MANIFEST.replace(", values: [male, female]", ""))
    assert manifest.grouping("gender").groups == ("female", "male")


def test_words_that_yaml_takes_for_something_else_stay_words(data: Path) -> None:
    write(data, [line.replace("neutral", "no").replace("smiling", "01") for line in rows()])
    assert load(data, MANIFEST.replace("neutral, smiling", "no, 01")).classes == ("no", "01")


@pytest.mark.parametrize("spelling", ["valid", "validation", "VAL"])
def test_spellings_of_val(data: Path, spelling: str) -> None:
    write(data, [line[: -len("val")] + spelling if line.endswith(",val") else line for line in rows()])
    assert len(load(data).rows_of("val")) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("neutral", '"neutral"'),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n000.png", "\n./000.png"),
    ],
    ids=["bom", "crlf", "quotes", "spaces", "semicolons", "blank lines", "dot path"],
)
def test_harmless_forms_of_a_table_read_alike(data: Path, change: object) -> None:
    plain = load(data)
    text = (data / "table.csv").read_text()
    (data / "table.csv").write_bytes(change(text).encode())  # type: ignore[operator]
    changed = load(data)
    assert changed.counts() == plain.counts()
    assert changed.files == plain.files
    assert changed.sha256 != plain.sha256


def test_a_blank_line_does_not_shift_the_row_numbers(data: Path) -> None:
    lines = rows()
    write(data, [*lines[:5], "", lines[5].replace("smiling", "smilling"), *lines[6:]])
    text = error(data)
    assert "row 8" in text
    assert "did you mean 'smiling'" in text


def test_all_problems_at_once_with_their_rows(data: Path) -> None:
    lines = rows()
    lines[0] = lines[0].replace("neutral", "smirking")
    lines[1] = lines[1].replace("male", "mal")
    lines[2] = lines[2].replace(",120,", ",121,")
    lines[3] = lines[3].replace("003.png", "gone.png")
    lines[4] = lines[4].replace("004.png", "../table.csv")
    lines[6] = lines[6].replace("006.png", "/etc/passwd")
    lines[30] = lines[30].replace("030.png", "007.png")
    lines[8] = lines[8].replace("train", "trian")
    write(data, lines)
    text = error(data, MANIFEST.replace("name:", "nmae:"))
    for expected in (
        "line 2: nmae: unknown key; did you mean 'name'",
        "table.csv row 2: label 'smirking' is unknown",
        "table.csv row 3: gender 'mal' is unknown; did you mean 'male'",
        "table.csv row 4: age '121' is not a number from 0 to 120",
        "table.csv row 5: image 'gone.png' does not exist",
        "table.csv row 6: image '../table.csv' leaves the image root",
        "table.csv row 8: image '/etc/passwd' is an absolute path",
        "row 32: image '007.png' stands already at table.csv row 9, and in two splits (train and test)",
        "table.csv row 10: split 'trian' is unknown; did you mean 'train'",
    ):
        assert expected in text


def test_an_image_doubled_under_another_spelling_is_found(data: Path) -> None:
    write(data, [*rows(), rows()[0].replace("000.png", "./000.png")])
    assert "row 38: image '000.png' stands already at table.csv row 2" in error(data)


def test_links_must_stay_inside_the_image_root(data: Path) -> None:
    (data / "outside").mkdir()
    (data / "images" / "000.png").rename(data / "outside" / "000.png")
    (data / "images" / "000.png").symlink_to(data / "outside" / "000.png")
    (data / "images" / "sub").symlink_to(data / "outside")
    (data / "images" / "inner.png").symlink_to(data / "images" / "001.png")
    lines = rows()
    lines[2] = lines[2].replace("002.png", "sub/000.png")
    lines[3] = lines[3].replace("003.png", "inner.png")
    write(data, lines)
    text = error(data)
    assert "row 2: image '000.png' links to a place outside the image root" in text
    assert "row 4: image 'sub/000.png' lies outside the image root" in text
    assert "inner.png" not in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("size: 16", "size: 16.5", "transform.size: expected a whole number"),
        ("size: 16", "size: big", "line 10: transform.size: expected a number, found 'big'"),
        ("mean: [0.5, 0.5, 0.5]", "mean: [0.5, 0.5]", "transform.mean: expected one number (grey) or three numbers"),
        ("mean: [0.5, 0.5, 0.5]", "mean: [0.5]", "transform.std: has 3 numbers, mean has 1"),
        ("size: 16", "size: [16]", "transform.size: expected one number, or two for height and width, found 1"),
        ("size: 16", "size: [16, 7]", "transform.size: expected a whole number from 8 to 4096, found 7"),
        ("size: 16", "size: [16, 24.5]", "transform.size: expected a whole number from 8 to 4096, found 24.5"),
        ("size: 16", "size: 16x24", "transform.size: expected a number, found '16x24'"),
        ("std: [0.25, 0.25, 0.25]", "std: [0, 1, 1]", "transform.std: must be above 0"),
        ("version: 1", "version: 2", "reads version 1"),
        (
            "classes: [neutral, smiling]",
            "classes: {a: b}",
            "classes: expected a list, found keys with values",
        ),
        ("classes: [neutral, smiling]", "classes: [neutral, neutral]", "named twice: neutral"),
        ("classes: [neutral, smiling]", "", "classes: is missing"),
        (
            "[0, 30, 60, 120]",
            "[0, 60, 30]",
            "attributes.age.bins: expected at least two edges in rising order",
        ),
        ("bins: [0, 30, 60, 120]", "bins: [0, 60], values: [a]", "either values or bins"),
        ("values: [male, female]", "values: [male, female], missing: drip", "expected drop or unknown"),
        ("column: gender", "colum: gender", "attributes.gender.colum: unknown key; did you mean 'column'"),
        ("column: gender", "column: gendre", "no column 'gendre' (attribute gender); did you mean 'gender'"),
        ("  age:", "  a*b:", "without `*`"),
        ("name: faces", "name: faces\nname: again", "line 3: the key 'name' stands twice"),
        ("table: table.csv", "table: tabel.csv", "cannot be read: No such file"),
        ("images: images", "images: imgs", "is not a folder"),
        (", split: split", "", "no splits"),
        ("name: faces", "format: celebb", "'celebb' is not supported; supported: folder, celeba"),
        ("name: faces", "splits: {train: 0.7, test: 0.3}", "a split column is named as well"),
        ("values: [male, female]", "values: []", "attributes.gender.values: is an empty list"),
        ("bins: [0, 30, 60, 120]", "bins: []", "attributes.age.bins: is an empty list"),
        ("bins: [0, 30, 60, 120]", "names: {}", "attributes.age.names: names nothing"),
        ("bins: [0, 30, 60, 120]", "bins: [0, 60, 120], names: []", "attributes.age.names: is an empty list"),
        ("classes: [neutral, smiling]", "classes: []", "classes: is an empty list"),
        ("name: faces", "outputs: []", "outputs: is an empty list"),
        ("mean: [0.5, 0.5, 0.5]", "mean: []", "transform.mean: is an empty list"),
        ("  age:", '  "gender ": {column: age}\n  age:', "line 9: the key 'attributes.gender' stands twice"),
        ("column: gender,", "column: gender, column: age,", "line 8: the key 'attributes.gender.column' stands twice"),
        (
            "values: [male, female]",
            'names: {male: m, "male ": f}',
            "the key 'attributes.gender.names.male' stands twice",
        ),
        ("values: [male, female]", 'values: ["m\\n", "a\\x1b[0mb"]', "expected printable text, found 'a\\x1b[0mb'"),
        ("  age:", '  "a\\ne":', "an attribute's name is printable"),
        ("name: faces", "name: &a [*a]", "line 2: an alias stands within what it names"),
        ("name: faces", "name: " + "[" * 50, "line 2: nested more than 40 deep"),
        ("name: faces", "name: [", "not valid YAML"),
        ("name: faces", 'name: "\\UFFFFFFFF"', "not valid YAML"),
    ],
)
def test_faults_of_the_manifest(data: Path, old: str, new: str, expected: str) -> None:
    assert MANIFEST.count(old) == 1
    assert expected in error(data, MANIFEST.replace(old, new))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ("{train: 0.7, test: 0.2}", "sum to 1, found 0.9"),
        ("{train: 1.5, test: -0.5}", "sum to 1"),
        ("{train: 0.7, test: 0.3, by: family}", "only `person` is known"),
        ("{train: 0.7, test: 0.3, by: person}", "needs the column that tells persons apart"),
        ("{train: 0.7, tset: 0.3}", "did you mean 'test'"),
        ("{train: 1.0}", "no image is in the test split"),
    ],
)
def test_faults_of_fractions(data: Path, splits: str, expected: str) -> None:
    text = MANIFEST.replace(", split: split, person: person", "") + f"splits: {splits}\n"
    assert expected in error(data, text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (HEADER.encode() + b"\n", "has a header and no rows"),
        ("\n".join(rows()).encode(), "is the header missing?"),
        ((HEADER + "\n" + rows()[0] + ",extra\n").encode(), "row 2: 7 cells where the header has 6"),
        ((HEADER + ",file\n" + rows()[0] + ",x\n").encode(), "stand twice in the header: 'file'"),
        ((HEADER + '\n"' + rows()[0] + "\n").encode(), "not valid CSV"),
        ((HEADER + "\nM\u00fcller.png,a\n").encode("latin-1"), "row 2: byte 0xfc is not UTF-8"),
        ((HEADER + "\n").encode("utf-16"), "is not UTF-8"),
    ],
    ids=["empty", "no rows", "no header", "ragged", "doubled", "quote", "latin-1", "utf-16"],
)
def test_faults_of_the_table(data: Path, content: bytes, expected: str) -> None:
    (data / "table.csv").write_bytes(content)
    assert expected in error(data)


def test_many_rows_with_one_fault_are_one_line(data: Path) -> None:
    write(data, [line.replace("female", "f") for line in rows()])
    text = error(data)
    assert text.count("gender 'f' is unknown") == 1
    assert "and 12 more" in text


def test_group_without_test_image(data: Path) -> None:
    write(data, [line.replace("female", "male") if line.endswith("test") else line for line in rows()])
    assert "gender: group 'female' has no test image" in error(data)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            ",male,20",
            ',"ma\nle",20',
            "gender 'ma\\nle' is a name that cannot be printed",
        ),
        (
            "female,20",
            "\x1b[31mred,20",
            "table.csv rows 5, 8, 17, 20, 29, 32: gender '\\x1b[31mred' is a name that cannot be printed",
        ),
        (",male,", ",\u202emale,", "gender '\\u202emale' is a name that cannot be printed"),
        ("000.png", "0\x0700.png", "row 2: image '0\\x0700.png' has a name that cannot be printed"),
    ],
)
def test_names_that_cannot_be_printed_are_refused_where_they_are_read(
    data: Path, before: str, after: str, expected: str
) -> None:
    write(data, [line.replace(before, after) for line in rows()])
    assert expected in error(data, MANIFEST.replace(", values: [male, female]", ""))


def test_words_for_nothing_are_counted_by_word(data: Path) -> None:
    lines = rows()
    for i, word in enumerate(("None", "nan", "NaT", "<NA>", "#N/A", "None", "")):
        lines[i] = lines[i].replace(",female,", ",male,").replace(",male,", f",{word},")
    write(data, lines)
    manifest = load(data, MANIFEST.replace(", values: [male, female]", ""))
    assert manifest.grouping("gender").groups == ("female", "male")
    assert manifest.warnings == (
        "gender: 7 of 36 images have no value (None 2, nan 1, NaT 1, <NA> 1, #N/A 1) and are in no group",
    )


def test_a_word_for_nothing_that_is_listed_is_a_name(data: Path) -> None:
    write(data, [line.replace(",male,", ",None,") for line in rows()])
    manifest = load(data, MANIFEST.replace("[male, female]", "[None, female]"))
    assert np.bincount(manifest.grouping("gender").index).tolist() == [18, 18]
    write(data, [line.replace("neutral", "None") for line in rows()])
    text = error(data)
    assert "expression 'None' is unknown" not in text
    assert "label 'None' is unknown: it says that there is no value; where it is a name, list it" in text


def test_persons_called_none_are_nobody(data: Path) -> None:
    write(data, [line.replace("ptrain0", "None").replace("ptest0", "none") for line in rows()])
    assert load(data).warnings == ("6 rows name no person; each is taken for another person",)


def test_spellings_of_a_group_a_class_and_a_person_are_warnings(data: Path) -> None:
    lines = [line.replace(",male,", ",Male,") if i % 3 == 0 else line for i, line in enumerate(rows())]
    lines = [line.replace("neutral", "Neutral ").replace("smiling", "neu_tral") for line in lines]
    lines[0] = lines[0].replace("ptrain0", "P-train0")
    write(data, lines)
    text = MANIFEST.replace(", values: [male, female]", "").replace("[neutral, smiling]", "[Neutral, neu_tral]")
    assert load(data, text).warnings == (
        "label: 'Neutral' (18) and 'neu_tral' (18) differ in case, white space, hyphens or underscores alone: one name "
        "or two? `names` joins them",
        "person: 'P-train0' (1) and 'ptrain0' (2) differ in case, white space, hyphens or underscores alone: one name "
        "or two? spell a person's name in one way",
        "gender: 'Male' (6) and 'male' (12) differ in case alone: one name or two? `names` joins them",
    )


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_images_are_found_in_whatever_form_of_unicode_disk_and_table_have_them(data: Path, form: str) -> None:
    folder = unicodedata.normalize(form, "Größe")
    (data / "images" / folder).mkdir()
    names = [unicodedata.normalize("NFD" if i % 2 else "NFC", f"é{i}.png") for i in range(36)]
    for i, name in enumerate(names):
        (data / "images" / f"{i:03d}.png").rename(data / "images" / folder / name)
    other = "NFD" if form == "NFC" else "NFC"
    write(data, [f"{unicodedata.normalize(other, f'Größe/é{i}.png')}{line[7:]}" for i, line in enumerate(rows())])
    manifest = load(data)
    assert list(manifest.files) == [f"{folder}/{name}" for name in names]
    assert check_images(manifest) == []


def test_class_without_images_is_a_warning(data: Path) -> None:
    manifest = load(data, MANIFEST.replace("smiling]", "smiling, laughing]"))
    assert manifest.warnings == ("no image of class laughing",)


def test_person_in_two_splits_is_a_warning(data: Path) -> None:
    write(data, [line.replace("ptest0", "ptrain0") for line in rows()])
    assert load(data).warnings == ("1 persons stand in more than one split",)


class TestFractions:
    TEXT = MANIFEST.replace(", split: split", "").replace("  age: {column: age, bins: [0, 30, 60, 120]}\n", "")

    def text(self, extra: str = "") -> str:
        return self.TEXT + f"splits: {{train: 0.5, val: 0.25, test: 0.25, seed: 3{extra}}}\n"

    def test_shares_hold_in_every_class(self, data: Path) -> None:
        counts = load(data, self.text()).counts()
        for label in LABELS:
            assert [abs(counts[s]["labels"][label] - n) <= 1 for s, n in zip(counts, (9, 4.5, 4.5), strict=True)]
        assert sum(split["n"] for split in counts.values()) == 36

    def test_an_image_keeps_its_split_when_rows_are_reordered(self, data: Path) -> None:
        first = load(data, self.text())
        write(data, rows()[::-1])
        second = load(data)
        assert dict(zip(first.files, first.splits, strict=True)) == dict(zip(second.files, second.splits, strict=True))

    def test_another_seed_gives_another_split(self, data: Path) -> None:
        first = load(data, self.text())
        assert (load(data, self.text().replace("seed: 3", "seed: 4")).splits != first.splits).any()

    def test_no_person_stands_in_two_splits(self, data: Path) -> None:
        manifest = load(data, self.text(", by: person"))
        assert manifest.persons is not None
        pairs = set(zip(manifest.persons.tolist(), manifest.splits.tolist(), strict=True))
        assert len(pairs) == 12
        assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [18, 9, 9]


def test_parquet_reads_as_the_csv_does(data: Path) -> None:
    arrow_csv = pytest.importorskip("pyarrow.csv", reason="pyarrow is not installed")
    from pyarrow import parquet

    plain = load(data)
    parquet.write_table(arrow_csv.read_csv(data / "table.csv"), data / "table.parquet")
    text = MANIFEST.replace("table.csv", "table.parquet")
    assert load(data, text).counts() == plain.counts()
    assert "did you mean 'gender'" in error(data, text.replace("column: gender", "column: gendr"))
    (data / "table.parquet").write_bytes((data / "table.parquet").read_bytes()[:200])
    assert "not a readable Parquet file" in error(data, text)


def test_parquet_without_pyarrow_says_what_to_install(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    (data / "table.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install pyarrow" in error(data, MANIFEST.replace("table.csv", "table.parquet"))


def test_manifest_is_looked_up_in_the_order_of_the_contract(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {}
    for name in ("flag", "variable", "configured", "beside", "here"):
        (tmp_path / name).mkdir()
        places[name] = tmp_path / name / "manifest.yaml"
        places[name].write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FAIRPRUNE_DATA", str(places["variable"]))
    model = tmp_path / "beside" / "model.pt"
    assert find_manifest(tmp_path / "flag", model, places["configured"]) == places["flag"]
    assert find_manifest(None, model, places["configured"]) == places["variable"]
    monkeypatch.delenv("FAIRPRUNE_DATA")
    assert find_manifest(None, model, places["configured"]) == places["configured"]
    assert find_manifest(None, model, None) == places["beside"]
    assert find_manifest(None, None, None).absolute() == places["here"]
    places["here"].unlink()
    with pytest.raises(FairpruneError) as caught:
        find_manifest(None, None, None)
    assert all(text in str(caught.value) for text in ("FAIRPRUNE_DATA", "fairprune.yaml", "beside", "working"))
    with pytest.raises(FairpruneError, match="--data"):
        find_manifest(tmp_path / "no.yaml", model, None)


def test_the_manifest_module_does_without_torch(data: Path) -> None:
    import subprocess

    code = "import sys, fairprune_cli.data.manifest.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_twenty_thousand_rows_within_two_seconds(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    first = tmp_path / "images" / "000000.png"
    first.write_bytes(b"x")
    for i in range(1, 20_000):
        os.link(first, tmp_path / "images" / f"{i:06d}.png")
    write(
        tmp_path,
        [
            f"{i:06d}.png,{LABELS[i % 2]},{GENDERS[i // 2 % 2]},{AGES[i % 3]},p{i},{('train', 'test')[i // 4 % 2]}"
            for i in range(20_000)
        ],
    )
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    start = time.process_time()
    assert len(load(tmp_path)) == 20_000
    assert time.process_time() - start < 2
    for i in range(1, 20_000, 2):
        (tmp_path / "images" / f"{i:06d}.png").unlink()
    assert "9,994 more images with this fault: missing" in error(tmp_path)


class TestTransform:
    def test_round_trip(self) -> None:
        transform = Transform(64, (0.485, 0.456, 0.406), (0.229, 0.224, 1e-5))
        assert Transform.from_dict(transform.to_dict()) == transform

    @pytest.mark.parametrize(
        "values",
        [
            {},
            {"size": 64},
            {"size": "x", "mean": [0] * 3, "std": [1] * 3},
            {"size": 64, "mean": 0, "std": [1, 1]},
        ],
    )
    def test_faults(self, values: dict[str, object]) -> None:
        with pytest.raises(FairpruneError):
            Transform.from_dict(values)


class TestImages:
    """`open_image` and `check_images`."""

    def test_orientation_is_undone(self, tmp_path: Path) -> None:
        upright = Image.new("RGB", (24, 16))
        upright.paste((255, 0, 0), (0, 0, 12, 16))
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned: to be shown turned by 90 degrees clockwise
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif, quality=95)
        image = open_image(tmp_path / "a.jpg")
        assert image.size == (24, 16)
        assert image.getpixel((4, 8))[0] > 200  # type: ignore[index]
        assert image.getpixel((20, 8))[0] < 50  # type: ignore[index]

    @pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "PA"])
    def test_every_mode_becomes_rgb_of_the_same_grey(self, tmp_path: Path, mode: str) -> None:
        grey = 255 if mode == "1" else 128
        if mode == "I;16":
            image = Image.fromarray(np.full((16, 16), grey << 8, dtype=np.uint16))
        else:
            image = Image.new("RGB", (16, 16), (grey,) * 3).convert("RGB")
            palette = Image.Palette.ADAPTIVE
            image = image.convert("P" if mode == "PA" else mode, palette=palette)
        if mode == "PA":
            image.info["transparency"] = 0
        suffix = "tif" if mode == "CMYK" else "png"
        image.save(tmp_path / f"a.{suffix}")
        result = np.asarray(open_image(tmp_path / f"a.{suffix}", 16))
        assert result.shape == (16, 16, 3)
        assert np.abs(result.astype(int) - grey).max() <= 3

    @pytest.mark.parametrize("shape", [(30, 50), (50, 30), (64, 64), (16, 16), (9, 200)])
    def test_result_is_square_and_taken_from_the_centre(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        width, height = shape
        ramp = np.zeros((height, width, 3), dtype=np.uint8)
        ramp[..., 0] = np.linspace(0, 255, width)[None]
        ramp[..., 1] = np.linspace(0, 255, height)[:, None]
        Image.fromarray(ramp).save(tmp_path / "a.png")
        result = np.asarray(open_image(tmp_path / "a.png", 16)).astype(float)
        assert result.shape == (16, 16, 3)
        assert abs(result[..., 0].mean() - 127.5) < 2
        assert abs(result[..., 1].mean() - 127.5) < 2

    def test_small_images_are_scaled_with_antialiasing(self, tmp_path: Path) -> None:
        board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
        Image.fromarray(board).save(tmp_path / "a.png")
        result = np.asarray(open_image(tmp_path / "a.png", 16)).astype(float)
        assert np.abs(result - 127.5).max() < 10

    def test_findings(self, data: Path) -> None:
        manifest = load(data)
        images = data / "images"
        (images / "000.png").write_bytes((images / "000.png").read_bytes()[:200])
        (images / "001.png").write_bytes(b"not an image")
        Image.new("RGB", (7, 30)).save(images / "002.png")
        (images / "003.png").unlink()
        (images / "030.png").write_bytes((images / "004.png").read_bytes())
        (images / "006.png").write_bytes((images / "005.png").read_bytes())
        seen: list[tuple[int, int]] = []
        findings = check_images(manifest, lambda done, total: seen.append((done, total)))
        assert [(finding.code, finding.file, finding.row) for finding in findings] == [
            ("truncated", "000.png", 2),
            ("unreadable", "001.png", 3),
            ("too-small", "002.png", 4),
            ("missing", "003.png", 5),
            ("label-conflict", "006.png", 8),
            ("duplicate-across-splits", "030.png", 32),
        ]
        assert "in train and in test" in findings[-1].text
        assert seen[-1] == (36, 36)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_damaged_files_are_findings_never_exceptions(self, draw: st.DataObject) -> None:
        stream = io.BytesIO()
        kind = draw.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
        Image.new("RGB", (16, 16), (9, 99, 199)).save(stream, kind)
        content = bytearray(stream.getvalue())
        for _ in range(draw.draw(st.integers(1, 8))):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
        size, fault = (16, 16), ""
        try:
            size = open_image(io.BytesIO(bytes(content)), 16).size
        except ImageFault as caught:
            fault = caught.code
        assert size == (16, 16)
        assert fault in ("", "unreadable", "truncated", "damaged", "too-small", "too-large")


class TestInit:
    def test_a_table_given_for_a_manifest_is_told_how_it_becomes_one(self, data: Path) -> None:
        with pytest.raises(FairpruneError) as caught:
            load_manifest(data / "table.csv")
        assert f"fairprune data init {data / 'table.csv'}" in (caught.value.hint or "")

    def test_a_table_with_its_splits(self, data: Path) -> None:
        plain = load(data).counts()
        text = init_manifest(data / "table.csv", name="my faces")
        manifest = load(data, text)
        assert manifest.name == "my faces"
        assert manifest.images.name == "images"
        assert set(manifest.attributes) == {"gender", "age"}
        assert manifest.persons is not None
        assert {split: counts["n"] for split, counts in manifest.counts().items()} == {
            split: counts["n"] for split, counts in plain.items()
        }

    def test_a_folder_with_a_table_is_taken_for_the_table(self, data: Path) -> None:
        assert "table: table.csv" in init_manifest(data)

    def test_an_attribute_with_an_untested_group_is_left_as_a_comment(self, data: Path) -> None:
        write(data, [line.replace("female", "male") if line.endswith("test") else line for line in rows()])
        text = init_manifest(data)
        assert "# left out" in text
        assert set(load(data, text).attributes) == {"age"}

    def test_odd_names_are_quoted(self, data: Path) -> None:
        lines = [line.replace("neutral", "a: b #1").replace("female", '"""f"", [x]"') for line in rows()]
        write(data, lines, HEADER.replace("gender", "null").replace("expression", "label"))
        manifest = load(data, init_manifest(data))
        assert manifest.classes == ("a: b #1", "smiling")
        assert manifest.grouping("null").groups == ('"f", [x]', "male")

    def test_a_manifest_elsewhere_names_its_way_to_the_data(self, data: Path) -> None:
        out = data / "configs" / "faces.yaml"
        out.parent.mkdir()
        out.write_text(init_manifest(data, out=out))
        manifest = load_manifest(out)
        assert len(manifest) == 36
        assert manifest.name == data.name

    def test_nothing_recognised(self, tmp_path: Path) -> None:
        with pytest.raises(FairpruneError, match="no image in class folders"):
            init_manifest(tmp_path)
        (tmp_path / "table.csv").write_text("a,b\n1,2\n")
        with pytest.raises(FairpruneError, match="no column names image files"):
            init_manifest(tmp_path / "table.csv")
        with pytest.raises(FairpruneError, match="no such file"):
            init_manifest(tmp_path / "gone")


BYTES = st.tuples(st.sampled_from(["replace", "insert", "delete"]), st.floats(0, 1), st.integers(0, 255))


def mutated(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    result = bytearray(content)
    for kind, place, value in changes:
        at = min(int(place * len(result)), len(result) - 1)
        if kind == "insert":
            result.insert(at, value)
        elif kind == "delete" and len(result) > 1:
            del result[at]
        else:
            result[at] = value
    return bytes(result)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestFuzz:
    """A changed byte gives an error or the same images; what changes beyond that is said in a warning."""

    @FUZZ
    @given(changes=st.lists(BYTES, min_size=1, max_size=3))
    def test_table(self, data: Path, changes: list[tuple[str, float, int]]) -> None:
        text = MANIFEST.replace("  age: {column: age, bins: [0, 30, 60, 120]}\n", "")
        # Names that three changed bytes cannot turn into one another.
        text = text.replace("female", "feminine").replace("[male", "[boy")
        write(data, [line.replace("female", "feminine").replace(",male", ",boy") for line in rows()])
        plain = load(data, text)
        (data / "table.csv").write_bytes(mutated((data / "table.csv").read_bytes(), changes))
        try:
            changed = load(data)
        except FairpruneError:
            return
        assert sorted(changed.files) == sorted(plain.files)
        if not changed.warnings:
            assert changed.counts() == plain.counts()

    @FUZZ
    @given(changes=st.lists(BYTES, min_size=1, max_size=3))
    def test_manifest(self, data: Path, changes: list[tuple[str, float, int]]) -> None:
        (data / "manifest.yaml").write_bytes(mutated(MANIFEST.encode(), changes))
        try:
            changed = load(data)
        except FairpruneError:
            return
        assert len(changed) == 36
        assert [len(changed.rows_of(split)) for split in ("train", "val", "test")] == [12, 12, 12]

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(alphabet=st.sampled_from("abc:{}[],&*!|>-?#%@`'\"\\ \n\t~<0.U"), max_size=60))
    def test_any_yaml(self, data: Path, text: str) -> None:
        error(data, text)
