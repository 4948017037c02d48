"""JSON within bounds: what is nested or long beyond them is a ValueError with the option, never a RecursionError."""

from __future__ import annotations

import pytest

from fairprune_cli.core.json_text import json_values


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 60 + "1" + "}" * 60])
def test_nested_documents_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested more than 40 deep; .*FAIRPRUNE_LIMITS=report_depth="):
        json_values(text)


def test_values_are_bounded_and_the_option_raises_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[" + "0," * 99 + "0]"
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "report_values=99")
    with pytest.raises(ValueError, match="holds more than 99 values"):
        json_values(text)
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "report_values=100")
    assert json_values(text) == [0] * 100


def test_a_document_of_ordinary_depth_is_read() -> None:
    assert json_values('{"a": ' + "[" * 38 + "]" * 38 + "}") is not None
