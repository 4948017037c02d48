"""Every command on streams that are not UTF-8: its exit code, and every figure that it has to say, in plain characters.

What takes long to compute is put in place; what is written, and how, is the command's own.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import typer

from fairprune_cli import __main__ as program
from fairprune_cli import compare as comparison
from fairprune_cli import export as exports
from fairprune_cli.commands import data as data_commands
from fairprune_cli.commands import measure as measure_command
from fairprune_cli.commands.app import app
from fairprune_cli.compare.gather import gather
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.data.drawn_faces import write as faces
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import save_checkpoint
from fairprune_cli.run import dense_model
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.audit_report import Outcome
from tests.support import reports
from tests.support.commands import fairprune
from tests.support.comparisons import drawn, finish, layout

ENCODINGS = ("cp1252", "ascii", "cp932")
NAMES = {"female": "♀ weiblich", "male": "männlich", "neutral": "neutral → ½", "smiling": "微笑"}

# The words of each command, and the exit code that is right.
CASES: dict[str, tuple[list[str], int]] = {
    "prune": (["model.pt", "--data", "faces", "--attr", "gender", "--max-gap", "0.01"], 1),
    "audit": (["--predictions", "said.csv", "--data", "faces", "--attr", "gender", "--min-accuracy", "0.99"], 1),
    "compare": (
        ["model.pt", "--methods", "magnitude,bifp", "--sparsities", "0.8", "--data", "faces", "--attr", "gender"],
        0,
    ),
    "train": (["--arch", "resnet10-w16", "--data", "faces", "--out", "mödel.pt"], 0),
    "export": (["model.pt", "--to", "safetensors", "--out", "written.safetensors", "--force"], 0),
    "inspect": (["model.pt"], 0),
    "measure": (["model.pt", "--against", "model.pt"], 0),
    "report": (["run", "--to", "md"], 0),
    "demo": (["--out", "demo", "--force"], 1),
    "data init": (["faces/table.csv", "--out", "init.yaml", "--force", "--label", "expression", "--attr", "gender"], 0),
    "data check": (["faces"], 0),
    "data sample": (["--out", "sample"], 0),
    "data stats": (["faces"], 0),
    "data cache": ([], 0),
    "config list": ([], 0),
    "config explain": (["tolerance"], 0),
    "config schema": ([], 0),
}
JSON = ("prune", "audit", "compare", "train", "inspect", "measure", "data stats", "config list", "config schema")


def listed(command: click.Command, name: str = "") -> list[str]:
    """The commands of the program, and of its groups, as they are typed."""
    commands = getattr(command, "commands", None)
    if commands is None:
        return [name]
    return [path for one, sub in commands.items() for path in listed(sub, f"{name} {one}".strip())]


def test_no_command_is_left_out() -> None:
    assert sorted(CASES) == sorted(listed(typer.main.get_command(app)))


def renamed(document: Any) -> Any:
    """A report whose groups and classes are written in letters of many scripts."""
    text = json.dumps(document, ensure_ascii=False)
    for name, other in NAMES.items():
        text = re.sub(rf"\b{name}\b", other, text)
    return json.loads(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest, images, an untrained model, predictions that are mostly right, and a run's report."""
    folder = tmp_path_factory.mktemp("encodings")
    faces.write_sample(folder / "faces", seed=1, sizes={"train": 60, "val": 20, "test": 120})
    for name in ("table.csv", "manifest.yaml"):
        path = folder / "faces" / name
        text = path.read_text(encoding="utf-8").replace("name: procedural-faces", "name: Gesichter – ü")
        for one, other in NAMES.items():
            text = re.sub(rf"\b{one}\b", other, text)
        path.write_text(text, encoding="utf-8")
    manifest = load_manifest(folder / "faces" / "manifest.yaml")
    save_checkpoint(
        folder / "model.pt", architectures.build("resnet10-w16", 2, seed=0), architecture="resnet10-w16",
        classes=manifest.classes, transform=manifest.transform.to_dict(), extra={},
    )  # fmt: skip
    rows = (folder / "faces" / "table.csv").read_text(encoding="utf-8").splitlines()[1:]
    test = [row.split(",") for row in rows if row.endswith("test")]
    said = [f"{row[0]},{row[1] if i % 4 else manifest.classes[i % 8 // 4]}" for i, row in enumerate(test)]
    (folder / "said.csv").write_text("\n".join(["file,predicted", *said, ""]), encoding="utf-8")
    (folder / "run").mkdir()
    (folder / "run" / "report.json").write_text(json.dumps(renamed(reports.full())), encoding="utf-8")
    return folder


