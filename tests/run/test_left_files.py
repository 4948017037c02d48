"""The log of an interrupted run: cut where its state stands, and refused where no run wrote it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.run.left_files import events_of, read_state

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


def test_a_pipe_in_place_of_the_state_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.pt")
    with pytest.raises(FairpruneError, match="the saved state is damaged"):
        read_state(tmp_path / "state.pt")


def test_a_state_that_would_unfold_is_refused_before_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "state.pt", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("state/data.pkl", bytes(1 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("it was unfolded"))
    with pytest.raises(FairpruneError, match="the saved state is damaged"):
        read_state(tmp_path / "state.pt")
