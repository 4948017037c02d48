"""What streams write where their encoding lacks a character: never an error, and still to be understood."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest

from fairprune_cli.core.plain_characters import ascii_twin, holds, use_plain_characters
from fairprune_cli.core.terminal import Terminal

SAID = "dense → pruned: 3.5× smaller, ±0.1, −2 points, 0 – 1, … ≤ 5"
PLAIN = "dense -> pruned: 3.5x smaller, +-0.1, -2 points, 0 - 1, ... <= 5"


def stream(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    made = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n", write_through=True)
    use_plain_characters(made)
    return made


def written(into: io.TextIOWrapper) -> str:
    assert isinstance(into.buffer, io.BytesIO)
    return into.buffer.getvalue().decode(into.encoding)


@pytest.mark.parametrize("errors", ["strict", "backslashreplace", "surrogateescape"])
def test_twins_in_ascii(errors: str) -> None:
    out = stream("ascii", errors)
    Terminal(out, out, {}).result(SAID)
    assert written(out) == PLAIN + "\n"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp932", "latin-1", "utf-8", "utf-16"])
def test_what_the_encoding_has_stays(encoding: str) -> None:
    out = stream(encoding)
    Terminal(out, out, {}).result(SAID)
    wanted = "".join(c if holds(out, c) else ascii_twin(c) for c in SAID + "\n")
    assert isinstance(out.buffer, io.BytesIO)
    assert out.buffer.getvalue() == wanted.encode(encoding)
    assert "?" not in wanted


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932"])
def test_tables_keep_their_columns(encoding: str) -> None:
    out = stream(encoding)
    Terminal(out, out, {}).table("title → more", ["", "now"], [["accuracy", "91.2 – 93.4"], ["gap", "−1"]])
    lines = written(out).splitlines()
    rule = next(line for line in lines if set(line) <= set(" -─") and line.strip())
    assert len(rule) == max(len(line) for line in lines if "accuracy" in line)


def test_names_lose_their_accents_at_most() -> None:
    assert (
        "".join(map(ascii_twin, "Müller, Ærøskøbing, Łódź, naïve, straße"))
        == "Muller, AEroskobing, Lodz, naive, strasse"
    )
    assert ascii_twin("男") == "?"
    assert "".join(map(ascii_twin, "⚠\ufe0f █▒ ┌─┐ │ ├ ━ ╸ µ½")) == "! ## +-+ | + - - u1/2"


def test_every_character_has_a_twin_that_every_encoding_holds() -> None:
    for number in (*range(0x80, 0x3000), *range(0xD800, 0xE000), 0x1F600, 0x10FFFF):
        assert ascii_twin(chr(number)).isascii(), unicodedata.name(chr(number), hex(number))


def test_a_name_that_is_no_text_at_all_is_still_printed() -> None:
    out = stream("utf-8")
    Terminal(out, out, {}).result("images/\udcff.jpg")
    assert written(out) == "images/�.jpg\n"


def test_a_json_document_stays_what_it_is() -> None:
    document = {"group": "“Müller” → \\ 男 😀", "file": "\udcff"}
    for encoding in ("ascii", "cp1252", "utf-8"):
        out = stream(encoding)
        Terminal(out, out, {}).json(json.dumps(document, ensure_ascii=False))
        assert json.loads(written(out)) == document
    out = stream("utf-8")
    Terminal(out, out, {}).json(json.dumps({"group": "Müller"}, ensure_ascii=False))
    assert "Müller" in written(out)


def test_streams_without_an_encoding_are_left_alone() -> None:
    out = io.StringIO()
    use_plain_characters(out)
    Terminal(out, out, {}).result(SAID)
    assert out.getvalue() == SAID + "\n"
