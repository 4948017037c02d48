"""docs/reproduce.md: its commands, run on small data in the published layouts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from fairprune_cli.commands.app import app
from tests.support import datasets as made

PAGE = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
# The same commands with less to do.
SMALLER = (
    ("for seed in 0 1 2 3 4; do\n", ""), ("done\n", ""), ("$seed", "0"), ("--seeds 5", "--seeds 1"),
    ("--epochs 15", "--epochs 1"), ("--epochs 6", "--epochs 1"), ("--arch resnet10 ", "--arch resnet10-w16 "),
    ("--arch mobilenet_v2", "--arch resnet10-w16"), ("magnitude,ceag,bip,bifp", "magnitude,bifp"),
    ("0.8,0.9", "0.8"), ("\\\n", " "),
)  # fmt: skip


def commands() -> list[list[str]]:
    text = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    for old, new in SMALLER:
        assert old in text, f"the page no longer has {old!r}"
        text = text.replace(old, new)
    lines = [shlex.split(line) for line in text.splitlines() if line.strip()]
    assert all(line[0] == "fairprune" for line in lines)
    return [line[1:] for line in lines]


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("celeba", "lfw"):
        (tmp_path / name).mkdir()
    made.celeba(tmp_path / "celeba", 96)
    made.lfw(tmp_path / "lfw", 48)
    monkeypatch.chdir(tmp_path)
    for arguments in commands():
        code = app(arguments, standalone_mode=False)
        assert code == 0, (arguments, capsys.readouterr().err)
    assert "label: Blond_Hair" in (tmp_path / "celeba" / "manifest.yaml").read_text()
    assert (tmp_path / "celeba.html").is_file()
    report = json.loads((tmp_path / "runs" / "lfw" / "report.json").read_text())
    assert set(report["results"]["pruned"]["attributes"]["gender"]["groups"]) == {"female", "male"}
    assert (tmp_path / "runs" / "celeba" / "compare.html").is_file()
