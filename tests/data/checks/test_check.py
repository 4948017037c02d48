"""`data check`: all findings at once, with severity, file and row, as text and as JSON."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.commands import data as datasets
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.checks.association import associate, cramers_v
from fairprune_cli.data.checks.check import Checked, check_data
from fairprune_cli.run.options import Settings
from tests.support.datasets import TRANSFORM, celeba, draw

TEXT = (
    "version: 1\ntable: t.csv\nimages: images\ncolumns: {image: file, label: y, split: part, person: who}\n"
    "classes: [no, yes]\nattributes: {sex: {column: sex}}\n" + TRANSFORM
)
COUNT = 48


def lines() -> list[str]:
    parts = ("train", "val", "test")
    return [f"{i:02d}.png,{('no', 'yes')[i % 2]},{'mf'[i // 2 % 2]},{parts[i // 16]},p{i}" for i in range(COUNT)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(COUNT):
        draw(tmp_path / "images" / f"{i:02d}.png", i)
    write(tmp_path, lines())
    (tmp_path / "manifest.yaml").write_text(TEXT)
    return tmp_path


def write(folder: Path, rows: list[str]) -> None:
    (folder / "t.csv").write_text("\n".join(["file,y,sex,part,who", *rows]) + "\n")


def found(checked: Checked, severity: str = "error") -> list[tuple[str, str, int]]:
    return [(f.code, f.file, f.row) for f in checked.findings if f.severity == severity]


def run(folder: Path, as_json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = datasets.check(Settings(data=str(folder)), Terminal(out, err, {}), as_json)
    return int(code), out.getvalue(), err.getvalue()


def codes(checked: Checked) -> set[str]:
    return {finding.code for finding in checked.findings}


def test_faults_of_manifest_table_and_images_come_together(data: Path) -> None:
    rows = lines()
    rows[0] = rows[0].replace(",no,", ",maybe,")
    rows[1] = rows[1].replace("01.png", "gone.png")
    rows[2] = rows[2].replace("02.png", "../t.csv")
    rows[3] = rows[3].replace("train", "trian")
    write(data, rows)
    images = data / "images"
    (images / "05.png").write_bytes(b"not an image")
    (images / "06.png").write_bytes((images / "06.png").read_bytes()[:200])
    (images / "40.png").write_bytes((images / "07.png").read_bytes())
    (data / "manifest.yaml").write_text(TEXT.replace("name:", "nmae:").replace("version: 1", "version: 1\nnmae: x"))
    checked = check_data(data)
    assert found(checked) == [
        ("manifest", "", 0),
        ("unknown-value", "t.csv", 2),
        ("unknown-value", "t.csv", 5),
        ("missing", "gone.png", 3),
        ("outside", "../t.csv", 4),
        ("unreadable", "05.png", 7),
        ("truncated", "06.png", 8),
        ("duplicate-across-splits", "40.png", 42),
    ]
    code, out, err = run(data, as_json=True)
    document = json.loads(out)
    assert code == ExitCode.BAD_INPUT
    assert document["errors"] == 8
    assert {"severity", "code", "text", "file", "row"} == set(document["findings"][0])
    assert "did you mean 'name'" in document["findings"][0]["text"]
    code, out, err = run(data)
    assert code == ExitCode.BAD_INPUT
    assert "error: 05.png, row 7: cannot be decoded" in err
    assert "error: t.csv row 2: label 'maybe' is unknown" in err
    assert "48 images, 8 errors" in out


def test_every_missing_image_is_listed_for_programs_and_some_for_people(data: Path) -> None:
    for i in range(30):
        (data / "images" / f"{i:02d}.png").unlink()
    document = json.loads(run(data, as_json=True)[1])
    assert [f["row"] for f in document["findings"] if f["code"] == "missing"] == list(range(2, 32))
    assert "10 more findings of the kind missing" in run(data)[2]


def test_warnings_do_not_fail(data: Path) -> None:
    (data / "images" / "02.png").write_bytes((data / "images" / "00.png").read_bytes())
    (data / "images" / "03.png").write_bytes((data / "images" / "04.png").read_bytes())
    checked = check_data(data)
    assert found(checked) == []
    assert {"duplicate", "label-conflict", "small-cell"} <= {code for code, _, _ in found(checked, "warning")}
    code, out, err = run(data)
    assert code == ExitCode.OK
    assert "warning: 02.png, row 4: has the same bytes as '00.png'" in err
    assert "warnings" in out


def test_small_and_empty_combinations_are_named_per_split(data: Path) -> None:
    rows = [row.replace(",yes,f,val", ",no,f,val") for row in lines()]
    write(data, rows)
    texts = [f.text for f in check_data(data).findings if f.code in ("small-cell", "empty-cell")]
    assert len(texts) == 3
    assert texts[1] == (
        "val: 4 of 4 combinations of sex and label have fewer than 30 images, 1 of them none: "
        "f x yes 0, m x no 4, m x yes 4, f x no 8"
    )


def test_sizes_and_enlarged_and_oblong_images(data: Path) -> None:
    draw(data / "images" / "01.png", 1, side=12)
    from PIL import Image

    Image.new("RGB", (60, 20)).save(data / "images" / "02.png")
    checked = check_data(data)
    assert {"enlarged", "oblong"} <= codes(checked)
    assert checked.sizes == {
        "least": [12, 16],
        "median": [16, 20],
        "largest": [60, 20],
        "distinct": 3,
        "most": [16, 20],
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda b: b"\xef\xbb\xbf" + b, "bom"),
        (lambda b: b.replace(b"\n", b"\r\n"), "line-ends"),
        (lambda b: b.replace(b"\n", b"\r\n", 3), "line-ends"),
    ],
    ids=["bom", "crlf", "mixed"],
)
def test_harmless_forms_are_notes(data: Path, change: Any, code: str) -> None:
    plain = check_data(data)
    (data / "t.csv").write_bytes(change((data / "t.csv").read_bytes()))
    checked = check_data(data)
    assert [f.code for f in checked.findings if f.severity == "note"] == [code]
    assert found(checked, "warning") == found(plain, "warning")
    assert run(data)[0] == ExitCode.OK


def test_rows_that_are_not_utf_8_are_all_named_and_read_back(data: Path) -> None:
    content = (data / "t.csv").read_bytes()
    (data / "t.csv").write_bytes(content.replace(b",p3\n", b",M\xfcller\n").replace(b",p9\n", b",Ren\xe9\n"))
    checked = check_data(data)
    assert found(checked) == [("not-utf-8", "t.csv", 5), ("not-utf-8", "t.csv", 11)]
    assert "Müller" in checked.findings[0].text
    (data / "t.csv").write_bytes(content.decode().encode("utf-16"))
    assert "UTF-16" in check_data(data).findings[0].text


@pytest.mark.parametrize(
    ("old", "new", "code", "row"),
    [
        (b"05.png,", b'"05.png,', "bad-quoting", 7),
        (b"05.png,", b"05.png,x,", "bad-row", 7),
        (b"file,y,", b"file,file,", "bad-table", 1),
        (b"file,y,sex", b"file,y,gender", "unknown-column", 1),
    ],
)
def test_faults_of_the_table(data: Path, old: bytes, new: bytes, code: str, row: int) -> None:
    (data / "t.csv").write_bytes((data / "t.csv").read_bytes().replace(old, new, 1))
    assert (code, "t.csv", row) in found(check_data(data))


def test_what_follows_from_an_error_is_left_out(data: Path) -> None:
    follow = {"empty-cell", "small-cell", "association", "untested-group", "manifest"}
    usual = codes(check_data(data))
    assert "small-cell" in usual
    for before, after, left in (
        (",no,", ",maybe,", {"unknown-value"}),  # a label that occurs nowhere in the manifest
        (",train,", ",trian,", {"unknown-value"}),
        (",f,", ",fe\x07male,", {"unprintable"}),
    ):
        write(data, [line.replace(before, after) for line in lines()])
        assert codes(check_data(data)) - {"association"} == left | (usual - follow), before
    values = TEXT.replace("sex: {column: sex}", "sex: {column: sex, values: [m, f]}")
    write(data, [line.replace(",m,", ",man,", 1) if i < 30 else line for i, line in enumerate(lines())])
    (data / "manifest.yaml").write_text(values)
    assert codes(check_data(data)) == {"unknown-value"} | (usual - follow)


def test_combinations_of_a_group_or_class_that_was_named_whole_are_left_out(data: Path) -> None:
    write(data, [line.replace(",f,test", ",m,test") for line in lines()])
    (data / "manifest.yaml").write_text(TEXT.replace("[no, yes]", "[no, yes, never]"))
    found_now = check_data(data).findings
    assert [f.text for f in found_now if f.code == "untested-group"] == [
        "sex: group 'f' has no test image, so nothing can be said of it"
    ]
    assert "no image of class never" in [f.text for f in found_now]
    cells = [f.text for f in found_now if f.code in ("small-cell", "empty-cell")]
    assert len(cells) == 3
    assert not any("never" in text for text in cells)
    assert cells[2].endswith(": m x no 8, m x yes 8")


def test_a_person_is_not_in_a_split_that_is_none(data: Path) -> None:
    write(
        data,
        [line.replace("train", "trian", 1).replace(",p0", ",p1") if i == 0 else line for i, line in enumerate(lines())],
    )
    assert not any("persons" in f.text for f in check_data(data).findings)


def test_groups_that_differ_in_case_are_pointed_out(data: Path) -> None:
    write(data, [row.replace(",m,", ",M,") if i % 8 == 0 else row for i, row in enumerate(lines())])
    (found_one,) = [f for f in check_data(data).findings if f.code == "alike-groups"]
    assert found_one.text == "sex: 'M' (6) and 'm' (18) differ in case alone: one name or two? `names` joins them"


def test_a_manifest_that_is_not_there_or_no_yaml(data: Path) -> None:
    with pytest.raises(FairpruneError, match="cannot be read"):
        check_data(data / "gone.yaml")
    (data / "manifest.yaml").write_bytes(b"name: \xff\n")
    assert found(check_data(data)) == [("not-utf-8", "", 0)]
    (data / "manifest.yaml").write_text("a: [")
    assert json.loads(run(data, as_json=True)[1])["errors"] == 1


def test_it_works_for_published_layouts(tmp_path: Path) -> None:
    celeba(tmp_path)
    (tmp_path / "manifest.yaml").write_text(
        f"format: celeba\nlabel: Blond_Hair\nattributes: {{gender: {{column: Male}}}}\n{TRANSFORM}"
    )
    (tmp_path / "img_align_celeba" / "000004.jpg").unlink()
    assert found(check_data(tmp_path)) == [("missing", "img_align_celeba/000004.jpg", 6)]


def test_no_torch_is_imported(data: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from fairprune_cli.commands import data as datasets\nfrom fairprune_cli.run.options import Settings\n"
        "from fairprune_cli.core.terminal import Terminal\n"
        "code = datasets.check(Settings(data=sys.argv[1]), Terminal(), True)\n"
        "sys.exit(int(code) or ('torch' in sys.modules) * 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(data)], check=False, capture_output=True)
    assert ran.returncode == 0, ran.stderr


class TestAssociation:
    @given(
        st.integers(2, 5).flatmap(
            lambda columns: st.lists(
                st.lists(st.integers(0, 60), min_size=columns, max_size=columns), min_size=2, max_size=6
            )
        )
    )
    def test_v_is_that_of_the_definition(self, table: list[list[int]]) -> None:
        counts = np.array(table)
        value, chance = cramers_v(counts)
        held = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
        if min(held.shape) < 2:
            assert value is chance is None
        else:
            assert value is not None
            expected = np.outer(held.sum(1), held.sum(0)) / held.sum()
            squared = ((held - expected) ** 2 / expected).sum()
            wanted = math.sqrt(squared / (held.sum() * (min(held.shape) - 1)))
            assert math.isclose(value, min(wanted, 1.0), abs_tol=1e-12)

    def test_chance_is_the_mean_of_independent_tables(self) -> None:
        rng = np.random.default_rng(0)
        squares = []
        for _ in range(400):
            rows, columns = rng.permutation(np.arange(60) % 3), np.arange(60) % 2
            value, chance = cramers_v(np.bincount(rows * 2 + columns, minlength=6).reshape(3, 2))
            assert value is not None
            squares.append(value**2)
        assert chance is not None
        assert abs(math.sqrt(np.mean(squares)) - chance) < 0.01

    @pytest.mark.parametrize(
        ("counts", "word", "notable"),
        [
            ([[500, 500], [500, 500]], "hardly", False),
            ([[600, 400], [400, 600]], "weakly", False),
            ([[700, 300], [300, 700]], "moderately", True),
            ([[900, 100], [100, 900]], "strongly", True),
            ([[3, 1], [1, 3]], "not distinguishably", False),
        ],
    )
    def test_words(self, counts: list[list[int]], word: str, notable: bool) -> None:
        one = associate("sex", ("m", "f"), ("no", "yes"), np.array(counts))
        assert f"sex and label are {word} related" in one.text
        assert one.notable is notable

    def test_the_shares_are_those_of_the_groups(self) -> None:
        even = associate("sex", ("m", "f"), ("no", "yes"), np.array([[50, 50], [50, 50]])).text
        assert even.endswith("no are 50 % of each group")
        text = associate("sex", ("m", "f"), ("no", "yes"), np.array([[80, 20], [30, 70]])).text
        assert text.endswith("no are 80 % of m, 30 % of f")

    def test_one_group_is_undefined_and_says_why(self) -> None:
        document = associate("sex", ("m", "f"), ("no", "yes"), np.array([[8, 2], [0, 0]])).document()
        assert document["cramers_v"] is None
        assert "only one group" in document["cramers_v_undefined"]


def test_an_oblong_transform_has_its_own_measure(data: Path) -> None:
    from PIL import Image

    manifest = data / "manifest.yaml"
    grey = "transform: {size: [8, 16], mean: [0.5], std: [0.25]}\n"
    manifest.write_text(manifest.read_text().replace(TRANSFORM, grey))
    for row, size in (("01", (32, 16)), ("02", (15, 40)), ("03", (64, 17)), ("04", (66, 16)), ("05", (40, 41))):
        Image.new("RGB", size, tuple(size) * 2).save(data / "images" / f"{row}.png")
    findings = {f.code: f.text for f in check_data(data).findings if f.code in ("enlarged", "oblong")}
    # All others are 16 wide and 20 high: more than twice as high as 8x16 is, as are the second and the fifth.
    assert findings["enlarged"].startswith("1 images are smaller than the 8x16 pixels")
    assert "as '02.png' with 15x40" in findings["enlarged"]
    assert findings["oblong"].startswith("46 images are more than twice as long or as wide as 8x16")
    manifest.write_text(manifest.read_text().replace("[8, 16]", "[16, 8]"))
    assert "3 images" in {f.code: f.text for f in check_data(data).findings}["oblong"]
