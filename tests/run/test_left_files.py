"""The log of an interrupted run: cut where its state stands, and refused where no run wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.run.left_files import events_of

EPOCH = '{"event": "epoch", "epoch": 1}\n'


def test_what_came_after_the_state_is_dropped_and_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(EPOCH * 3 + '{"event": "ep')
    text, kept = events_of(path, 2)
    assert text == path.read_text()
    assert kept == EPOCH * 2


@pytest.mark.parametrize(
    "line",
    ["[]", "null", "7", "{}", '{"event": []}', '{"event": "epoch", "loss": NaN}', "junk", "[" * 100_000, "\0" * 9],
)
def test_a_line_that_no_run_writes_is_the_file_s_fault(line: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f"{EPOCH}{line}\n{EPOCH}")
    with pytest.raises(FairpruneError, match="is no line that a run writes") as refused:
        events_of(path, 9)
    assert refused.value.code == ExitCode.BAD_INPUT
    assert refused.value.where == f"{path}, line 2"
