"""What an attempt to get a false yes starts from: pictures, one group of which the model gets wrong, and commands.

A picture is noise with a red bar, below for one class and above for the other, which a small network learns in seconds.

The images of `dark` have the other label, so a model that is right on all others is wrong on all of these: asked
plainly, every gate on `skin` fails. An attempt is a function of a `Scene` that tries to hide this.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.commands import Ran, fairprune

Row = dict[str, str]
SIZE = 40
TRANSFORM = "transform: {size: 40, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
SKIN = "skin: {column: skin}"
GAP = ("--max-gap", "0.1")
BAD, GOOD = "dark", ("light", "medium")


@dataclass(frozen=True)
class Attempt:
    """One way that was tried.

    Attributes:
        kind: the module that it is in: policies, groups, classes, ...
        title: what is done, in words.
        codes: exit codes that are right. 0 is right only where the figures do bear the yes, or where what weakens it
            is told.
        says: text that has to stand in what is printed, "" for any.
    """

    kind: str
    title: str
    codes: tuple[int, ...]
    says: str
    run: Callable[[Scene], Ran]


ATTEMPTS: list[Attempt] = []


def attempt(kind: str, title: str, *codes: int, says: str = "") -> Callable[[Callable[[Scene], Ran]], Any]:
    """Adds a function to the attempts; the exit codes that are right, as in `Attempt`."""

    def added(run: Callable[[Scene], Ran]) -> Callable[[Scene], Ran]:
        ATTEMPTS.append(Attempt(kind, title, codes, says, run))
        return run

    return added


@dataclass(frozen=True)
class Stage:
    """What all attempts share: pictures and a model trained on them, in `folder`."""

    folder: Path
    rows: tuple[Row, ...] = field(repr=False)  # of the test images
    all_rows: tuple[Row, ...] = field(repr=False)  # of all splits
    making: threading.Lock = field(default_factory=threading.Lock, repr=False)  # held while a shared file is made

    @classmethod
    def made(cls, folder: Path) -> Stage:
        """Draw the pictures and train a small network on them."""
        random = np.random.default_rng(0)
        (folder / "images").mkdir(parents=True)
        rows = []
        for i, split in enumerate(["train"] * 480 + ["val"] * 120 + ["test"] * 820):
            smiling = bool(random.integers(2))
            pixels = random.integers(40, 200, (SIZE, SIZE, 3), dtype=np.uint8)
            at = random.integers(24, 34) if smiling else random.integers(4, 14)
            pixels[at : at + 4, 8:32] = 250, 20, 20
            Image.fromarray(pixels).save(folder / "images" / f"{i:04}.png")
            label, gender = "smiling" if smiling else "neutral", ("female", "male")[random.integers(2)]
            rows.append({"file": f"{i:04}.png", "expression": label, "split": split, "gender": gender, "age": "40"})
        stage = cls(folder, tuple(row for row in rows if row["split"] == "test"), tuple(rows))
        Scene(folder, stage).write(rows, "gender: {column: gender}")
        command = "train", "--arch", "resnet10-w16", "--epochs", "6", "--batch-size", "32", "--quiet"
        ran = fairprune(*command, "--set", "augment=false", cwd=folder)
        if ran.code:
            raise SystemExit(ran.err)
        return stage

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"


@dataclass(frozen=True)
class Scene:
    """One attempt's own folder, which has a table, a manifest and the model's path."""

    folder: Path
    stage: Stage

    @property
    def model(self) -> str:
        return str(self.stage.model)

    def rows(self, bad: int = 60, good: int = 300) -> list[Row]:
        """Test images: so many of each good group, then so many of the bad one, with the other label."""
        found = [
            row | {"skin": GOOD[i % 2] if i < 2 * good else BAD}
            for i, row in enumerate(self.stage.rows[: 2 * good + bad])
        ]
        return [flipped(row) if row["skin"] == BAD else row for row in found]

    def write(
        self, rows: Iterable[Row], attributes: str = SKIN, encoding: str = "utf-8", more: str = "", classes: str = ""
    ) -> None:
        """The table and the manifest of the folder."""
        if not (self.folder / "images").exists():
            (self.folder / "images").symlink_to(self.stage.folder / "images")
        listed = list(rows)
        with open(self.folder / "table.csv", "w", newline="", encoding=encoding) as stream:
            writer = csv.DictWriter(stream, ["file", "expression", "split", "skin", "gender", "age"], "")
            writer.writeheader()
            writer.writerows(listed)
        (self.folder / "manifest.yaml").write_text(
            "version: 1\ntable: table.csv\nimages: images\n"
            "columns: {image: file, label: expression, split: split}\n"
            f"classes: {classes or '[neutral, smiling]'}\n"
            + (f"attributes: {{{attributes}}}\n" if attributes else "") + (more or TRANSFORM), encoding="utf-8",
        )  # fmt: skip

    def policy(self, text: str, encoding: str = "utf-8", name: str = "policy.yaml") -> str:
        """A policy file of the folder."""
        (self.folder / name).write_bytes(text.encode(encoding))
        return str(self.folder / name)

    def fairprune(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        """A command in the folder."""
        return fairprune(*arguments, cwd=self.folder, env=env)

    def audit(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        """`fairprune audit` of the model on the folder's data, with its report in `out`."""
        return self.fairprune("audit", self.model, "--data", "manifest.yaml", "--out", "out", *arguments, env=env)

    def plain(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        """The audit of data on which nothing is hidden."""
        self.write(self.rows())
        return self.audit(*arguments, env=env)

    def with_policy(self, text: str, encoding: str = "utf-8", *more: str) -> Ran:
        """The same, judged by a policy."""
        return self.plain("--policy", self.policy(text, encoding), *more)

    def python(self, text: str) -> Ran:
        """A Python program with `fairprune_cli` imported and `model` the path of the model."""
        program = f"import fairprune_cli\nmodel = {self.model!r}\n{text}\n"
        (self.folder / "program.py").write_text(program, "utf-8")
        done = subprocess.run(
            [sys.executable, "program.py"], cwd=self.folder, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def shell(self, line: str) -> Ran:
        """A line of bash in which `fairprune` is the command and `$MODEL` the model."""
        command = f'fairprune() {{ {shlex.quote(sys.executable)} -m fairprune_cli "$@"; }}\n{line}'
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env={**os.environ, "MODEL": self.model}, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def report(self) -> dict[str, Any]:
        """The report.json of the audit."""
        found: dict[str, Any] = json.loads((self.folder / "out" / "report.json").read_text("utf-8"))
        return found


def flipped(row: Row) -> Row:
    """The image with the other label."""
    return row | {"expression": "neutral" if row["expression"] == "smiling" else "smiling"}
