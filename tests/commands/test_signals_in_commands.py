"""A signal in the middle of a command: its code, one sentence, and nothing left, whatever typer makes of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli.__main__ import run
from fairprune_cli.data.drawn_faces import write


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"),
                                 (signal.SIGHUP, 143, "terminated")],
)  # fmt: skip
def test_a_command_that_is_stopped_says_so_and_leaves_nothing(
    number: signal.Signals, code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    draw = write._draw_into

    def stopped(*arguments: Any) -> None:
        draw(*arguments)
        signal.raise_signal(number)

    monkeypatch.setattr(write, "_draw_into", stopped)
    monkeypatch.setattr(write, "SIZES", {"train": 2, "val": 1, "test": 1})
    monkeypatch.setattr(
        write.write_sample, "__kwdefaults__", {**write.write_sample.__kwdefaults__, "sizes": write.SIZES}
    )
    assert run(["data", "sample", "--out", str(tmp_path / "made" / "faces"), "--quiet"]) == code
    assert capfd.readouterr().err == f"error: {word}: nothing was written\n  to mend: run the same command again\n"
    assert not list(tmp_path.rglob("*"))
