"""Help for people: what a bare call says, types, the common options first, completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from fairprune_cli.__main__ import run
from fairprune_cli.commands.app import app


@pytest.mark.parametrize("words", [[], ["data"], ["config"]])
def test_a_bare_call_is_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.startswith(f"Usage: {' '.join(['fairprune', *words])} ")


@pytest.mark.parametrize("words", [[], ["data"], ["config"]])
def test_the_list_of_commands_is_cut_nowhere(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(words)
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(listed) >= 3
    assert all(len(line) <= 80 and line[2] != " " and not line.endswith("...") for line in listed)


def test_the_common_options_come_first_and_all_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    run(["prune", "--help"])
    short = capsys.readouterr().out
    run(["prune", "--help-all"])
    full = capsys.readouterr().out
    options = [line.split()[0] for line in short.splitlines() if line.startswith("  --")]
    assert options[:2] == ["--sparsity", "--attr"]
    assert len(options) <= 15
    for flag in options:
        assert f"  {flag} " in full
    for line in ("--upper-every <integer>", "--lr <number>", "--tolerance <share>", "--policy <path>"):
        assert line in full
    assert "--upper-every" not in short
    assert "The constraint and its multipliers:" in full
    assert "<str>" not in full


@pytest.mark.parametrize(
    "words", ["demo", "train", "prune", "audit", "compare", "export", "inspect", "measure", "report", "data init",
              "data check", "data sample", "data stats", "data cache", "config list", "config explain"],
)  # fmt: skip
def test_every_command_knows_help_all_and_says_what_a_value_is(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words.split(), "--help-all"]) == 0
    full = capsys.readouterr().out
    assert "Usage" in full
    assert not re.findall(r"--\S+ <(?:str|list\[str\]|int range)>", full)


def test_names_are_completed_without_torch() -> None:
    code = (
        "import sys\nfrom fairprune_cli.__main__ import run\n"
        "try:\n    run([])\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"_FAIRPRUNE_COMPLETE": "complete_bash", "COMP_WORDS": "fairprune prune --method b",
                          "COMP_CWORD": "3"},
    )  # fmt: skip
    assert done.stdout.split() == ["balanced", "bifp", "bip"]
    assert done.stderr.split() == ["False"]


def test_completion_can_be_installed(capsys: pytest.CaptureFixture[str]) -> None:
    app(args=["--help"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "--install-completion" in shown
    assert "--show-completion" in shown
