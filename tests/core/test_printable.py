"""Names: trimmed, composed, and of characters that can be printed."""

from __future__ import annotations

import unicodedata

import pytest

from fairprune_cli.core.printable import is_printable, tidy


@pytest.mark.parametrize(
    "text", ["a\x1b[31m", "a\nb", "a\r", "\x85", "a\u2028b", "a\u2029", "\x00", "\ud800", "\u202eba", "\x9b0m"]
)
def test_what_could_fool_a_terminal_is_no_name(text: str) -> None:
    assert not is_printable(text)


@pytest.mark.parametrize(
    "text", ["East Asian", "East\u00a0Asian", "3.45\u202fPM.png", "می\u200cخواهم", "👩\u200d🔬", "Négro", "日本"]
)
def test_words_of_any_script_are_names(text: str) -> None:
    assert is_printable(text)


@pytest.mark.parametrize("text", ["Négro", "Å", "ñandú", "한글"])
def test_decomposed_letters_are_composed(text: str) -> None:
    assert tidy(f" {unicodedata.normalize('NFD', text)}\u00a0\t") == unicodedata.normalize("NFC", text)


def test_what_has_another_meaning_stays_apart() -> None:
    assert tidy("ﬁ²") == "ﬁ²"  # only canonical equivalence: no letters are taken for others
