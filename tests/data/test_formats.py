"""Published data sets in their authors' layout: read, recognised, and every fault of them said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.load import Manifest, init_manifest, load_manifest
from fairprune_cli.data.manifest.spec import native_formats
from tests.support import datasets as made

HEADS = {
    "celeba": "label: Blond_Hair\nattributes: {gender: {column: Male}}\n",
    "lfw": "label: Smiling\nattributes: {gender: {column: Male}}\n",
    "utkface": "label: gender\nattributes: {race: {column: race}}\n",
    "fairface": "label: gender\nattributes: {race: {column: race}}\n",
}


def load(folder: Path, kind: str, head: str | None = None) -> Manifest:
    text = f"version: 1\nformat: {kind}\nroot: .\n{HEADS[kind] if head is None else head}{made.TRANSFORM}"
    (folder / "manifest.yaml").write_text(text)
    return load_manifest(folder)


def error(folder: Path, kind: str, head: str | None = None) -> str:
    with pytest.raises(FairpruneError) as caught:
        load(folder, kind, head)
    assert caught.value.code == 2
    return str(caught.value)


def groups_of(manifest: Manifest, name: str) -> list[str]:
    grouping = manifest.grouping(name)
    return [grouping.groups[i] if i >= 0 else "" for i in grouping.index]


def test_the_formats_of_the_contract_are_there() -> None:
    assert native_formats() == ["celeba", "fairface", "lfw", "utkface"]


class TestCelebA:
    @pytest.mark.parametrize("archive", [False, True])
    def test_rows_labels_groups_and_the_published_partition(self, tmp_path: Path, archive: bool) -> None:
        rows = made.celeba(tmp_path, archive=archive)
        manifest = load(tmp_path, "celeba")
        assert manifest.classes == ("not Blond_Hair", "Blond_Hair")
        assert manifest.labels.tolist() == [int(row["Blond_Hair"] == "1") for row in rows]
        assert groups_of(manifest, "gender") == [{"1": "male", "-1": "female"}[row["Male"]] for row in rows]
        assert manifest.splits.tolist() == [int(row["part"]) for row in rows]
        assert manifest.rows[0] == 3
        assert manifest.where(4) == "list_attr_celeba.txt row 7"
        assert manifest.persons is not None
        assert len(set(manifest.persons.tolist())) == 24
        assert manifest.warnings == ()

    def test_values_named_by_the_manifest(self, tmp_path: Path) -> None:
        rows = made.celeba(tmp_path)
        head = (
            "label: {column: Blond_Hair, names: {-1: dark, 1: blond}}\nclasses: [blond, dark]\n"
            "attributes:\n  gender: {column: Male, names: {1: men, -1: women}}\n"
            "  code: {column: Male, values: [1, -1]}\n"
        )
        manifest = load(tmp_path, "celeba", head)
        assert manifest.classes == ("blond", "dark")
        assert manifest.labels.tolist() == [int(row["Blond_Hair"] == "-1") for row in rows]
        assert manifest.grouping("gender").groups == ("men", "women")
        assert groups_of(manifest, "gender") == ["men" if row["Male"] == "1" else "women" for row in rows]
        assert groups_of(manifest, "code") == [row["Male"] for row in rows]

    def test_classes_without_names_follow_the_codes_and_it_is_said(self, tmp_path: Path) -> None:
        rows = made.celeba(tmp_path)
        manifest = load(tmp_path, "celeba", HEADS["celeba"] + "classes: [dark, blond]\n")
        assert manifest.labels.tolist() == [int(row["Blond_Hair"] == "1") for row in rows]
        assert "-1 = dark, 1 = blond" in manifest.warnings[0]

    def test_csv_tables_read_as_the_text_does(self, tmp_path: Path) -> None:
        made.celeba(tmp_path)
        plain = load(tmp_path, "celeba")
        for name, head in (("list_attr_celeba", ["image_id"]), ("list_eval_partition", [])):
            lines = [line.split() for line in (tmp_path / f"{name}.txt").read_text().splitlines()]
            lines = [head + lines[1], *lines[2:]] if head else [["image_id", "partition"], *lines]
            (tmp_path / f"{name}.csv").write_text("\n".join(",".join(cells) for cells in lines) + "\n")
            (tmp_path / f"{name}.txt").unlink()
        changed = load(tmp_path, "celeba")
        assert changed.counts() == plain.counts()
        assert changed.files == plain.files

    def test_without_partition_splits_are_asked_for_and_may_keep_persons_whole(self, tmp_path: Path) -> None:
        made.celeba(tmp_path)
        (tmp_path / "list_eval_partition.txt").unlink()
        assert "no splits" in error(tmp_path, "celeba")
        splits = "splits: {train: 0.5, val: 0.25, test: 0.25, seed: 1, by: person}\n"
        manifest = load(tmp_path, "celeba", HEADS["celeba"] + splits)
        assert manifest.persons is not None
        assert len(set(zip(manifest.persons.tolist(), manifest.splits.tolist(), strict=True))) == 24

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda t: t.replace("48\n", "202599\n", 1), "announces 202,599 images, and 48 rows follow"),
            (lambda t: t.replace("000002.jpg -1  1", "000002.jpg -1  2"), "row 4: label '2' is unknown"),
            (lambda t: t.replace("000003.jpg -1", "000003.jpg"), "row 5: 4 values where there are 5 columns"),
            (lambda t: t.replace("000004.jpg", "gone.jpg"), "row 6: image 'img_align_celeba/gone.jpg' does not exist"),
            (lambda t: t.split("\n", 1)[1], "expected the number of images in line 1"),
            (lambda t: "", "expected the number of images in line 1"),
        ],
        ids=["cut short", "code", "ragged", "missing", "no count", "empty"],
    )
    def test_faults_name_their_row(self, tmp_path: Path, change: object, expected: str) -> None:
        made.celeba(tmp_path)
        table = tmp_path / "list_attr_celeba.txt"
        table.write_text(change(table.read_text()))  # type: ignore[operator]
        assert expected in error(tmp_path, "celeba")

    def test_unknown_attribute_names_the_nearest(self, tmp_path: Path) -> None:
        made.celeba(tmp_path)
        assert "did you mean 'Blond_Hair'" in error(tmp_path, "celeba", "label: Blond_Hiar\n")
        assert "label: is missing" in error(tmp_path, "celeba", "")

    def test_an_image_without_partition_is_named(self, tmp_path: Path) -> None:
        made.celeba(tmp_path)
        path = tmp_path / "list_eval_partition.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
        assert "'000047.jpg' has no row in list_eval_partition.txt" in error(tmp_path, "celeba")


class TestLFW:
    def test_scores_become_signs_and_persons_stay_whole(self, tmp_path: Path) -> None:
        images = made.lfw(tmp_path)
        manifest = load(tmp_path, "lfw")
        assert len(manifest) == len(images)
        assert manifest.classes == ("not Smiling", "Smiling")
        for file, label, gender, row in zip(
            manifest.files, manifest.labels, groups_of(manifest, "gender"), manifest.rows, strict=True
        ):
            person, number = file.split("/")[1], int(file[-8:-4])
            i = images.index((person, number))
            assert file == f"lfw/{person}/{person}_{number:04d}.jpg"
            assert (label, row) == (int(i % 2 == 0), i + 3)
            assert gender == ("male" if person.startswith("Bob") else "female")
        assert manifest.persons is not None
        assert len(set(zip(manifest.persons.tolist(), manifest.splits.tolist(), strict=True))) == 24
        assert {*manifest.splits.tolist()} == {0, 1, 2}

    def test_names_with_underscores_mean_the_columns_with_spaces(self, tmp_path: Path) -> None:
        made.lfw(tmp_path)
        assert load(tmp_path, "lfw", "label: Blond_Hair\n").classes == ("not Blond_Hair", "Blond_Hair")

    def test_scores_may_be_binned(self, tmp_path: Path) -> None:
        made.lfw(tmp_path)
        head = "label: Smiling\nattributes: {youth: {column: Youth, bins: [-9, 0, 9], names: [older, younger]}}\n"
        grouping = load(tmp_path, "lfw", head).grouping("youth")
        assert grouping.groups == ("older", "younger")
        assert set(grouping.index.tolist()) == {0, 1}

    def test_gender_lists_and_a_table_of_labels(self, tmp_path: Path) -> None:
        images = made.lfw(tmp_path, attributes=False)
        lines = [f"{p}_{n:04d}.jpg,{('neutral', 'smiling')[i % 2]}" for i, (p, n) in enumerate(images[:-2])]
        (tmp_path / "faces.csv").write_text("file,expression\n" + "\n".join(lines) + "\n")
        head = (
            "label: expression\nclasses: [neutral, smiling]\nattributes_table: faces.csv\n"
            "attributes: {gender: {column: gender}}\nsplits: {train: 0.4, val: 0.3, test: 0.3, seed: 1}\n"
        )
        manifest = load(tmp_path, "lfw", head)
        assert len(manifest) == len(images) - 2
        assert manifest.persons is not None
        kept = zip(manifest.persons.tolist(), manifest.splits.tolist(), strict=True)
        assert len(set(kept)) == len(set(manifest.persons.tolist()))
        assert "2 images have no label and are left out" in manifest.warnings
        assert manifest.grouping("gender").groups == ("female", "male")
        for file, gender in zip(manifest.files, groups_of(manifest, "gender"), strict=True):
            assert gender == ("male" if "Bob" in file else "female")

    def test_a_name_in_both_lists_is_an_error_and_one_in_none_has_no_group(self, tmp_path: Path) -> None:
        images = made.lfw(tmp_path)
        male, female = tmp_path / "male_names.txt", tmp_path / "female_names.txt"
        lines = male.read_text().splitlines(keepends=True)
        male.write_text("".join(lines[1:]))
        head = "label: Smiling\nattributes: {gender: {column: gender}}\n"
        manifest = load(tmp_path, "lfw", head)
        assert f"gender: 1 of {len(images)} images have no value and are in no group" in manifest.warnings
        female.write_text(female.read_text() + lines[1])
        assert f"female_names.txt row 25: {lines[1][:-5]!r} stands in male_names.txt as well" in error(
            tmp_path, "lfw", head
        )

    def test_images_without_scores_are_left_out_and_counted(self, tmp_path: Path) -> None:
        made.lfw(tmp_path)
        table = tmp_path / "lfw_attributes.txt"
        table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\nNo Body\t1\t1\t1\t1\t1\t1\n")
        warnings = load(tmp_path, "lfw").warnings
        assert "1 rows of lfw_attributes.txt name images that are not there" in warnings
        assert "1 images have no label and are left out" in warnings

    def test_without_a_label_the_error_says_what_there_is(self, tmp_path: Path) -> None:
        made.lfw(tmp_path, attributes=False)
        assert "no column 'Smiling'" in error(tmp_path, "lfw")


class TestUTKFace:
    def test_labels_and_groups_come_from_the_names(self, tmp_path: Path) -> None:
        rows = made.utkface(tmp_path)
        head = HEADS["utkface"].replace("}}", "}, age: {column: age, bins: [0, 30, 60, 120]}}")
        manifest = load(tmp_path, "utkface", head)
        assert manifest.classes == ("male", "female")
        assert len(manifest) == len(rows)
        assert "1 images are left out" in manifest.warnings[0]
        assert "61_1_20170109142408075" in manifest.warnings[0]
        for file, label, race in zip(manifest.files, manifest.labels, groups_of(manifest, "race"), strict=True):
            age, gender, code = (int(part) for part in file.split("/")[1].split("_")[:3])
            assert (age, gender, code) in rows
            assert label == gender
            assert race == ("White", "Black", "Asian", "Indian", "Others")[code]
        assert [len(manifest.rows_of(s)) for s in ("train", "val", "test")] == [42, 9, 9]

    def test_age_as_label_by_bins(self, tmp_path: Path) -> None:
        made.utkface(tmp_path)
        head = "label: {column: age, bins: [0, 40, 120], names: [young, old]}\n"
        manifest = load(tmp_path, "utkface", head)
        assert manifest.classes == ("young", "old")
        for file, label in zip(manifest.files, manifest.labels, strict=True):
            assert label == (int(file.split("/")[1].split("_")[0]) >= 40)

    def test_persons_are_not_known(self, tmp_path: Path) -> None:
        made.utkface(tmp_path)
        splits = "splits: {train: 0.5, val: 0.25, test: 0.25, by: person}\n"
        assert "comes without identities" in error(tmp_path, "utkface", HEADS["utkface"] + splits)

    def test_nothing_like_it(self, tmp_path: Path) -> None:
        made.draw(tmp_path / "a.jpg", 0)
        assert "has a name like" in error(tmp_path, "utkface")


class TestFairFace:
    def test_the_validation_table_is_the_test_split(self, tmp_path: Path) -> None:
        made.fairface(tmp_path)
        manifest = load(tmp_path, "fairface", HEADS["fairface"].replace("}}", "}, age: {column: age}}"))
        assert manifest.classes == ("Female", "Male")
        assert [len(manifest.rows_of(s)) for s in ("train", "val", "test")] == [54, 6, 24]
        assert all(manifest.files[i].startswith("val/") for i in manifest.rows_of("test"))
        assert manifest.grouping("age").groups == ("0-2", "3-9", "10-19", "20-29", "more than 70")
        val = manifest.rows_of("val")
        assert np.bincount(manifest.labels[val]).tolist() == [3, 3]
        assert manifest.rows[0] == 2

    def test_images_below_the_folder_of_the_archive(self, tmp_path: Path) -> None:
        made.fairface(tmp_path)
        inner = tmp_path / "fairface-img-margin025-trainval"
        inner.mkdir()
        for name in ("train", "val"):
            (tmp_path / name).rename(inner / name)
        assert load(tmp_path, "fairface").files[0] == "fairface-img-margin025-trainval/train/1.jpg"

    def test_a_missing_table_is_an_error(self, tmp_path: Path) -> None:
        made.fairface(tmp_path)
        (tmp_path / "fairface_label_val.csv").unlink()
        assert "fairface_label_val.csv is not in" in error(tmp_path, "fairface")

    def test_shares_of_the_manifest_put_the_published_split_aside(self, tmp_path: Path) -> None:
        made.fairface(tmp_path)
        head = HEADS["fairface"] + "splits: {train: 0.5, val: 0.25, test: 0.25}\n"
        assert [len(load(tmp_path, "fairface", head).rows_of(s)) for s in ("train", "val", "test")] == [42, 21, 21]


@pytest.mark.parametrize("kind", native_formats())
class TestEvery:
    def test_init_recognises_it_and_the_manifest_works(self, tmp_path: Path, kind: str) -> None:
        root = tmp_path / "somewhere"
        root.mkdir()
        getattr(made, kind)(root)
        text = init_manifest(root)
        assert f"format: {kind}" in text
        (root / "manifest.yaml").write_text(text)
        manifest = load_manifest(root)
        assert manifest.attributes
        assert load(root, kind).labels.tolist() == manifest.labels.tolist()
        out = tmp_path / "m.yaml"
        out.write_text(init_manifest(root, out=out))
        assert load_manifest(out).counts() == manifest.counts()

    def test_a_table_beside_it_adds_columns(self, tmp_path: Path, kind: str) -> None:
        getattr(made, kind)(tmp_path)
        plain = load(tmp_path, kind)
        lines = [f"{file},{'ab'[i % 2]},p{i}" for i, file in enumerate(plain.files)]
        (tmp_path / "more.csv").write_text("file,kind,who\n" + "\n".join(lines[1:]) + "\n")
        head = HEADS[kind] + "attributes_table: more.csv\ncolumns: {image: file, person: who}\n"
        manifest = load(tmp_path, kind, head.replace("attributes: {", "attributes: {extra: {column: kind}, "))
        assert groups_of(manifest, "extra") == ["", *("ab"[i % 2] for i in range(1, len(plain)))]
        (tmp_path / "more.csv").write_text("file,kind,who\nnothing.jpg,a,b\n")
        assert "no such image in the data set, as 'nothing.jpg'" in error(tmp_path, kind, head)

    def test_no_root(self, tmp_path: Path, kind: str) -> None:
        text = f"version: 1\nformat: {kind}\nroot: gone\n{HEADS[kind]}{made.TRANSFORM}"
        (tmp_path / "manifest.yaml").write_text(text)
        with pytest.raises(FairpruneError, match="is not a folder"):
            load_manifest(tmp_path)

    def test_a_new_image_or_a_changed_table_changes_the_hash(self, tmp_path: Path, kind: str) -> None:
        getattr(made, kind)(tmp_path)
        before = load(tmp_path, kind).sha256
        changed = sorted(p for p in tmp_path.rglob("*.csv")) or sorted(tmp_path.rglob("*attr*.txt"))
        if changed:
            changed[0].write_text(changed[0].read_text() + "\n")
        else:
            Image.new("RGB", (16, 16)).save(tmp_path / "UTKFace" / "30_1_1_2017.jpg")
        assert load(tmp_path, kind).sha256 != before


class TestTablesWithNames:
    """`label`, `names` and `splits: {names: ..}` for a table of one's own."""

    TEXT = (
        "version: 1\ntable: t.csv\ncolumns: {image: file, split: part}\nsplits: {names: {0: train, 1: val, 2: test}}\n"
        "label: {column: y, names: {0: no, 1: yes, 2: yes}}\nattributes: {sex: {names: {m: man, f: woman}}}\n"
    )

    def table(self, folder: Path) -> None:
        lines = [f"{i}.png,{i % 3},{'mf'[i // 3 % 2]},{i // 6 % 3}" for i in range(36)]
        (folder / "t.csv").write_text("file,y,sex,part\n" + "\n".join(lines) + "\n")
        for i in range(36):
            made.draw(folder / f"{i}.png", i)

    def read(self, folder: Path, text: str) -> Manifest:
        (folder / "manifest.yaml").write_text(text + made.TRANSFORM)
        return load_manifest(folder)

    def test_values_are_named_merged_and_split(self, tmp_path: Path) -> None:
        self.table(tmp_path)
        manifest = self.read(tmp_path, self.TEXT)
        assert manifest.classes == ("no", "yes")
        assert manifest.labels.tolist() == [int(i % 3 > 0) for i in range(36)]
        assert groups_of(manifest, "sex") == [("man", "woman")[i // 3 % 2] for i in range(36)]
        assert manifest.splits.tolist() == [i // 6 % 3 for i in range(36)]

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("2: yes}", "3: yes}", "row 4, 7, 10"),
            ("2: test", "2: tset", "'tset' is no split"),
            ("f: woman", "f: wo*man", "must not contain `*`"),
            ("names: {m: man, f: woman}", "names: [man, woman]", "expected keys with values, found a list"),
            ("label: {column: y, names", "label: {column: y, nmaes", "did you mean 'names'"),
            ("image: file,", "image: file, label: y,", "stands under `columns` as well"),
            ("names: {m: man, f: woman}", "bins: [0, 1, 2], names: [a]", "expected a name for each of the 2 bins"),
            ("split: part", "person: part", "needs a split column"),
        ],
    )
    def test_faults(self, tmp_path: Path, old: str, new: str, expected: str) -> None:
        self.table(tmp_path)
        assert self.TEXT.count(old) == 1
        with pytest.raises(FairpruneError) as caught:
            self.read(tmp_path, self.TEXT.replace(old, new))
        assert expected.replace("row ", "rows ") in str(caught.value)

    def test_a_class_that_is_not_listed_is_an_error(self, tmp_path: Path) -> None:
        self.table(tmp_path)
        with pytest.raises(FairpruneError, match="'no' is not among the names that are listed: yes, maybe"):
            self.read(tmp_path, self.TEXT + "classes: [yes, maybe]\n")
