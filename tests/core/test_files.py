"""Names of files that every system takes."""

from __future__ import annotations

import pytest

from fairprune_cli.core.files import file_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model-bifp-2:4-0.5", "model-bifp-2-4-0.5"),
        ('a<b>c"d/e\\f|g?h*i', "a-b-c-d-e-f-g-h-i"),
        ("line\nend\x7f", "line-end-"),
        ("ends in a dot. ", "ends in a dot"),
        ("...", "-"),
        ("Größe 人", "Größe 人"),
    ],
)
def test_a_name_has_nothing_that_a_system_refuses(text: str, name: str) -> None:
    assert file_name(text) == name
