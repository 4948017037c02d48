"""Streams: what goes where, heartbeat and bar, no control bytes where there is no terminal."""

from __future__ import annotations

import io

import pytest

from fairprune_cli.core.terminal import HEARTBEAT_SECONDS, Terminal, clean


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_results_on_stdout_everything_else_on_stderr() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, {})
    terminal.result("figure")
    terminal.note("remark")
    terminal.warn("careful", code="c")
    terminal.error("wrong")
    assert out.getvalue() == "figure\n"
    assert err.getvalue() == "remark\nwarning: careful\nerror: wrong\n"
    assert terminal.warnings == [{"code": "c", "text": "careful"}]


def test_quiet_keeps_warnings_and_errors() -> None:
    err = io.StringIO()
    terminal = Terminal(io.StringIO(), err, {}, quiet=True)
    terminal.note("remark")
    with terminal.progress("work", 3) as display:
        display.update(3)
    terminal.warn("careful")
    assert err.getvalue() == "warning: careful\n"


def test_heartbeat_every_interval_with_figures_and_time_left() -> None:
    err, clock = io.StringIO(), Clock()
    terminal = Terminal(io.StringIO(), err, {}, clock=clock)
    with terminal.progress("pruning", 100) as display:
        for step in range(1, 101):
            clock.now += 1.0
            display.update(step, {"loss": "0.5", "gap": "0.1"})
    lines = err.getvalue().splitlines()
    assert lines[0] == "pruning: started, 100 steps"
    assert lines[1] == "pruning: 20/100 (20 %), 1:20 left loss 0.5 gap 0.1"
    assert len(lines) == 1 + 100 / HEARTBEAT_SECONDS
    assert HEARTBEAT_SECONDS <= 30
    assert "\x1b" not in err.getvalue()
    assert "\r" not in err.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    err = Screen()
    terminal = Terminal(io.StringIO(), err, {"TERM": "xterm", "COLUMNS": "100"})
    assert terminal.live
    with terminal.progress("pruning", 10) as display:
        display.update(10, {"loss": "0.5"})
    assert "\x1b[" in err.getvalue()
    assert "10/10" in err.getvalue()


def test_dumb_terminals_get_the_heartbeat() -> None:
    assert not Terminal(io.StringIO(), Screen(), {"TERM": "dumb"}).live


def test_tables_in_a_pipe_have_no_control_bytes() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).table("title", ["", "a"], [["x", "1"]])
    assert "\x1b" not in out.getvalue()
    assert "title" in out.getvalue()


def test_no_color_is_honoured_on_a_terminal() -> None:
    out = Screen()
    Terminal(out, Screen(), {"NO_COLOR": "1", "TERM": "xterm-256color"}).table("title", ["", "a"], [["x", "1"]])
    assert "\x1b[3" not in out.getvalue()


def test_names_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[2Jb\u202ec") == "a�[2Jb�c"
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).table("t", ["", "n"], [["evil\x1b]0;x\x07", "1"]])
    assert "\x1b" not in out.getvalue()


def test_a_closed_stderr_is_no_reason_to_fail() -> None:
    err = io.StringIO()
    err.close()
    Terminal(io.StringIO(), err, {}).warn("nobody hears this")


def test_progress_that_may_not_be_worth_showing_appears_after_two_seconds_and_ends_with_the_work() -> None:
    err, clock = io.StringIO(), Clock()
    terminal = Terminal(io.StringIO(), err, {}, clock=clock)
    with terminal.eventual_progress("reading shards") as quick:
        quick(1, 2)
        clock.now += 1.9
        quick(2, 2)
    assert err.getvalue() == ""
    with terminal.eventual_progress("reading shards") as slow:
        slow(1, 4)
        clock.now += 2.0
        slow(2, 4)
        slow(4, 4)
        with terminal.progress("checking", 1) as display:
            display.update(1)
    assert err.getvalue().splitlines() == [
        "reading shards: started, 4 steps", "reading shards: 4/4 (100 %)", "checking: started, 1 steps",
        "checking: 1/1 (100 %)",
    ]  # fmt: skip
    # On a terminal one bar may live at a time.
    live = Terminal(io.StringIO(), Screen(), {}, clock=clock)
    with live.eventual_progress("reading shards") as shown:
        clock.now += 2.0
        shown(1, 2)
        shown(2, 2)
        with live.progress("checking", 1) as display:
            display.update(1)


def test_no_figure_of_a_table_is_broken_however_many_columns_there_are() -> None:
    for count in (5, 12, 20, 60, 200):
        figures = [f"{1234 + i:,}" for i in range(count)]
        out = io.StringIO()
        Terminal(out, io.StringIO(), {}).table("t", ["", *(f"person_{i:03d}" for i in range(count))],
                                               [["all", *figures], ["a group with a long name", *figures]])  # fmt: skip
        lines = [line.split() for line in out.getvalue().splitlines()]
        assert sum(line[-count:] == figures for line in lines) == 2


def test_at_eighty_columns_figures_stand_beside_their_intervals_and_only_names_are_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wide(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    figures = ["95.1 [94.5, 95.7]", "95.3 [94.7, 95.9]", "-0.4 [-1.0, +0.1]"]
    out = Wide()
    names = ["gender = female", "gender: degradation gap"]
    Terminal(out, io.StringIO(), {"TERM": "xterm", "NO_COLOR": "1"}).table(
        "", ["%", "dense", "pruned", "change", "images"], [[name, *figures, "5,000"] for name in names]
    )
    lines = clean(out.getvalue()).splitlines()
    assert sum("  ".join(figures) in line for line in lines) == 2
    assert sum("gender = female  95.1" in line for line in lines) == 1
    assert sum("images" in line for line in lines) == 1


def test_a_table_that_fits_is_as_it_was() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).table("", ["", "images"], [["train: all", "9,600"]])
    assert out.getvalue().splitlines()[1:4] == ["             images ", " ────────────────── ", " train: all   9,600 "]


def test_tabs_and_line_ends_are_no_control_characters_but_separators_of_lines_are() -> None:
    assert clean("a\tb\nc\x1b[0m\u2028d\u202e") == "a\tb\nc�[0m�d�"
