"""Methods and notions of a user's own package: pruned, compared and audited with, continued only when named again."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.commands import Work, fairprune
from tests.support.processes import start

OWN = """
import numpy as np
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.pruning.methods import magnitude


class KeepSmallest(magnitude.Method):
    granularities = ("weight",)

    def scores(self, sparsity=0.0):
        return -super().scores(sparsity)


class FirstClassRecall(Notion):
    def __init__(self, classes):
        super().__init__(
            "first-class-recall", np.eye(classes, dtype=bool)[None], np.eye(classes, dtype=bool)[:1], np.ones(1, int)
        )


def nothing(classes):
    return None
"""
METHOD, NOTION = "mine.rules:KeepSmallest", "mine.rules:FirstClassRecall"
PRUNE = (
    "prune", "model.pt", "--attr", "gender", "--method", METHOD, "--granularity", "weight", "--sparsity", "0.5",
    "--notion", NOTION, "--max-gap", "0.9", "--epochs", "1", "--batch-size", "64", "--set", "save_minutes=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set, its dense model, and a package beside them."""
    folder = tmp_path_factory.mktemp("own") / "faces"
    shutil.copytree(work.folder, folder)
    (folder / "mine").mkdir()
    (folder / "mine" / "rules.py").write_text(OWN)
    return folder


def test_a_run_with_them_is_continued_when_they_are_named_again(place: Path, tmp_path: Path) -> None:
    out = place / "runs" / "model-keep-smallest-weight-0.5"
    running = start(*PRUNE, cwd=place, log=tmp_path / "log")
    assert running.wait_until((out / "state" / "state.pt").exists), running.err
    running.send(signal.SIGKILL)
    running.wait()
    refused = fairprune("prune", "--resume", str(out), cwd=place)
    assert refused.code == 2
    assert f"the run imports {METHOD} and {NOTION}, and a run folder is no reason to import code" in refused.err
    assert f"--method {METHOD} --notion {NOTION}" in refused.err
    other = fairprune("prune", "--resume", str(out), "--method", "mine.rules:Other", "--notion", NOTION, cwd=place)
    assert other.code == 2
    assert "flags contradict the run" in other.err
    done = fairprune("prune", "--resume", str(out), "--method", METHOD, "--notion", NOTION, cwd=place)
    assert done.code in (0, 4), done.err
    report = json.loads((out / "report.json").read_text())
    assert report["config"]["method"]["value"] == METHOD
    (gate,) = report["gates"]
    assert gate["notion"] == NOTION
    assert "method keep-smallest" in (out / "report.md").read_text()
    audited = fairprune(
        "audit", str(out), "--attr", "gender", "--notion", NOTION, "--max-gap", "0.9", "--json", cwd=place
    )
    assert audited.code in (0, 4), audited.err
    assert json.loads(audited.out)["gates"][0]["value"] == gate["value"]


def test_a_comparison_takes_them_and_names_its_cells_for_file_systems(place: Path) -> None:
    ran = fairprune(
        "compare", "model.pt", "--methods", f"magnitude,{METHOD}", "--sparsities", "0.5", "--granularities", "weight",
        "--seeds", "1", "--attr", "gender", "--list-commands", cwd=place,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    own = next(line for line in ran.out.splitlines() if METHOD in line)
    assert f"--method {METHOD}" in own
    cell = Path(own.split("--out ")[1].split()[0]).name
    assert cell.startswith("keep-smallest-weight-0.5~")
    assert ":" not in cell


@pytest.mark.parametrize("key", ["method", "notion", "arch"])
def test_a_file_that_merely_is_there_chooses_no_code(key: str, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "faces", ignore=shutil.ignore_patterns("runs"))
    folder = tmp_path / "faces"
    canary = folder / "imported"
    (folder / "mine" / "rules.py").write_text(f"open({str(canary)!r}, 'w').close()\n{OWN}")
    name = {"method": METHOD, "notion": NOTION, "arch": "mine.rules:net"}[key]
    (folder / "fairprune.yaml").write_text(f"{key}: {name}\ngranularity: weight\n")
    arguments = ("prune", "model.pt", "--attr", "gender", "--dry-run")
    refused = fairprune(*arguments, cwd=folder)
    assert refused.code == 2
    assert f"names {name!r} as its {key}" in refused.err
    assert not canary.exists()
    if key == "arch":
        return
    assert fairprune(*arguments, "--config", "fairprune.yaml", cwd=folder).code == 0
    (folder / "fairprune.yaml").unlink()
    assert canary.exists()
    canary.unlink()
    named = fairprune(*arguments, "--granularity", "weight", cwd=folder, env={f"FAIRPRUNE_{key.upper()}": name})
    assert named.code == 2
    assert f"say so with --{key} {name}" in named.err
    assert not canary.exists()


@pytest.mark.parametrize(
    ("flag", "name", "said"),
    [
        ("--method", "mine.rules:KeepLargest", "mine.rules has no 'KeepLargest'"),
        ("--method", "mine.rules:nothing", "nothing is not a class derived from"),
        ("--method", "mine.absent:Method", "there is no module 'mine.absent'"),
        ("--method", "mine rules:", "not of the form package.module:name"),
        ("--notion", "mine.rules:nothing", "it gave NoneType, not a Notion"),
        ("--notion", "mine.rules:np", "np is module, not callable"),
        ("--notion", "mine.rules:KeepSmallest", "the call of it failed with TypeError"),
    ],
)
def test_what_is_wrong_with_them_is_said(flag: str, name: str, said: str, place: Path) -> None:
    ran = fairprune("prune", "model.pt", "--attr", "gender", flag, name, "--dry-run", cwd=place)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert f"{flag} {name}" in ran.err
