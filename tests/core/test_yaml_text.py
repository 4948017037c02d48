"""YAML within bounds: nothing unfolds, nothing is lost to a doubled key, nothing but YAMLError is raised."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.yaml_text import yaml_nodes, yaml_values

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{own}: &{own} [{', '.join([f'*{before}'] * 10)}]\n" for before, own in zip("abcdefgh", "bcdefghi", strict=True)
)
BOTH = pytest.mark.parametrize("read", [yaml_nodes, yaml_values])


@BOTH
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS, "line 5: holds more than 100,000 values"),
        (LAUGHS.replace("[", "{k: [").replace("]", "]}"), "holds more than 100,000 values"),
        (
            "- &a {k: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" + "- [*a, *a, *a]\n" * 4000,
            "holds more than 100,000 values",
        ),
        ("a: &a [*a]", "line 1: an alias stands within what it names"),
        ("[" * 3000, "line 1: nested more than 40 deep"),
        ("\n".join(" " * i + "a:" for i in range(60)), "line 40: nested more than 40 deep"),
        ("- " * 60 + "a", "nested more than 40 deep"),
        ("a: 1\n---\nb: 2", "line 2: "),
        ('a: "\\UFFFFFFFF"', "out of range"),
        ("a: *b", "line 1: found undefined alias"),
    ],
)
def test_documents_beyond_the_bounds_are_refused_with_their_line(read: object, text: str, expected: str) -> None:
    before = time.perf_counter()
    with pytest.raises(yaml.YAMLError) as caught:
        read(text)  # type: ignore[operator]
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - before < 10


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2", "x:\n  - {b: 1, b: 1}", "a: 1\n'a': 2", "a: {1: x, '1': y}", "? a\n: 1\n? a\n: 2", "!!set {a, a}"],
)
def test_a_key_that_stands_twice_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"line \d: the key '\w' stands twice"):
        yaml_values(text)


@pytest.mark.parametrize(
    "value",
    ["!!float abc", "!!int ''", "!!bool x", "!!timestamp abc", "2001-99-99", "2001-01-01T25:61:61", "9" * 5000,
     "1" + ":59" * 100_000, "0x" + "f" * 9000, "!!binary ä", "!!set [a]", "!!python/name:os.system", "&a [*a]"],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_tag_or_number_of_any_text_is_an_error_with_its_line(value: str) -> None:
    with pytest.raises(yaml.YAMLError, match="line 2"):
        yaml_values(f"b: 1\na: {value}")


def test_a_document_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "yaml_bytes=20")
    assert yaml_values("a: " + "x" * 17) is not None
    with pytest.raises(yaml.YAMLError, match="FAIRPRUNE_LIMITS=yaml_bytes=40"):
        yaml_values("a: " + "x" * 18)


@pytest.mark.parametrize("text", ["a: 2020-99-99", "a: " + "9" * 6000, "a: !!python/name:os.system x", "a: !!binary ä"])
def test_values_that_do_not_exist_are_errors_of_the_document(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        yaml_values(text)


def test_aliases_and_merges_of_ordinary_size_are_read() -> None:
    assert yaml_values("b: &b {x: 1, y: 1}\nc: {<<: *b, x: 2}\nd: [*b, *b]")["c"] == {"x": 2, "y": 1}
    assert yaml_values("") is None


@given(st.recursive(st.integers() | st.text("ab: '\"\n#&*") | st.none() | st.booleans(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab*&: "), inner, max_size=4),
                    max_leaves=20))  # fmt: skip
def test_what_was_written_is_read_as_the_safe_loader_reads_it(value: object) -> None:
    text = yaml.safe_dump(value)
    assert yaml_values(text) == value == yaml.safe_load(text)


@pytest.mark.parametrize("tag", ["!!python/name:os.system", "!!python/object/apply:os.system", "!mine"])
@pytest.mark.parametrize("reader", [yaml_nodes, yaml_values])
def test_a_tag_that_asks_for_more_than_values_is_refused(reader: Callable[[str], Any], tag: str) -> None:
    for text in (f"threshold: {tag} ''", f"{tag} {{a: 1}}", f"a: {tag} [1]"):
        with pytest.raises(yaml.YAMLError, match=r"^line 1: the tag .* is none of plain values"):
            reader(text)
