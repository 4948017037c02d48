"""Streams: what goes where, heartbeat and bar, no control bytes where there is no terminal."""

from __future__ import annotations

import io
import json
import re

import pytest

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.terminal import Terminal, clean
from tests.support.screens import Clock, Screen


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
        "reading shards: started, 4 steps", "reading shards: 4/4 (100 %)", "checking: started, 1 step",
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


def test_a_table_that_fits_is_as_it_was() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).table("", ["", "images"], [["train: all", "9,600"]])
    assert out.getvalue().splitlines()[1:4] == ["             images ", " ────────────────── ", " train: all   9,600 "]


ODD = "a\x1b[2Jb\r\n::error title=forged::c\u2028d\x85e\u202ef\x9b\x00"


def test_what_came_from_elsewhere_begins_no_line_and_moves_no_cursor() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, {})
    terminal.result(f"{ODD}: figure")
    terminal.command(f"::error::{ODD}", result=True)
    terminal.command(f"::error::{ODD}")
    terminal.table(ODD, ["", ODD], [[ODD, ODD]])
    terminal.note(ODD)
    terminal.warn(ODD)
    terminal.error(str(FairpruneError(f"{ODD} is odd", where=ODD, hint=ODD)))
    problems = Problems(ODD)
    problems.extend([ODD, ODD])
    with pytest.raises(FairpruneError) as raised:
        problems.raise_if_any(ODD)
    terminal.error(str(FairpruneError(raised.value.what, where=ODD, hint=ODD)))
    with terminal.progress(ODD, 2) as display:
        display.update(2, {ODD: ODD})
    said = out.getvalue() + err.getvalue()
    assert not set(said) & set("\x1b\r\u2028\x85\u202e\x9b\x00\t")
    assert [line for line in said.split("\n") if line.strip().startswith("::")] == [
        line for line in said.split("\n") if line.startswith("::error::a")
    ]
    assert len(out.getvalue().split("\n")) == 2 + 6 + 1  # of the table: title, space, head, rule, row, space
    assert len(err.getvalue().split("\n")) == 1 + 2 + 2 + 4 + 2 + 1
    assert terminal.warnings == [{"code": "warning", "text": ODD}]  # the report's writers have ways of their own


def test_no_name_is_taken_for_a_command_to_the_runner_of_a_pipeline() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, {})
    name = "::error title=forged::c"
    terminal.table(name, ["%", "n"], [["gender", ""], [f"  {name}", "1"], ["a", f"##[error]{name}"]])
    terminal.result(f"{name}: written")
    terminal.note(f"{name} ##vso[task.complete]")
    terminal.command("::warning::ours")
    said = [line.strip() for line in (out.getvalue() + err.getvalue()).splitlines()]
    assert [line for line in said if line.startswith("::")] == ["::warning::ours"]
    assert not any("##[" in line or "##vso[" in line for line in said)
    assert sum(name in line for line in said) == 5


def test_json_escapes_what_a_terminal_obeys_and_stays_the_same_document() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).json(json.dumps({"a": ODD, "b": "é"}, ensure_ascii=False, indent=1))
    assert json.loads(out.getvalue()) == {"a": ODD, "b": "é"}
    assert not set(out.getvalue()) & set("\x1b\r\u2028\x85\u202e\x9b\x00")
    assert "é" in out.getvalue()


def test_a_document_keeps_its_lines_and_tabs_alone() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).document("a\tb\n\nc\x1b[0m\u2028\n\n")
    assert out.getvalue() == "a\tb\n\nc�[0m�\n"


def test_on_a_terminal_lines_break_between_words_and_commands_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = "the gap of gender is 6.7 [4.2, 9.2] points and /a/path/that/is/very/long/indeed/and/more/of/it stays"
    command = "continue with: fairprune prune --resume runs/model-bifp-channel-0.8 --attr gender"
    for screen in (True, False):
        out, err = (Screen() if screen else io.StringIO() for _ in range(2))
        terminal = Terminal(out, err, {"TERM": "xterm", "NO_COLOR": "1"})
        terminal.result(said)
        terminal.result(command)
        terminal.note(f"note: {said}")
        terminal.error(f"wrong\n  to mend: {command}")
        wanted = [
            "the gap of gender is 6.7 [4.2, 9.2]", "  points and",
            "  /a/path/that/is/very/long/indeed/and/more/of/it", "  stays", command,
        ]  # fmt: skip
        assert out.getvalue().splitlines() == (wanted if screen else [said, command])
        lines = err.getvalue().splitlines()
        assert lines[-2:] == ["error: wrong", f"  to mend: {command}"]
        assert lines[0] == ("note: the gap of gender is 6.7" if screen else f"note: {said}")


def test_what_is_said_beside_a_bar_stands_on_lines_of_its_own() -> None:
    err = Screen()
    terminal = Terminal(io.StringIO(), err, {"TERM": "xterm"})
    with terminal.progress("work", 2) as display:
        display.update(1)
        terminal.warn("careful")
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue()).replace("\r", "\n").split("\n")
    assert "warning: careful" in [row.strip() for row in rows]
    terminal.note("after")
    assert err.getvalue().endswith("after\n")


def test_tabs_and_line_ends_are_no_control_characters_but_separators_of_lines_are() -> None:
    assert clean("a\tb\nc\x1b[0m\u2028d\u202e") == "a\tb\nc�[0m�d�"
