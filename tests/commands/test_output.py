"""The next command to type: copied as it stands, on stderr, and not where a program reads."""

from __future__ import annotations

import io
import shlex

import pytest

from fairprune_cli.commands.output import say_again, say_next
from fairprune_cli.core.terminal import Terminal


def said(quiet: bool = False) -> tuple[Terminal, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Terminal(out, err, {}, quiet=quiet), out, err


def test_it_can_be_copied() -> None:
    terminal, out, err = said()
    say_next(terminal, False, "audit", "runs/my model; rm -rf", "--against", "it's.pt")
    line = err.getvalue()
    assert out.getvalue() == ""
    assert line.startswith("next: fairprune audit ")
    assert shlex.split(line)[3:] == ["runs/my model; rm -rf", "--against", "it's.pt"]


@pytest.mark.parametrize(("quiet", "as_json"), [(True, False), (False, True)])
def test_it_is_not_said_to_programs(quiet: bool, as_json: bool) -> None:
    terminal, out, err = said(quiet)
    say_next(terminal, as_json, "audit", "model.pt")
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_after_a_dry_run_it_is_the_same_command_in_earnest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fairprune", "prune", "my model.pt", "--dry-run", "--attr", "gender"])
    terminal, _, err = said()
    say_again(terminal, False)
    assert err.getvalue() == "next: fairprune prune 'my model.pt' --attr gender\n"
