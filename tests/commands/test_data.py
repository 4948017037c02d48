"""`data stats`: every count can be read, at any number of classes and in any width."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from fairprune_cli.commands.data import stats
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.options import Settings
from tests.support.datasets import TRANSFORM


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("classes", [2, 9, 20, 110])
@pytest.mark.parametrize("screen", [False, True])
def test_every_count_is_shown(tmp_path: Path, classes: int, screen: bool) -> None:
    (tmp_path / "images").mkdir()
    lines, n = [], 0
    for k in range(classes):
        for group, many in (("f", 11 + k % 7), ("m", 31)):
            for split in ("train", "test"):
                for _ in range(many if split == "train" else 1):
                    lines.append(f"{n}.png,person_{k:03d},{group},{split}")
                    n += 1
    for i in range(n):
        (tmp_path / "images" / f"{i}.png").touch()
    (tmp_path / "t.csv").write_text("\n".join(["file,label,sex,split", *lines]) + "\n")
    (tmp_path / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\nimages: images\ncolumns: {image: file, label: label, split: split}\n"
        f"classes: [{', '.join(f'person_{k:03d}' for k in range(classes))}]\nattributes: {{sex: {{column: sex}}}}\n"
        + TRANSFORM
    )
    out = Screen() if screen else io.StringIO()
    stats(Settings(data=str(tmp_path)), Terminal(out, io.StringIO(), {"COLUMNS": "80", "TERM": "xterm"}), False)
    words = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).split()
    assert words.count("31") == classes
    assert [words.count(str(42 + r)) for r in range(7)] == [sum(k % 7 == r for k in range(classes)) for r in range(7)]
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()) <= 110
