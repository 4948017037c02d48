"""Names that a spreadsheet would run are text in a file, and themselves again when it is read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.csv_text import as_text, from_text, read_csv, written_csv
from fairprune_cli.core.errors import FairpruneError

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1", "''@a"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_becomes_text_and_is_read_back(name: str) -> None:
    assert as_text(name) == f"'{name}"
    assert from_text(as_text(name)) == name


@pytest.mark.parametrize("cell", ["-0.25", "-1e-05", "+3", "-inf", "a=b", "'quoted'", "it's", "", "a@b"])
def test_numbers_and_other_texts_stay_as_they_are(cell: str) -> None:
    assert as_text(cell) == cell == from_text(cell)


@given(st.text(st.sampled_from("=+-@'\t1a;,\" ")))
def test_every_text_comes_back(text: str) -> None:
    assert from_text(as_text(text)) == text


def test_headers_are_text_too_and_other_marks_part_no_cells(tmp_path: Path) -> None:
    text = written_csv(["=a", "b"], [{"=a": "x;=cmd()", "b": -0.5}, {"=a": "y"}])
    assert text == '\'=a,b\n"x;=cmd()","-0.5"\ny,\n'
    assert [len(row) for row in csv.reader(io.StringIO(text))] == [2, 2, 2]
    (tmp_path / "t.csv").write_text(text)
    assert list(read_csv(tmp_path / "t.csv", ["b"])) == [{"=a": "x;=cmd()", "b": "-0.5"}, {"=a": "y", "b": ""}]


@pytest.mark.parametrize("text", ["", "a\n1\n", "a,b\n1\n", 'a,b\n"1,2\n'])
def test_a_damaged_table_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(FairpruneError, match="is not the table that was written"):
        list(read_csv(tmp_path / "t.csv", ["b"]))
