"""`data init` on data as it lies around: the owner's split is kept, or the question has an answer that works."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.asked import Asked
from fairprune_cli.data.manifest.load import SPLITS, Manifest, init_manifest, load_manifest
from tests.support.data_layouts import ASKED, DRAWN, KEPT, LAYOUTS, REFUSED, Layout, Truth, draw, facts, write


def made(path: Path, asked: Asked | None = None) -> Manifest:
    """The manifest that is written for a path, read."""
    out = (path if path.is_dir() else path.parent) / "manifest.yaml"
    out.write_text(init_manifest(path, out=out, asked=asked))
    return load_manifest(out)


def told(manifest: Manifest) -> Counter[tuple[str, str]]:
    pairs = zip(manifest.splits, manifest.labels, strict=True)
    return Counter((SPLITS[split], manifest.classes[label]) for split, label in pairs)


def kept(manifest: Manifest, truth: Truth) -> bool:
    """Whether splits and labels are the owner's, but for a val part out of train where the owner has none."""
    own, found = truth.counts(), told(manifest)
    if not any(split == "val" for split, _ in own):
        for label in manifest.classes:
            found["train", label] += found.pop(("val", label), 0)
    return found == own


@pytest.mark.parametrize("layout", LAYOUTS, ids=[one.name for one in LAYOUTS])
def test_layout(layout: Layout, tmp_path: Path) -> None:
    (folder := tmp_path / "faces").mkdir()
    truth = layout.build(folder)
    if layout.expected == KEPT:
        assert kept(made(truth.path), truth)
    elif layout.expected == DRAWN:
        manifest = made(truth.path)
        labels = Counter(label for _, label in truth.own.values())
        assert Counter(manifest.classes[label] for label in manifest.labels) == labels
    else:
        with pytest.raises(FairpruneError) as caught:
            init_manifest(truth.path)
        assert layout.expected == REFUSED or "write" in caught.value.hint
        answers = re.findall(r"(?:fairprune data init (\S+) )?--splits '([^']*)'", caught.value.hint)
        for path, choice in answers if layout.expected == ASKED else ():
            manifest = made(Path(path or truth.path), Asked(splits=choice))
            assert {"train", "test"} <= {split for split, _ in told(manifest)}


def test_a_question_answered_in_words_keeps_the_owners_split(tmp_path: Path) -> None:
    (layout,) = (one for one in LAYOUTS if one.name.startswith("folders seg_train"))
    truth = layout.build(tmp_path)
    text = "{names: {seg_train: train, seg_test: test, seg_pred: drop}, val: from-train}"
    assert kept(made(tmp_path, Asked(splits=text)), truth)
    (layout,) = (one for one in LAYOUTS if one.name == "two split columns")
    (folder := tmp_path / "two").mkdir()
    truth = layout.build(folder)
    assert kept(made(truth.path, Asked(split_column="split")), truth)


def test_what_bears_no_labels_is_proposed_to_be_dropped(tmp_path: Path) -> None:
    draw(tmp_path, [f"{i:02d}.png" for i in range(60)])
    rows = [(f"{i:02d}.png", "ab"[i % 2], ("train", "unlabeled", "test")[i % 3]) for i in range(60)]
    with pytest.raises(FairpruneError) as caught:
        init_manifest(write(tmp_path / "table.csv", "file,label,split", rows))
    assert "unlabeled: drop" in caught.value.hint


