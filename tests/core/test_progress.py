"""Progress: a plain line now and then, or a bar whose count and time left are there however narrow the terminal is."""

from __future__ import annotations

import io
import re
import time

import pytest

from fairprune_cli.core import progress
from fairprune_cli.core.progress import HEARTBEAT_SECONDS, Progress, in_minutes
from fairprune_cli.core.terminal import Terminal
from tests.support.screens import Clock, Screen

FIGURES = {"loss": "0.141", "sparsity": "0.800", "gap": "0.081", "surrogate": "0.201", "multiplier": "0.17"}


def drawn(err: io.StringIO) -> list[str]:
    """The states of a bar, one after another."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_heartbeat_every_interval_with_figures_and_time_left() -> None:
    err, clock = io.StringIO(), Clock()
    terminal = Terminal(io.StringIO(), err, {}, clock=clock)
    with terminal.progress("pruning", 100) as display:
        for step in range(1, 101):
            clock.now += 1.0
            display.update(step, {"loss": "0.5", "gap": "0.1"})
        display.update(100, {"loss": "0.5", "gap": "0.1"})  # nothing new
    lines = err.getvalue().splitlines()
    assert lines[0] == "pruning: started, 100 steps"
    assert lines[1] == "pruning: 20/100 (20 %), 1:20 left; loss 0.5 gap 0.1"
    assert lines[-1] == "pruning: 100/100 (100 %); loss 0.5 gap 0.1"
    assert len(lines) == 1 + 100 / HEARTBEAT_SECONDS
    assert HEARTBEAT_SECONDS <= 30
    assert "\x1b" not in err.getvalue()
    assert "\r" not in err.getvalue()


def test_a_total_that_shows_later_is_shown_from_then_on() -> None:
    for stream in (io.StringIO(), Screen()):
        clock = Clock()
        with Terminal(io.StringIO(), stream, {"TERM": "xterm"}, clock=clock).progress("training", None) as display:
            for step in range(1, 101):
                clock.now += 21.0
                display.update(step, total=400)
        text = "\n".join(drawn(stream))
        assert "100/400" in text
        assert "1:45:00 left" in text
        assert "/1" not in text.replace("/100", "")


def test_work_without_steps_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.02)
    err = io.StringIO()
    with Terminal(io.StringIO(), err, {}).progress("quantising", None):
        time.sleep(0.15)
    ended = err.getvalue()
    lines = ended.splitlines()
    assert lines[0] == "quantising: started"
    assert len(lines) >= 3
    assert set(lines[1:]) == {"quantising: 0:00 so far"}
    time.sleep(0.05)
    assert err.getvalue() == ended


def test_a_long_step_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.02)
    err = io.StringIO()
    with Terminal(io.StringIO(), err, {}).progress("auditing", 2) as display:
        display.update(1)
        time.sleep(0.1)
        assert "auditing: 1/2 (50 %)" in err.getvalue()


def test_time_left_is_that_of_this_process_and_of_steps_like_those_to_come() -> None:
    clock = Clock()
    shown = Progress("training", 1000, clock)
    assert shown.remaining() == "-:--"
    clock.now = 30.0  # the start, and the first of the steps that are left
    shown.update(501)
    clock.now = 40.0
    shown.update(511)
    assert shown.remaining() == "8:09"
    assert [in_minutes(seconds) for seconds in (5, 65, 3599, 3600, 36_061)] == [
        "0:05", "1:05", "59:59", "1:00:00", "10:01:01"
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
def test_bar_count_and_time_left_come_first_and_figures_are_left_out_from_the_last(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for what in ("bifp channel 0.8", "cell 12 of 400, fair-then-prune channel 0.8 男女"):
        err, clock = Screen(), Clock()
        with Terminal(io.StringIO(), err, {"TERM": "xterm"}, clock=clock).progress(what, 4800) as display:
            clock.now = 100.0
            display.update(480, FIGURES)
        line = next(line for line in drawn(err) if "480/4800" in line)
        assert re.match(r"[━╸╺ ]+ 480/4800 15:00 left (bifp|cell)", line)
        assert len(line) + line.count("男") + line.count("女") <= columns
        figures = [f"{name} {value}" for name, value in FIGURES.items()]
        there = [figure for figure in figures if figure in line]
        assert there == figures[: len(there)]
        assert len(there) >= {40: 0, 60: 0, 80: 1}.get(columns, 2)
        assert what in line or len(there) == 5 or columns <= 120
        assert ("…" in line) == (what not in line)


def test_a_complete_bar_says_how_long_it_took() -> None:
    err, clock = Screen(), Clock()
    with Terminal(io.StringIO(), err, {"TERM": "xterm"}, clock=clock).progress("auditing", 10) as display:
        clock.now = 70.0
        display.update(10)
    assert drawn(err)[-1].endswith(" 10/10 in 1:10 auditing")
