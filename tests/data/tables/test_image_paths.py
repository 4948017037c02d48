"""Images that are named: how many faults are told before no further row is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.tables.image_paths import MANY_FAULTS, check_files


def test_a_table_of_faults_alone_is_not_looked_at_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "table_faults=5")
    problems = Problems("m.yaml", every=True)
    check_files(tmp_path, [f"{n}.png" for n in range(1000)], None, "t.csv", range(2, 1002), problems)
    assert [problem.code for problem in problems.found] == [MANY_FAULTS, *["missing"] * 6]
    assert "more than 5 images with a fault; those from t.csv row 8 on were not looked at" in problems.texts