@pytest.fixture
def computed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What commands compute for long is there already; what `main` changes of the process is changed back."""
    report = renamed(reports.full())
    outcome = Outcome(report, ExitCode.GATE_FAILED, tmp_path / "läufe")
    trained = {
        "path": "mödel.pt", "architecture": "resnet10-w16", "val_accuracy": 0.953, "training": [{}] * 12,
        "seconds": 21.4, "attributes": ["gender"],
    }  # fmt: skip
    plan = layout(tmp_path / "vergleich–x")
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.05))
    compared = comparison.Comparison(gather(plan), ExitCode.OK, plan)
    times = {"1": {"median_ms": 1.25, "low_ms": 1.1, "high_ms": 1.5, "peak_bytes": 1_330_000}}
    figures = {
        "parameters": 307_794, "nonzero": 7_569, "macs": 6_947_840, "file_bytes": 50_000, "dense_bytes": 1_237_032,
        "batch": times,
    }  # fmt: skip
    measured = {
        "input_channels": 3, "input_size": 40, "threads": 2, "device": "cpu", "peak_memory": "counted – by tensor",
        "models": {"dense": figures, "model": figures},
    }  # fmt: skip
    monkeypatch.setattr(pipeline, "prune", lambda *_: outcome)
    monkeypatch.setattr(dense_model, "train_checkpoint", lambda *_: trained)
    monkeypatch.setattr(comparison, "compare", lambda *_: compared)
    monkeypatch.setattr(measure_command, "measure_models", lambda *_, **__: measured)
    monkeypatch.setattr(data_commands, "sample", lambda out, *_: out / "manifest–.yaml")
    written = exports.export

    def export(model: Path, to: str, out: Path, **options: Any) -> Any:
        demo = SimpleNamespace(path=out, bytes=1_240_000, max_difference=1.5e-7)
        return demo if to == "safetensors-dense" else written(model, to, out, **options)

    monkeypatch.setattr(exports, "export", export)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.chdir(place)
    before = signal.getsignal(signal.SIGTERM)
    yield place
    signal.signal(signal.SIGTERM, before)


def ran(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code and what stands on stdout and stderr of the command line, with streams as Python would open them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n") for _ in range(2))
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["fairprune", *words])
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as left:
            program.main()
    texts = []
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        texts.append(stream.buffer.getvalue().decode(encoding))
    return int(left.value.code or 0), texts[0], texts[1]


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", text.replace("½", "1/2"))


@pytest.mark.parametrize("name", CASES)
def test_right_code_and_every_figure(name: str, computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, right = CASES[name]
    code, wanted, err = ran([*name.split(), *words], "utf-8", monkeypatch)
    assert code == right, err
    assert wanted.strip()
    for encoding in ENCODINGS:
        code, out, err = ran([*name.split(), *words], encoding, monkeypatch)
        assert code == right, err
        if name == "config schema":
            assert json.loads(out) == json.loads(wanted)
        else:
            assert numbers(out) == numbers(wanted)
        assert "internal error" not in err
        assert "\\u" not in out or name == "config schema"


@pytest.mark.parametrize("name", JSON)
def test_a_json_document_is_the_same_in_ascii(name: str, computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*name.split(), *CASES[name][0], *([] if name == "config schema" else ["--json"])]
    documents = [json.loads(ran(words, encoding, monkeypatch)[1]) for encoding in ("utf-8", "ascii")]
    for document in documents:
        document.pop("provenance", None)
        document.pop("cost", None)
        assert document == documents[0]


@pytest.mark.parametrize("words", [["prune", "--help"], ["inspect", "nö – ♀.pt"], ["config", "explain", "tölerance"]])
def test_help_and_errors(words: list[str], computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [ran(words, encoding, monkeypatch) for encoding in ("utf-8", *ENCODINGS)]
    assert len({code for code, _, _ in said}) == 1
    for _, out, err in said:
        assert numbers(out) == numbers(said[0][1])
        assert "internal error" not in err


OWN = """
import logging, warnings

def odd():
    said = "of a library\\n::error::forged\\x1b[31m\\u202e"
    warnings.warn(said)
    logging.getLogger("odd").warning(said)
    raise ValueError(said)
"""


@pytest.mark.parametrize("debug", [False, True])
def test_what_libraries_say_is_one_line_each_and_moves_no_cursor(
    debug: bool, computed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (computed / "own_of_encodings.py").write_text(OWN, encoding="utf-8")
    last = logging.lastResort
    assert last is not None
    before = last.formatter
    monkeypatch.setattr(logging.root, "handlers", [])  # without the test runner's own
    if debug:
        monkeypatch.setenv("FAIRPRUNE_DEBUG", "1")
        monkeypatch.setattr(pipeline, "prune", lambda *_: __import__("own_of_encodings").odd())
    try:
        words = CASES["prune"][0] if debug else ["model.pt", "--arch", "own_of_encodings:odd"]
        code, out, err = ran(["prune" if debug else "inspect", *words], "utf-8", monkeypatch)
    finally:
        last.setFormatter(before)
    assert code == (ExitCode.RUNTIME if debug else ExitCode.BAD_INPUT)
    assert out == ""
    assert not set(err) & set("\x1b\u202e")
    lines = err.splitlines()
    assert sum("of a library ::error::forged" in line for line in lines) >= 2
    assert not any(line.strip().startswith("::") for line in lines)


def test_a_locale_without_utf_8(computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    env.pop("PYTHONIOENCODING", None)
    there = fairprune("data", "stats", "faces", cwd=computed, env=env, fresh=True)
    assert there.code == 0, there.err
    assert there.out.isascii()
    assert numbers(there.out) == numbers(ran(["data", "stats", "faces"], "utf-8", monkeypatch)[1])
