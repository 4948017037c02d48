"""What needs neither model nor images is refused before torch is imported, with exit code 2 and how to mend it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fairprune_cli.__main__ import run

MANIFEST = """\
version: 1
table: table.csv
columns: {image: file, label: label, split: split}
classes: [no, yes]
attributes: {gender: {column: gender}, age: {column: age}}
transform: {size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""
BELOW = "table.csv/out"  # of a file
MISTAKES: list[tuple[str, str]] = [
    ("prune modle.pt --attr gender", "did you mean 'model.pt'?"),
    ("prune empty.pt --attr gender", "the file is empty"),
    ("prune model.pt --data absent.yaml", "no such manifest"),
    ("prune key.yaml --attr gender", "a .yaml file is no model"),
    ("prune table.csv --attr gender", "a table, not a model"),
    ("prune graph.onnx --attr gender", "an ONNX graph"),
    ("inspect graph.onnx", "`fairprune audit` runs it"),
    ("audit model.pt --data /dev/null", "no plain file"),
    ("prune model.pt --data key.yaml --attr gender", "did you mean 'columns'?"),
    ("prune model.pt --data table.csv --attr gender", "this is a table: `fairprune data init table.csv`"),
    ("prune model.pt --data table.yaml --attr gender", "the table"),
    ("prune model.pt --attr gendr", "did you mean 'gender'?"),
    ("prune model.pt --attr gender*agee", "did you mean 'age'?"),
    ("prune model.pt --attr gender,agee", "did you mean 'age'?"),
    ("prune model.pt", "no sensitive attribute was named"),
    ("prune model.pt --attr gender --method bfip", "did you mean 'bifp'?"),
    ("prune model.pt --attr gender --notion equalised-odds", "did you mean 'odds'?"),
    ("prune model.pt --attr gender --relaxation Logstic", "did you mean 'logistic'?"),
    ("prune model.pt --attr gender --granularity unstructured", "did you mean 'weight'?"),
    ("prune model.pt --attr gender --sparsity 80", "--sparsity: a share below 1; 80 % is written 0.8"),
    ("prune model.pt --attr gender --sparsity 80%", "--sparsity: a share below 1; 80 % is written 0.8"),
    ("prune model.pt --attr gender --tolerance 0,05", "0,05 is written 0.05"),
    ("prune model.pt --attr gender --max-gap 5", "--max-gap: a share from 0 to 1; 5 % is written 0.05"),
    ("prune model.pt --attr gender --device gpu", "did you mean 'cuda'?"),
    ("prune model.pt --attr gender --arch resnet180", "did you mean 'resnet18'?"),
    ("prune model.pt --attr gender --method magnitude --fairness-on both", "magnitude has no fairness term"),
    (f"prune model.pt --attr gender --out {BELOW}", "is a file"),
    ("prune --resume absent", "there is no run to continue"),
    ("audit modle.pt", "did you mean 'model.pt'?"),
    ("audit model.pt --against modle.pt", "did you mean 'model.pt'?"),
    ("audit model.pt --max-degradation 0.1", "--against DENSE"),
    (f"audit model.pt --out {BELOW}", "is a file"),
    ("compare model.pt --methods bipf --sparsities 0.8 --attr gender", "--methods: unknown method 'bipf'"),
    ("compare model.pt --methods bifp --methods bipf --sparsities 0.8 --attr gender", "unknown method 'bipf'"),
    ("compare model.pt --methods bifp --sparsities 0.8 --sparsities 90 --attr gender", "--sparsities: a share below 1"),
    ("compare model.pt --methods bifp --sparsities 0.8,90 --attr gender", "--sparsities: a share below 1; 90 %"),
    (f"compare model.pt --methods bifp --sparsities 0.8 --attr gender --out {BELOW}", "is a file"),
    ("train --arch resnet11 --out other.pt", "did you mean 'resnet1"),
    (f"train --arch resnet10 --out {BELOW}", "is a file"),
    ("train --arch resnet10 --out .", "is a folder"),
    ("export modle.pt --to onnx", "did you mean 'model.pt'?"),
    ("export model.pt --to torchscript", "did you mean 'pt2'?"),
    (f"export model.pt --to onnx --out {BELOW}", "is a file"),
    ("inspect modle.pt", "did you mean 'model.pt'?"),
    ("measure model.pt --against modle.pt", "did you mean 'model.pt'?"),
    (f"demo --out {BELOW}", "is a file"),
    (f"report report.json --to md --out {BELOW}", "is a file"),
    (f"data init table.csv --out {BELOW}", "is a file"),
    (f"data sample --out {BELOW}", "is a file"),
    (f"data stats --out {BELOW}.svg", "is a file"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("manifest.yaml").write_text(MANIFEST)
    tmp_path.joinpath("key.yaml").write_text(f"{MANIFEST}colums: {{}}\n")
    tmp_path.joinpath("table.yaml").write_text(MANIFEST.replace("table.csv", "tabel.csv"))
    tmp_path.joinpath("table.csv").write_text("file,label,split,gender,age\n")
    tmp_path.joinpath("model.pt").write_text("no model, which nobody looks at")
    tmp_path.joinpath("empty.pt").touch()
    tmp_path.joinpath("graph.onnx").write_text("no graph, which nobody looks at")
    tmp_path.joinpath("report.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("command", "said"), MISTAKES)
def test_a_mistake_is_answered_in_a_message(
    command: str, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert run(command.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert said in told.err
    assert "Traceback" not in told.err
    assert sorted(place.rglob("*")) == before


def test_none_of_them_imports_torch(place: Path) -> None:
    code = (
        "import json, sys\nfrom fairprune_cli.__main__ import run\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    run(line.split())\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    lines = json.dumps([command for command, _ in MISTAKES])
    done = subprocess.run([sys.executable, "-c", code, lines], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_an_output_is_tried_and_leaves_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(place.rglob("*"))
    assert run(["train", "--arch", "resnet10", "--out", f"new/{'x' * 300}.pt"]) == 2
    assert "too long" in capsys.readouterr().err
    if Path("/proc").is_dir():  # where not even root may write
        assert run(["train", "--arch", "resnet10", "--out", "/proc/new/model.pt"]) == 2
        assert "is not writable" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before
