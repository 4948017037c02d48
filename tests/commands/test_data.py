"""`fairprune data init`, `check` and `stats`: their arguments, what is told where, and that every count can be read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fairprune_cli.commands.app import app
from fairprune_cli.commands.data import stats
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.options import Settings
from tests.support.data_layouts import draw, facts, write
from tests.support.datasets import TRANSFORM

Told = Callable[..., tuple[str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """What a command that ends with 0 writes to stdout and stderr."""
    monkeypatch.delenv("FAIRPRUNE_DATA", raising=False)

    def run(*arguments: str | Path) -> tuple[str, str]:
        assert app(args=[str(one) for one in arguments], standalone_mode=False) == 0
        return tuple(capsys.readouterr())  # type: ignore[return-value]

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    found = facts()
    draw(tmp_path / "images", [fact[0] for fact in found])
    return write(tmp_path / "table.csv", "file,label,gender,split", found)


def test_guesses_are_told_on_stderr_and_quiet_keeps_still(table: Path, told: Told) -> None:
    out, err = told("data", "init", table)
    assert out.startswith(str(table.parent / "manifest.yaml"))
    assert "guess: what is to be predicted is the column 'label'" in " ".join(err.split())
    assert told("data", "init", table, "--force", "--quiet")[1] == ""


def test_what_is_told_to_init_is_written(table: Path, told: Told) -> None:
    given = ["--label", "gender", "--attr", "label", "--size", "24x48", "--images", table.parent / "images"]
    told("data", "init", table, *given, "--splits", "{train: 0.5, val: 0.2, test: 0.3}")
    text = (table.parent / "manifest.yaml").read_text()
    assert "columns: {image: file, label: gender}\n" in text
    assert "size: [24, 48]\n" in text
    assert "\n  label: {column: label, values: [a, b]}\n" in text
    assert "splits: {train: 0.5, val: 0.2, test: 0.3}\n" in text


def test_the_manifest_is_an_argument_or_a_flag(table: Path, told: Told) -> None:
    told("data", "init", table)
    manifest = table.parent / "manifest.yaml"
    plain = told("data", "stats", "--data", manifest, "--json")[0]
    assert json.loads(plain)["splits"]["test"]["n"] == 16
    assert told("data", "stats", manifest, "--json")[0] == plain
    assert told("data", "stats", table.parent, "--json")[0] == plain
    assert "80 images" in told("data", "check", manifest)[0]
    for command in ("check", "stats"):
        with pytest.raises(FairpruneError, match="the manifest is given twice"):
            app(args=["data", command, str(manifest), "--data", str(manifest)], standalone_mode=False)


def test_stats_say_what_is_left_out(tmp_path: Path, told: Told) -> None:
    for n, (split, label) in enumerate([("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")]):
        draw(tmp_path / split / label, [f"{n}.png", f"{n + 10}.png"] if n != 2 else ["2.png"])
    (tmp_path / "test" / "a" / "copy.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    (tmp_path / "train" / "a" / "x.heic").touch()
    (tmp_path / "manifest.yaml").write_text(
        f"version: 1\nformat: folder\nroot: .\nclasses: [a, b]\nduplicates: drop\n{TRANSFORM}"
    )
    err = told("data", "stats", tmp_path)[1]
    assert ".heic" in told("data", "init", tmp_path, "--out", tmp_path / "other.yaml")[1]
    assert "1 files in class folders are no images that can be opened and are left out: 1 .heic" in err
    assert err.count("images that have equal bytes in a later split are left out, as `duplicates` says: 4") == 1
    assert err.count("later split") == 1


@pytest.mark.parametrize("path", ["tabel.csv", "nowhere", "nowhere/table.csv"])
def test_a_mistyped_path_is_no_such_file_also_beside_a_manifest(path: str, table: Path, told: Told) -> None:
    told("data", "init", table)
    with pytest.raises(FairpruneError, match="no such file"):
        app(args=["data", "init", str(table.parent / path)], standalone_mode=False)


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
