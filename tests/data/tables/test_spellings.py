"""Names that are probably one: which are told, which are not, and in what words."""

from __future__ import annotations

import numpy as np
import pytest

from fairprune_cli.data.tables.spellings import alike_names, spelling_key, spreadsheet_dates


def told(*names: str) -> list[str]:
    return alike_names("g", names, np.repeat(np.arange(len(names)), np.arange(len(names)) + 2))


@pytest.mark.parametrize(
    "pair",
    [
        ("Male", "male"), ("STRASSE", "straße"), ("1", "1.0"), ("0", "-0"), ("01", "1"), ("+2", "2.00"),
        ("East Asian", "East_Asian"), ("East Asian", "East  Asian"), ("East-Asian", "EastAsian"),
        ("East Asian", "East\u00a0Asian"), ("East Asian", "East\u3000Asian"), ("f", "f\u200b"), ("f", "\ufefff"),
        ("0-2", "0 - 2"), ("0-2", "0–2"), ("type 1", "Type-1"), ("a (b)", "a(b)"), ("ﬁt", "fit"), ("True", "TRUE"),
    ],
)  # fmt: skip
def test_names_that_differ_in_spelling_alone_are_told_with_their_counts(pair: tuple[str, str]) -> None:
    (text,) = told(*pair)
    assert f"{pair[0]!r} (2) and {pair[1]!r} (3) differ in " in text


@pytest.mark.parametrize(
    "pair",
    [
        ("-1", "1"), ("1-12", "11-2"), ("0-2", "02"), ("10-19", "1019"), ("1_0", "10"), ("A-", "A+"), ("A-", "A"),
        ("HER2-", "HER2+"), ("1.0", "10"), ("1", "1.01"), ("9007199254740993", "9007199254740992"), ("o", "ö"),
        ("60", "60+"), ("Jan-19", "Feb-19"), ("May", "2-3"), ("male", "female"), ("<5", ">5"),
    ],
)  # fmt: skip
def test_names_that_mean_different_things_are_not(pair: tuple[str, str]) -> None:
    assert told(*pair) == []


@pytest.mark.parametrize(
    ("date", "meant"),
    [
        ("03-Sep", "3-9"), ("9-Mar", "3-9"), ("Oct-19", "10-19"), ("19-Oct", "10-19"), ("10. Mrz", "3-10"),
        ("Okt 19", "10-19"), ("2024-09-03 00:00:00", "3-9"), ("2024-03-09", "3-9"), ("5/Dec", "5-12"),
    ],
)  # fmt: skip
def test_dates_that_a_spreadsheet_made_of_ranges_are_told_whether_the_range_is_there_or_not(
    date: str, meant: str
) -> None:
    assert spreadsheet_dates(("0-2", date)) == {date: meant}
    assert f"{date!r} (3) and {meant!r} differ as a spreadsheet" in told("0-2", date)[0]
    assert f"{date!r} (3) and {meant!r} (2) differ as a spreadsheet" in told(meant, date)[0]


def test_dates_among_words_or_dates_are_dates() -> None:
    assert spreadsheet_dates(("Jan-19", "Feb-19", "unknown")) == {}
    assert spreadsheet_dates(("0-2", "12-Man", "3-Young")) == {}


def test_all_spellings_of_a_name_stand_in_one_sentence_and_many_are_counted() -> None:
    assert told("a b", "A B", "a_b")[0].startswith(
        "g: 'a b' (2) and 'A B' (3) and 'a_b' (4) differ in case, white space"
    )
    many = told(*(name for i in range(9) for name in (f"x{i}", f"X{i}")))
    assert len(many) == 7
    assert many[-1] == "g: 3 more names that differ so"


def test_images_in_no_group_do_not_count() -> None:
    (text,) = alike_names("g", ("a", "A"), np.array([0, -1, -1, 1, 0]))
    assert "'a' (2) and 'A' (1)" in text


def test_a_long_number_is_compared_quickly() -> None:
    assert spelling_key("1" * 5000) != spelling_key("1" * 5001)
