"""Tables as text: quotes, white space and Unicode of cells, names of columns, and how many there may be."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import pytest

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.tables.table import TextTable, is_missing, read_table


def read(folder: Path, text: str) -> tuple[TextTable | None, list[str]]:
    (folder / "t.csv").write_bytes(text.encode())
    problems = Problems("t.csv")
    return read_table(folder / "t.csv", problems), problems.texts


@pytest.mark.parametrize(
    "text",
    [
        'file, label\na.png, "x, y"\n',
        'file,   "label"\r\n"a.png",   "x, y"\r\n',
        '"file"; "label"\n"a.png"; "x, y"\n',
        '"file"\t "label"\na.png\t "x, y"\n',
        " file , label \n a.png ,  \"x, y\"\n",
        'file,label\na.png,\u00a0"x, y"\n'.replace("\u00a0", ""),
    ],
)  # fmt: skip
def test_cells_are_read_without_the_quotes_and_blanks_around_them(tmp_path: Path, text: str) -> None:
    table, faults = read(tmp_path, text)
    assert faults == []
    assert table is not None
    assert table.columns == {"file": ["a.png"], "label": ["x, y"]}


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("cells", [("a.png", "25", "x"), ("a.png", "25,5", "x, y"), ("a.png", "1,2", '"x, y, z"')])
def test_commas_within_names_and_cells_separate_nothing_where_another_mark_does(
    tmp_path: Path, mark: str, cells: tuple[str, ...]
) -> None:
    table, faults = read(tmp_path, mark.join(("file", "age, in years", "label")) + "\n\n" + mark.join(cells) + "\n")
    assert faults == []
    assert table is not None
    assert table.columns["age, in years"] == [cells[1]]
    assert table.columns["label"] == [cells[2].strip('"')]


@pytest.mark.parametrize(("first", "mark"), [("sep=;", ";"), ("SEP=|\r", "|"), ("sep=,", ",")])
def test_the_line_in_which_a_spreadsheet_names_the_separator_is_no_row(tmp_path: Path, first: str, mark: str) -> None:
    text = f"{first}\nfile{mark}label\na.png{mark}x\nb.png{mark}y\n"
    table, faults = read(tmp_path, text)
    assert faults == []
    assert table is not None
    assert table.columns == {"file": ["a.png", "b.png"], "label": ["x", "y"]}
    assert table.rows.tolist() == [3, 4]
    assert read(tmp_path, f"{text}c.png\n")[1] == ["t.csv row 5: 1 cells where the header has 2"]


def test_a_row_with_a_cell_too_many_is_told_whatever_else_stands_in_it(tmp_path: Path) -> None:
    _, faults = read(tmp_path, "file,label;kind\na.png,x;y,z\n")
    assert faults == ["t.csv row 2: 3 cells where the header has 2"]


def test_quotes_within_a_cell_stay(tmp_path: Path) -> None:
    table, _ = read(tmp_path, 'file,label\na.png,"a ""b"""\nb.png,5" pot\n')
    assert table is not None
    assert table.columns["label"] == ['a "b"', '5" pot']


@pytest.mark.parametrize("before", ["\u00a0", "\v", "\u3000 "])
def test_quotes_behind_other_white_space_are_an_error_with_the_row(tmp_path: Path, before: str) -> None:
    table, faults = read(tmp_path, f'file,label\na.png,x\nb.png,{before}"x"\n')
    assert table is None
    assert "t.csv row 3: the quotes" in faults[0]


def test_cells_and_names_are_composed_and_trimmed(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Größe,né")
    table, _ = read(tmp_path, f"{apart}\nNégro\u00a0,{unicodedata.normalize('NFD', 'Négro')}\n")
    assert table is not None
    assert dict(table.columns) == {"Größe": ["Négro"], "né": ["Négro"]}


def test_a_mark_that_composes_to_a_delimiter_splits_no_cell(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "file;label\na\u037eb;x\n")  # the Greek question mark is canonically a semicolon
    assert table is not None
    assert table.columns["file"] == ["a;b"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('file,"la\nbel"', r"cannot be printed: 'la\nbel'"),
        ("file,\x1b[31mlabel", r"cannot be printed: '\x1b[31mlabel'"),
        ("file,lab\u202eel", r"cannot be printed: 'lab\u202eel'"),
        ("file,é," + unicodedata.normalize("NFD", "é"), "stand twice in the header: 'é'"),
    ],
)
def test_names_of_columns_that_are_none(tmp_path: Path, header: str, expected: str) -> None:
    table, faults = read(tmp_path, header + "\na,b,c\n")
    assert table is None
    assert expected in faults[0]


def test_a_hundred_thousand_columns_are_refused_before_a_row_is_read(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(100_000))
    before = time.perf_counter()
    table, faults = read(tmp_path, names + "\n" + "\n".join([",".join("1" * 100_000)] * 3) + '\n"open')
    assert table is None
    assert [fault.partition(";")[0] for fault in faults] == ["t.csv has 100,000 table columns"]
    assert "at most 10,000 are read" in faults[0]
    assert "FAIRPRUNE_LIMITS=table_columns=100000" in faults[0]
    assert time.perf_counter() - before < 3
    assert read(tmp_path, ",".join(f"c{i}" for i in range(10_000)) + "\n" + "," * 9_999)[1] == []


@pytest.mark.parametrize("word", ["", "NA", "nan", "None", "<NA>", "NaT", "#N/A", "null", "NULL", "-nan", "#NA", "n/a"])
def test_words_for_nothing(word: str) -> None:
    assert is_missing(word)


@pytest.mark.parametrize("word", ["no", "0", "-", "unknown", "Nan Goldin", "nonexistent", "nat turner"])
def test_words_that_say_something(word: str) -> None:
    assert not is_missing(word)
