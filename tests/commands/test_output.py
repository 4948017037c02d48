"""The next command to type: copied as it stands, on stderr, and not where a program reads."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from fairprune_cli.commands.output import free, say_again, say_next
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


def test_a_file_that_is_there_gives_way_to_a_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that names a taken file as its result would be refused."""
    monkeypatch.chdir(tmp_path)
    assert free("model.pt") == "model.pt"
    for name in ("model.pt", "model-2.pt"):
        Path(name).touch()
    assert free("model.pt") == "model-3.pt"


def test_the_same_command_keeps_its_data_and_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fairprune", "audit", "m.pt", "--data", "a b.yaml", "--max-gap", "0.1"])
    terminal, _, err = said()
    say_again(terminal, False, "--out", "audit")
    assert err.getvalue() == "next: fairprune audit m.pt --data 'a b.yaml' --max-gap 0.1 --out audit\n"