@pytest.mark.parametrize("words", ["train test val  nan", "0 1 2  None", "True False  NaN"])
def test_every_answer_that_is_proposed_for_empty_cells_will_do(words: str, tmp_path: Path) -> None:
    cells = words.split(" ")
    draw(tmp_path, [f"{i:02d}.png" for i in range(60)])
    rows = [(f"{i:02d}.png", "ab"[i % 2], cells[i % len(cells)]) for i in range(60)]
    table = write(tmp_path / "table.csv", "file,label,is_train" if "True" in words else "file,label,split", rows)
    with pytest.raises(FairpruneError) as caught:
        init_manifest(table)
    answers = re.findall(r"--splits '(\{names[^']*)'", caught.value.hint)
    assert answers
    for answer in answers:
        assert len(made(table, Asked(splits=answer))) in (60, 60 - 2 * 60 // len(cells))


def test_folders_of_classes_two_levels_below_their_split_are_not_passed_over(tmp_path: Path) -> None:
    parts, classes = ("seg_train", "seg_test"), ("forest", "sea")
    draw(tmp_path, [f"{part}/{part}/{name}/{i}.png" for part in parts for name in classes for i in range(5)])
    answer = "{names: {seg_test: test, seg_train: train}, val: from-train}"
    with pytest.raises(FairpruneError, match="none of them stands in two splits"):
        init_manifest(tmp_path, asked=Asked(splits=answer))


def test_of_very_many_columns_a_hundred_are_proposed_as_groups_and_the_rest_is_counted(tmp_path: Path) -> None:
    draw(tmp_path, [f"{i:02d}.png" for i in range(40)])
    parts = ("train", "test")
    rows = [(f"{i:02d}.png", "ab"[i % 2], parts[i // 2 % 2], *["mf"[i // 4 % 2]] * 150) for i in range(40)]
    table = write(tmp_path / "table.csv", ",".join(["file", "label", "split", *(f"g{i}" for i in range(150))]), rows)
    notes: list[str] = []
    text = init_manifest(table, tell=notes.append)
    assert sum(line.startswith("  g") for line in text.splitlines()) == 100
    assert "50 more columns of few values are left out; --attr names those that matter" in notes


@pytest.mark.parametrize("text", ["{names: [", "{train: 0.5}", "{by: person}", "7", "{names: {a: nowhere}}"])
def test_splits_that_are_no_such_section_are_refused(text: str, tmp_path: Path) -> None:
    truth = LAYOUTS[0].build(tmp_path)
    with pytest.raises(FairpruneError, match="--splits"):
        init_manifest(truth.path, asked=Asked(splits=text))


class TestLabel:
    def table(self, folder: Path, header: str, *columns: str) -> Path:
        """A table of 40 images; a column of "ab" has a in the first half of every four rows."""
        names = [f"{i:03d}.png" for i in range(40)]
        draw(folder / "images", names)
        rows = [(name, *(c[(i >> k) % len(c)] for k, c in enumerate(columns))) for i, name in enumerate(names)]
        return write(folder / "table.csv", header, rows)

    @pytest.mark.parametrize("personal", ["gender", "Sex", "age_group", "perceived race", "skinType", "Male"])
    def test_who_a_person_is_is_no_label_while_another_column_fits(self, personal: str, tmp_path: Path) -> None:
        text = init_manifest(self.table(tmp_path, f"file,{personal},smiles", "fm", "yn"))
        assert "label: smiles" in text
        assert f"{personal}" in text.split("attributes:")[1]

    def test_it_is_where_no_other_fits(self, tmp_path: Path) -> None:
        assert "label: gender}" in init_manifest(self.table(tmp_path, "file,gender", "fm"))

    def test_what_is_guessed_is_marked_and_told(self, tmp_path: Path) -> None:
        notes: list[str] = []
        text = init_manifest(self.table(tmp_path, "file,wearing,smiling", "yn", "yn"), tell=notes.append)
        assert "label: wearing}  # guess: the label; 'smiling' would fit as well" in text
        assert any("'wearing'" in note and "--label" in note for note in notes)
        marked = [line for line in text.splitlines() if "# guess" in line]
        keys = ("images", "columns", "classes", "splits", "attributes", "size", "mean")
        assert all(any(line.strip().startswith(key) for line in marked) for key in keys)

    def test_what_is_told_is_not_guessed(self, tmp_path: Path) -> None:
        table = self.table(tmp_path, "file,wearing,smiling,gender", "yn", "yn", "fm")
        (tmp_path / "elsewhere").mkdir()
        draw(tmp_path / "elsewhere", [f"{i:03d}.png" for i in range(40)])
        asked = Asked("smiling", ("gender",), (24, 48), tmp_path / "elsewhere")
        manifest = made(table, asked)
        assert manifest.images == tmp_path / "elsewhere"
        assert tuple(manifest.attributes) == ("gender",)
        assert manifest.transform.size == (24, 48)
        text = (tmp_path / "manifest.yaml").read_text()
        assert "columns: {image: file, label: smiling}\n" in text

    def test_columns_that_are_not_there_are_named(self, tmp_path: Path) -> None:
        table = self.table(tmp_path, "file,wearing", "yn")
        for asked in (Asked("waering"), Asked(attributes=("waering",)), Asked(split_column="waering")):
            with pytest.raises(FairpruneError, match="no column 'waering'"):
                init_manifest(table, asked=asked)
        with pytest.raises(FairpruneError, match="no such folder"):
            init_manifest(table, asked=Asked(images=tmp_path / "gone"))

    @pytest.mark.parametrize(
        ("cells", "order"),
        [
            (("10", "9", "2", "1"), "1, 2, 9, 10"),
            (("-1", "1", "0"), '"-1", 0, 1'),
            (("1.5", "10.5", "2.5"), "1.5, 2.5, 10.5"),
            (("b10", "b9"), "b10, b9"),
            (("3", "20", "x"), "20, 3, x"),
        ],
    )
    def test_numbers_stand_in_the_order_of_numbers(self, cells: tuple[str, ...], order: str, tmp_path: Path) -> None:
        names = [f"{i:03d}.png" for i in range(40)]
        draw(tmp_path / "images", names)
        rows = [(name, cells[i % len(cells)]) for i, name in enumerate(names)]
        assert f"classes: [{order}]" in init_manifest(write(tmp_path / "table.csv", "file,label", rows))

    def test_folders_of_numbers_stand_in_torchvisions_order(self, tmp_path: Path) -> None:
        draw(tmp_path, [f"{c}/{i}.png" for c in ("1", "2", "10") for i in range(8)])
        notes: list[str] = []
        assert "classes: [1, 10, 2]" in init_manifest(tmp_path, tell=notes.append)
        assert any("'1', '10', '2'" in note and "torchvision" in note for note in notes)
        folder = pytest.importorskip("torchvision.datasets").ImageFolder(tmp_path)
        assert folder.classes == ["1", "10", "2"]
        assert made(tmp_path).classes == ("1", "10", "2")


class TestFolder:
    def test_a_table_in_a_folder_is_found_whatever_its_label_is_called(self, tmp_path: Path) -> None:
        names = [f"{i:03d}.png" for i in range(40)]
        draw(tmp_path / "images", names)
        write(
            tmp_path / "faces.csv",
            "picture,gender,mood",
            [(n, "fm"[i % 2], "ab"[i // 2 % 2]) for i, n in enumerate(names)],
        )
        (tmp_path / "notes.csv").write_text("who,what\nme,nothing\n")
        text = init_manifest(tmp_path)
        assert "table: faces.csv" in text
        assert "label: mood" in text

    def test_of_two_tables_one_has_to_be_named(self, tmp_path: Path) -> None:
        names = [f"{i:03d}.png" for i in range(40)]
        draw(tmp_path / "images", names)
        for table in ("a.csv", "b.csv"):
            write(tmp_path / table, "file,label", [(n, "ab"[i % 2]) for i, n in enumerate(names)])
        with pytest.raises(FairpruneError, match=r"'a\.csv', 'b\.csv' all name images"):
            init_manifest(tmp_path)
        assert "table: b.csv" in init_manifest(tmp_path / "b.csv")

    def test_a_table_beside_class_folders_tells_the_groups(self, tmp_path: Path) -> None:
        files = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(20)]
        draw(tmp_path, files)
        write(tmp_path / "owners.csv", "file,gender", [(file, "fm"[i % 2]) for i, file in enumerate(files)])
        manifest = made(tmp_path)
        assert manifest.classes == ("cat", "dog")
        assert manifest.grouping("gender").groups == ("f", "m")

    def test_a_damaged_table_is_told_where_there_is_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_bytes(b"file,label\n\xff.png,a\n")
        with pytest.raises(FairpruneError, match="not UTF-8"):
            init_manifest(tmp_path)

    def test_shares_of_one_split_folder_are_drawn_when_asked(self, tmp_path: Path) -> None:
        draw(tmp_path, [f"{s}/{f[1]}/{f[0]}" for s in ("train", "test") for f in facts(40)])
        with pytest.raises(FairpruneError, match="one of 'test', 'train'"):
            init_manifest(tmp_path / "train")
        assert len(made(tmp_path / "train", Asked(splits="{train: 0.5, val: 0.25, test: 0.25}"))) == 40


def test_tables_whose_images_bear_the_same_names_take_the_folder_of_their_split(tmp_path: Path) -> None:
    for split in ("test", "train", "valid"):
        (tmp_path / split).mkdir()
        for i in range(8):
            (tmp_path / split / f"{i}.png").write_bytes(f"{split} {i}".encode())
        rows = [f"{i}.png,{'ab'[i % 2]},{'mf'[i // 2 % 2]}\n" for i in range(8)]
        (tmp_path / f"{split}.csv").write_text("file,label,gender\n" + "".join(rows))
    manifest = made(tmp_path)
    folders = {(SPLITS[split], file.split("/")[0]) for split, file in zip(manifest.splits, manifest.files, strict=True)}
    assert folders == {("train", "train"), ("val", "valid"), ("test", "test")}
