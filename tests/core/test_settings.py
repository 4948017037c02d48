"""fairprune.yaml: what cannot be read of it is a problem that names its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core.errors import Problems
from fairprune_cli.core.settings import read_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_gap: 0.01\nmax_gap: 0.9\n", "line 2: the key 'max_gap' stands twice"),
        ("attr: [a]\nlr: 0.1\n'attr': [b]\n", "line 3: the key 'attr' stands twice"),
        ("seed: 2020-13-45\n", "out of range"),
        ("seed: " + "[" * 200, "nested more than"),
        ("seed: &a [*a]\n", "stands within what it names"),
    ],
)
def test_faults_of_the_file(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "fairprune.yaml").write_text(text)
    problems = Problems("settings")
    assert read_config(tmp_path / "fairprune.yaml", problems) == {}
    assert expected in problems.texts[0]
