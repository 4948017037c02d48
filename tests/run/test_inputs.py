"""What a run refuses before anything is computed: images that stand in two splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.audit_report import _data
from fairprune_cli.run.opened_data import Data, open_data, parted_data
from fairprune_cli.run.options import Settings
from tests.support.datasets import TRANSFORM, draw


def written(root: Path, rule: str, twins: dict[int, int]) -> Settings:
    lines = ["file,label,gender,split"]
    for i in range(24):
        draw(root / f"{i}.png", twins.get(i, i))
        lines.append(f"{i}.png,{'ab'[i // 3 % 2]},{'fm'[i // 6 % 2]},{('train', 'val', 'test')[i % 3]}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    (root / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\ncolumns: {image: file, label: label, split: split}\nclasses: [a, b]\n"
        f"attributes: {{gender: {{column: gender}}}}\n{rule}{TRANSFORM}"
    )
    return Settings(data=str(root / "manifest.yaml"))


def opened(settings: Settings, terminal: Terminal, split: str | None = None) -> Data:
    return parted_data(open_data(settings, None, terminal, split=split), terminal, split)


def test_a_run_does_not_begin_with_images_in_two_splits(tmp_path: Path) -> None:
    settings = written(tmp_path, "", {5: 3, 1: 0})
    with pytest.raises(FairpruneError, match="2 problems") as caught:
        opened(settings, Terminal(quiet=True))
    assert "'3.png' (train) has the same bytes as '5.png' (test, t.csv row 7)" in str(caught.value)
    with pytest.raises(FairpruneError) as caught:  # an audit of test: what train and val share is no matter
        opened(settings, Terminal(quiet=True), "test")
    assert "5.png" in str(caught.value)
    assert "1.png" not in str(caught.value)


@pytest.mark.parametrize(("rule", "train"), [("drop", 6), ("allow", 8)])
def test_the_report_says_what_became_of_them(tmp_path: Path, rule: str, train: int) -> None:
    terminal = Terminal(quiet=True)
    data = opened(written(tmp_path, f"duplicates: {rule}\n", {5: 3, 1: 0}), terminal)
    record = _data(data, "test")
    assert record["duplicates"] == {"rule": rule, "images": 2}
    assert record["splits"] == {"train": train, "val": 8, "test": 8}
    assert any(": 2" in warning["text"] and "`duplicates`" in warning["text"] for warning in terminal.warnings)


def test_without_a_rule_the_report_is_as_before(tmp_path: Path) -> None:
    assert "duplicates" not in _data(opened(written(tmp_path, "", {}), Terminal(quiet=True)), "test")
