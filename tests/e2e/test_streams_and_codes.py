"""Exit codes, streams and messages of the commands, each from a real process."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.commands import Work, fairprune


def forget(document: Any, key: str) -> None:
    """Remove a key wherever it stands."""
    if isinstance(document, dict):
        document.pop(key, None)
        for value in document.values():
            forget(value, key)


PRUNE = ("prune", "model.pt", "--sparsity", "0.9", "--attr", "gender", "--granularity", "weight")


def test_help_is_quick_and_lists_every_command(tmp_path: Path) -> None:
    ran = fairprune("--help", cwd=tmp_path, fresh=True)
    assert ran.code == 0
    for command in ("prune", "compare", "audit", "train", "export", "inspect", "report", "demo", "data"):
        assert command in ran.out


@pytest.mark.parametrize("command", ["prune", "compare", "audit", "train", "export", "inspect", "report", "demo"])
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    ran = fairprune(command, "--help", cwd=tmp_path)
    assert ran.code == 0
    assert "Usage: fairprune" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prune", "absent.pt", "--attr", "gender"), "absent.pt"),
        (("prune", "model.pt", "--attr", "gendre"), "did you mean 'gender'?"),
        (("prune", "model.pt", "--attr", "gender", "--attr", "gender"), "given twice"),
        (("prune", "model.pt", "--attr", "gender", "--sparsity", "1.5"), "1.5 % is written 0.015"),
        (("prune", "model.pt", "--attr", "gender", "--sparsity", "0.9999"), "cannot be reached"),
        (("prune", "model.pt", "--attr", "gender", "--method", "magnitud"), "did you mean 'magnitude'?"),
        (("prune", "model.pt", "--attr", "gender", "--notion", "x"), "known: accuracy"),
        (("prune", "model.pt", "--attr", "gender", "--device", "tpu"), "unknown device"),
        (("prune", "model.pt", "--attr", "gender", "--set", "roh=1"), "did you mean 'rho'?"),
        (("prune", "model.pt", "--attr", "gender", "--arch", "resnet18"), "its tensors are those of"),
        (("prune", "model.pt"), "no sensitive attribute"),
        (("prune",), "no model was given"),
        (("prune", "model.pt", "--no-such-flag"), "--no-such-flag"),
        (("prune", "--resume", "nowhere"), "no readable config.yaml"),
        (("prune", "model.pt", "--attr", "gender", "--config", "absent.yaml"), "absent.yaml"),
        (("audit", "model.pt", "--max-degradation", "0.1"), "--against"),
        (("audit", "model.pt", "--max-churn", "0.1"), "churn needs the dense model"),
        (("audit", "model.pt", "--data", "absent.yaml"), "absent.yaml"),
        (("export", "model.pt", "--to", "torchscript"), "unknown export format"),
        (("report", "nowhere", "--to", "html"), "nowhere"),
        (("data", "check", "--data", "absent.yaml"), "absent.yaml"),
        (("train", "--arch", "resnet11", "--out", "other.pt"), "resnet1"),
        (("audit", "model.pt", "--confidence", "0.2"), "confidence"),
    ],
)
def test_bad_input_is_one_message_and_code_2(arguments: tuple[str, ...], message: str, work: Work) -> None:
    before = sorted(path.name for path in work.folder.iterdir())
    ran = fairprune(*arguments, cwd=work.folder)
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.count("error:") == 1
    assert "reading images" not in ran.err  # of large data that takes minutes
    assert sorted(path.name for path in work.folder.iterdir()) == before


def test_missing_manifest_lists_the_four_places(work: Work, tmp_path: Path) -> None:
    shutil.copy(work.model, tmp_path / "model.pt")
    ran = fairprune("prune", "model.pt", "--attr", "gender", cwd=tmp_path)
    assert ran.code == 2
    for place in ("--data", "FAIRPRUNE_DATA", "fairprune.yaml", "manifest.yaml"):
        assert place in ran.err


def test_nan_weights_are_named(work: Work, tmp_path: Path) -> None:
    content = torch.load(work.model, weights_only=True)
    content["state_dict"]["fc.bias"][0] = float("nan")
    torch.save(content, tmp_path / "bad.pt")
    ran = fairprune("inspect", str(tmp_path / "bad.pt"), cwd=tmp_path)
    assert ran.code == 2
    assert "fc.bias" in ran.err


@pytest.mark.parametrize(
    ("gate", "code", "verdict"),
    [
        (("--max-gap", "0.99"), 0, "pass"),
        (("--min-accuracy", "0.999"), 1, "fail"),
        (("--max-gap", "0.0"), 4, "inconclusive"),
        (("--max-gap", "0.99", "--min-accuracy", "0.999"), 1, "fail"),
    ],
)
def test_gates_decide_the_exit_code(gate: tuple[str, ...], code: int, verdict: str, work: Work) -> None:
    ran = fairprune("audit", "model.pt", "--attr", "gender", *gate, "--json", cwd=work.folder)
    assert ran.code == code, ran.err
    assert json.loads(ran.out)["verdict"] == verdict


def test_json_is_one_document_and_progress_goes_elsewhere(work: Work) -> None:
    ran = fairprune("audit", "model.pt", "--json", cwd=work.folder)
    document = json.loads(ran.out)
    assert set(document["results"]["dense"]["attributes"]) == {"gender", "age"}
    assert "auditing" in ran.err
    assert "\x1b" not in ran.out + ran.err


def test_quiet_says_nothing_but_the_result(work: Work) -> None:
    ran = fairprune("audit", "model.pt", "--attr", "gender", "--quiet", cwd=work.folder)
    assert ran.code == 0
    assert ran.err == ""
    assert "verdict: none" in ran.out


def test_audit_of_pruned_against_dense(work: Work, weight_run: Path, tmp_path: Path) -> None:
    ran = fairprune(
        "audit", str(weight_run), "--against", "model.pt", "--attr", "gender", "--max-degradation", "0.9", "--out",
        str(tmp_path / "audit"), "--json", cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    audited, pruned = json.loads(ran.out), json.loads((weight_run / "report.json").read_text())
    for document in (audited, pruned):
        forget(document["results"], "calibration")  # rests on logits, which depend on the batch in their last bits
    assert audited["results"] == pruned["results"]
    assert audited["degradation"] == pruned["degradation"]
    assert {p.name for p in (tmp_path / "audit").iterdir()} == {"report.json", "report.html", "report.md"}


def test_environment_and_config_file_reach_the_run(work: Work, tmp_path: Path) -> None:
    (tmp_path / "fairprune.yaml").write_text(f"data: {work.folder / 'manifest.yaml'}\nattr: gender\nsparsity: 0.7\n")
    ran = fairprune(
        "prune", str(work.model), "--dry-run", "--json", cwd=tmp_path, env={"FAIRPRUNE_SPARSITY": "0.6"}
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["sparsity"] == 0.6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_is_continued_to_the_same_bytes(
    number: signal.Signals, work: Work, weight_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "fairprune_cli", *PRUNE, "--epochs", "2", "--batch-size", "64", "--out", str(out)],
        cwd=work.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "started" in line and "bifp" in line:
            break
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == {signal.SIGINT: 130}.get(number, 143), err
    assert "--resume" in err
    assert (out / "state").is_dir()
    refused = fairprune("prune", "--resume", str(out), "--sparsity", "0.5", cwd=work.folder)
    assert refused.code == 2
    assert "--sparsity is 0.9 there" in refused.err
    ran = fairprune("prune", "--resume", str(out), cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert (out / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
    assert not (out / "state").exists()


def test_a_reader_that_has_left_changes_no_exit_code(weight_run: Path, work: Work) -> None:
    """Not even where rich would give up, and not that of a gate."""
    for arguments, code in (("inspect model.pt", 0), (f"audit {weight_run} --attr gender --min-accuracy 0.999", 1)):
        command = f"{sys.executable} -m fairprune_cli {arguments} | (exec 0<&-; sleep 8); exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "BrokenPipe" not in done.stderr


def test_a_reader_that_leaves_is_no_error(work: Work) -> None:
    command = f"{sys.executable} -m fairprune_cli inspect model.pt | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_on_a_terminal_there_is_a_bar_and_colour_can_be_turned_off(work: Work) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fairprune_cli", "audit", "model.pt", "--attr", "gender"], cwd=work.folder, stdout=slave,
        stderr=slave, env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    process.wait(60)
    os.close(master)
    text = seen.decode()
    assert process.returncode == 0, text
    assert "auditing" in text
    assert "\x1b[3" not in text.replace("\x1b[?", "")  # no colour; moving the cursor is allowed
    assert "verdict: none" in text


def test_a_read_only_folder_is_known_before_the_work(work: Work, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/fairprune-run")  # not even root may write there
    else:
        target = tmp_path / "closed" / "run"
        target.parent.mkdir(mode=0o500)
    ran = fairprune(*PRUNE, "--out", str(target), cwd=work.folder)
    assert ran.code == 2
    assert str(target) in ran.err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed: str, work: Work) -> None:
    command = f"{sys.executable} -m fairprune_cli inspect model.pt --json {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert bool(done.stdout) == (closed == "2>&-")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_a_run_time_error(work: Work) -> None:
    command = f"{sys.executable} -m fairprune_cli inspect model.pt > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error: stdout: cannot write")
    assert "Traceback" not in done.stderr
