"""`fairprune compare` in this process: failures, repetition, references, and what is said where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli.__main__ import run
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import save_checkpoint
from fairprune_cli.run import prune as pipeline


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("running") / "faces"
    manifest = load_manifest(write_sample(folder, seed=1, sizes={"train": 120, "val": 80, "test": 80}))
    model = architectures.build("resnet10-w16", 2, seed=0)
    save_checkpoint(
        folder / "dense.pt", model, architecture="resnet10-w16", classes=manifest.classes,
        transform=manifest.transform.to_dict(), extra={},
    )  # fmt: skip
    return folder


@pytest.fixture
def calls(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that were computed, in order; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    computed: list[str] = []
    prune = pipeline.prune

    def counted(request: pipeline.PruneRequest, terminal: Any) -> pipeline.Outcome:
        if not request.dry_run:
            assert request.out is not None
            computed.append(request.out.name)
        return prune(request, terminal)

    monkeypatch.setattr(pipeline, "prune", counted)
    return computed


def command(faces: Path, *more: str, methods: str = "magnitude,bip", seeds: str = "2") -> list[str]:
    return [
        "compare", str(faces / "dense.pt"), "--methods", methods, "--sparsities", "0.9", "--granularities", "weight",
        "--seeds", seeds, "--epochs", "1", "--batch-size", "20", "--attr", "gender", "--set", "min_group=5",
        "--set", "threads=1", "--out", "cmp", *more,
    ]  # fmt: skip


def test_a_failed_cell_is_recorded_the_others_go_on_and_the_next_run_tries_again(
    faces: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = pipeline.prune

    def failing(request: pipeline.PruneRequest, terminal: Any) -> pipeline.Outcome:
        if not request.dry_run and request.out is not None and request.out.name == "bip-weight-0.9-s0":
            raise FairpruneError("training diverged at step 3", hint="a smaller --lr", code=ExitCode.RUNTIME)
        return counted(request, terminal)

    monkeypatch.setattr(pipeline, "prune", failing)
    assert run(command(faces)) == ExitCode.RUNTIME
    said = capsys.readouterr()
    assert "failed: bip-weight-0.9-s0: training diverged at step 3; to mend: a smaller --lr" in said.out
    assert calls == ["magnitude-weight-0.9-s0", "magnitude-weight-0.9-s1", "bip-weight-0.9-s1"]
    document = json.loads(Path("cmp/compare.json").read_text())
    row = next(row for row in document["rows"] if row["method"] == "bip")
    assert (row["done"], row["failed"][0]["seed"]) == (1, 0)
    assert "training diverged" in Path("cmp/compare.html").read_text()
    assert json.loads(Path("cmp/failed/bip-weight-0.9-s0.json").read_text())["name"] == "bip-weight-0.9-s0"
    assert run(command(faces, "--gather")) == ExitCode.RUNTIME
    monkeypatch.setattr(pipeline, "prune", counted)
    calls.clear()
    assert run(command(faces)) == ExitCode.OK
    assert calls == ["bip-weight-0.9-s0"]
    assert list(Path("cmp/failed").iterdir()) == []
    assert list(Path("cmp/claims").glob("*.json")) == []


def test_done_cells_stay_force_computes_only_what_differs_and_json_is_alone(
    faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(faces, seeds="1")) == ExitCode.OK
    calls.clear()
    capsys.readouterr()
    assert run(command(faces, "--json")) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert calls == ["magnitude-weight-0.9-s1", "bip-weight-0.9-s1"]
    assert document == json.loads(Path("cmp/compare.json").read_text())
    assert "prune the same dense model" in document["notes"][0]
    changed = [word if word != "min_group=5" else "min_group=6" for word in command(faces, methods="magnitude")]
    assert run(changed) == ExitCode.BAD_INPUT
    err = capsys.readouterr().err
    assert "magnitude-weight-0.9-s0 was made otherwise: min_group is 5 there, 6 here" in err
    assert run([*changed, "--force", "--dry-run"]) == ExitCode.OK
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == "magnitude-weight-0.9-s0: made otherwise (min_group is 5 there, 6 here)"
    assert listed[-1].startswith("dry run: 2 of 2 cells are left")
    calls.clear()
    assert run([*changed, "--force"]) == ExitCode.OK
    assert calls == ["magnitude-weight-0.9-s0", "magnitude-weight-0.9-s1"]
    calls.clear()
    assert run([*changed, "--force"]) == ExitCode.OK
    assert calls == []


def test_dry_run_lists_the_cells_and_writes_nothing(
    faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(command(faces, "--dry-run")) == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[:2] == [
        "magnitude-weight-0.9-s0: missing", "magnitude-weight-0.9-s1: missing",
    ]  # fmt: skip
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_progress_says_which_cell_it_is_about(
    faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(faces, seeds="1")) == ExitCode.OK
    err = capsys.readouterr().err
    assert "cell 2 of 2: bip-weight-0.9-s0" in err
    assert "cell 2 of 2, bip weight 0.9: started" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--grid", "rhoo=0.1,0.2"), "did you mean 'rho'?"),
        (("--grid", "epochs=1,2"), "as a grid and as a single value"),
        (("--reference", "snip"), "not among the methods"),
        (("--gather",), "no cell is done"),
        (("--gather", "--dry-run"), "cannot go together"),
        (("--tolerance", "7"), "7 % is written 0.07"),
        (("--notion", "x"), "known: accuracy"),
        (("--set", "sparsity=0.5"), "use --sparsities"),
        (("--seeds", "0"), "--seeds"),
    ],
)
def test_usage_is_code_2_before_anything_is_computed(
    more: tuple[str, ...], message: str, faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(faces, *more)) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert calls == []
    assert not Path("cmp").exists()


def test_out_of_reach_is_said_of_all_cells_before_the_first(
    faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(faces)
    words[words.index("0.9")] = "0.9,0.99999"
    assert run(words) == ExitCode.BAD_INPUT
    assert "error: magnitude-weight-0.99999-s0: " in capsys.readouterr().err
    assert calls == []


def test_a_dense_model_that_does_not_fit_is_found_before_the_first_cell(
    faces: Path, calls: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also that of a later seed, which has no kind of cell to itself."""
    model = architectures.build("resnet10-w16", 3, seed=0)
    save_checkpoint(
        tmp_path / "dense-1.pt", model, architecture="resnet10-w16", classes=["a", "b", "c"],
        transform=load_manifest(faces / "manifest.yaml").transform.to_dict(), extra={},
    )  # fmt: skip
    (tmp_path / "dense-0.pt").write_bytes((faces / "dense.pt").read_bytes())
    words = ["compare", "dense-{seed}.pt", *command(faces)[2:], "--data", str(faces)]
    assert run(words) == ExitCode.BAD_INPUT
    assert "error: magnitude-weight-0.9-s1: dense-1.pt: the network's outputs are a, b, c" in capsys.readouterr().err
    assert calls == []
