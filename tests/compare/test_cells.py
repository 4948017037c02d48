"""Cells of a comparison: grids, names, commands, claims, and whether what lies there is what is wanted."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli.commands import app as cli
from fairprune_cli.commands import prune
from fairprune_cli.compare import claims, grid, picture, write_results
from fairprune_cli.compare import csv_file as sheet
from fairprune_cli.compare import shell as commands
from fairprune_cli.compare.cells import Request
from fairprune_cli.compare.gather import gather
from fairprune_cli.compare.plan import plan, targets
from fairprune_cli.compare.status import BEGUN, DONE, MISSING, refuse_differences, standing
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.locks import holder
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.run import early
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.options import Resolved, Settings, resolve
from tests.support.comparisons import drawn, finish, layout


def test_grid_is_the_product_in_the_order_given() -> None:
    found = grid.grid_points(["tolerance=0.01,0.05", "augment=true,false"], [])
    assert found == [
        (("tolerance", 0.01), ("augment", True)), (("tolerance", 0.01), ("augment", False)),
        (("tolerance", 0.05), ("augment", True)), (("tolerance", 0.05), ("augment", False)),
    ]  # fmt: skip
    assert grid.grid_points([], []) == [()]


@pytest.mark.parametrize(
    ("pairs", "given", "message"),
    [
        (["tolerence=0.1,0.2"], [], "unknown key 'tolerence'"),
        (["tolerance"], [], "is not KEY=V1,V2"),
        (["tolerance=0.1,2"], [], "2 % is written 0.02"),
        (["tolerance=0.1,0.10"], [], "0.1 is given twice"),
        (["tolerance=0.1", "tolerance=0.2"], [], "is given twice"),
        (["tolerance=0.1,0.2"], ["tolerance"], "given as a grid and as a single value"),
        (["method=bifp,bip"], [], "has a flag of its own"),
        (["seed=1,2"], [], "has a flag of its own"),
    ],
)
def test_grid_mistakes_are_named(pairs: list[str], given: list[str], message: str) -> None:
    with pytest.raises(FairpruneError, match=message):
        grid.grid_points(pairs, given)


def test_names_are_readable_unique_and_safe() -> None:
    assert grid.cell_name("bifp", "channel", 0.8, (("tolerance", 0.01),), 3) == "bifp-channel-0.8-tolerance=0.01-s3"
    points = [
        (("arch", "package.module:factory"),), (("arch", "package.module_factory"),), (("arch", "Package"),),
        (("arch", "package"),), (("attr", ("a", "b")),), (("attr", ("a/b",)),), (("attr", ("../../x",)),),
        (("arch", "x" * 300),), (("arch", "x" * 301),), (("augment", True),), (("rho", 1e-07),), (("arch", "é $(x)"),),
    ]  # fmt: skip
    names = [grid.cell_name("bifp", kind, 0.8, p, s) for kind in ("channel", "weight") for p in points for s in (0, 1)]
    names += [grid.cell_name("bifp", "channel", s, (), 0) for s in (0.8, 0.80000001)]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._=+-~")
        assert len(name) < 160
        assert not name.startswith((".", "-"))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[pipeline.PruneRequest]:
    """Requests that the command line made of its arguments; nothing is pruned."""
    requests: list[pipeline.PruneRequest] = []

    def prune(request: pipeline.PruneRequest, terminal: object) -> pipeline.Outcome:
        requests.append(request)
        raise FairpruneError("caught")

    monkeypatch.setattr(pipeline, "prune", prune)
    monkeypatch.delenv("FAIRPRUNE_DEVICE")  # the shell that runs the command has none of the variables of this one
    monkeypatch.setattr(early, "look_ahead", lambda *_, **__: Path("manifest.yaml"))  # what is named is nowhere
    monkeypatch.chdir(tmp_path)
    return requests


SETTINGS: list[dict[str, Any]] = [
    {},
    {"attr": ("gender", "age * gender", "-x"), "augment": False, "rho": 0.1 + 0.2, "lr": 1e-07},
    {"arch": "package.module:factory", "point_estimate": True, "max_gap": 0.05, "split": "val", "balance": "even"},
    {"data": 'it\'s a "path" with $HOME/m.yaml', "epochs": 3, "precision": "bf16", "min_group": 10, "device": "cpu"},
]


@pytest.mark.parametrize("given", SETTINGS)
def test_command_resolves_to_the_same_settings(
    given: dict[str, Any], parsed: list[pipeline.PruneRequest], tmp_path: Path
) -> None:
    resolved = resolve(given, {}, None)
    line = commands.prune_command(tmp_path / "a model.pt", resolved, tmp_path / "o", trust=True, force=True)
    words = shlex.split(line)
    assert words[:2] == ["fairprune", "prune"]
    with pytest.raises(FairpruneError, match="caught"):
        cli.app(args=words[1:], standalone_mode=False)
    request = parsed[0]
    assert request.resolved.settings == resolved.settings
    assert (request.model, request.out, request.trust, request.force) == (
        tmp_path / "a model.pt", tmp_path / "o", True, True,
    )  # fmt: skip


def test_command_names_what_a_file_or_variable_decided(parsed: list[pipeline.PruneRequest], tmp_path: Path) -> None:
    # At its default only because a flag overruled the file: where the file is read again the command must say so.
    resolved = Resolved(Settings(lr=0.1), {**resolve({}, {}, None).sources, "lr": "flag"})
    (tmp_path / "fairprune.yaml").write_text("lr: 0.5\n")
    line = commands.prune_command(Path("m.pt"), resolved, Path("o"), trust=False, force=False)
    with pytest.raises(FairpruneError, match="caught"):
        cli.app(args=shlex.split(line)[1:], standalone_mode=False)
    assert parsed[0].resolved.settings == Settings(lr=0.1)


def test_every_flag_of_the_commands_is_one_of_prune() -> None:
    import inspect

    assert set(commands.FLAGS) <= set(inspect.signature(prune.command).parameters)


def test_claim_is_exclusive_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "cell.json"
    with claims.claim(path) as first:
        assert first
        with claims.claim(path) as second:
            assert not second
        assert path.exists()  # who did not get it does not give it back
        assert str(os.getpid()) in holder(path)
    assert not path.exists()


HOLD = """
import sys, time
from pathlib import Path
from fairprune_cli.compare import claims
with claims.claim(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_claim_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with claims.claim(path) as got:
            assert not got
        assert str(other.pid) in holder(path)
    finally:
        other.kill()
        other.wait()
    assert path.exists()
    with claims.claim(path) as got:
        assert got


def test_claim_of_another_host_or_still_to_be_written_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    for content, ours in (
        ({"pid": os.getpid(), "host": claims.socket.gethostname()}, True),
        ({"pid": os.getpid(), "host": "elsewhere"}, False),
    ):
        path.write_text(json.dumps(content))
        with claims.claim(path) as got:
            assert got is ours
    path.write_text("")  # just made, content still to come
    with claims.claim(path) as got:
        assert not got
    os.utime(path, (1, 1))
    with claims.claim(path) as got:
        assert got


def _count(folder: str) -> None:
    for i in range(40):
        with claims.claim(Path(folder) / "claims" / "one.json") as ours:
            if ours:
                with open(Path(folder) / "inside", "x") as stream:  # fails if anybody else is inside
                    stream.write(str(i))
                os.unlink(Path(folder) / "inside")


def test_two_processes_are_never_inside_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count, args=(str(tmp_path),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_a_cell_made_otherwise_is_named_with_what_differs(tmp_path: Path) -> None:
    there = layout(tmp_path, seeds=1, lr=0.1)
    for cell in there.cells:
        finish(there, cell, drawn(cell, 0.93, 0.1))
    here = layout(tmp_path, seeds=1, lr=0.2, device="cpu", confidence=0.9)
    found = {cell.name: standing(here, cell) for cell in here.cells}
    assert {s.state for s in found.values()} == {DONE}
    assert [s.differs for s in found.values()] == ["lr is 0.1 there, 0.2 here"] * 2
    with pytest.raises(FairpruneError, match=r"bifp-channel-0.8-s0 was made otherwise: lr is 0.1 there") as caught:
        refuse_differences(here, found)
    assert "--force" in caught.value.hint
    same = layout(tmp_path, seeds=1, lr=0.1, device="cpu", confidence=0.9)  # these two change no figure
    assert {standing(same, cell).differs for cell in same.cells} == {""}


def test_states_of_a_cell(tmp_path: Path) -> None:
    plan = layout(tmp_path, seeds=1)
    first, second = plan.cells
    assert standing(plan, first).state == MISSING
    finish(plan, first, drawn(first, 0.93, 0.1))
    (plan.path(first) / "report.json").rename(plan.path(first) / "kept")
    assert standing(plan, first).state == MISSING
    (plan.path(first) / "state").mkdir()
    (plan.path(first) / "state" / "state.pt").write_bytes(b"")
    assert standing(plan, first).state == BEGUN
    (plan.path(first) / "kept").rename(plan.path(first) / "report.json")
    assert standing(plan, first).state == DONE
    assert standing(plan, second).state == MISSING


def test_csv_reads_back_in_full_precision(tmp_path: Path) -> None:
    plan = layout(tmp_path, seeds=2, pairs=["rho=0.1,0.3"], notion="parity")
    for cell in plan.cells[:-1]:
        finish(plan, cell, drawn(cell, 0.93, 0.1 / 3, ("gender", "age")))
    document = gather(plan)
    rows = list(csv.DictReader(io.StringIO(sheet.write_csv(document))))
    assert len(rows) == len(document["cells"]) == 8
    for row, cell in zip(rows, document["cells"], strict=True):
        assert (row["name"], row["status"], row["grid rho"]) == (cell["name"], cell["status"], str(cell["grid"]["rho"]))
        if cell["status"] == "missing":
            assert row["accuracy"] == row["gender: gap"] == ""
            continue
        entry = cell["figures"]["attributes"]["age"]
        assert float(row["accuracy"]) == cell["figures"]["accuracy"]
        assert float(row["age: gap"]) == entry["gap"]
        assert float(row["age = 30-60"]) == entry["groups"]["30-60"]
        assert float(row["dense age: odds_gap"]) == cell["dense"]["attributes"]["age"]["odds_gap"]
        assert row["age: notion_gap"] == ""


def test_results_are_written_and_hold_what_they_should(tmp_path: Path) -> None:
    plan = layout(tmp_path, ("magnitude", "bifp"), (("channel", 0.8), ("weight", 0.9)), 3)
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1 if cell.row.method == "magnitude" else 0.04, ("gender",)))
    document = gather(plan)
    write_results(plan, document)
    assert json.loads((tmp_path / "compare.json").read_text()) == document
    html, text = (tmp_path / "compare.html").read_text(), (tmp_path / "compare.md").read_text()
    assert html.count("<svg") == 6  # all targets and each of two, wide and narrow
    for marker in ("http://", "https://", "<script"):
        assert marker not in html
    assert "| dense | 9" in text
    assert "| better: −" in text
    figure = picture.comparison_figure(document, "gender")
    assert figure is not None
    assert [point.series for point in figure.points] == [0, 1, 2, 1, 2]
    picture_text = (tmp_path / "accuracy-gap.svg").read_text()
    assert picture_text.count('class="whisker faint"') == 5
    assert ">magnitude</text>" in picture_text


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest and two dense checkpoints that were never trained."""
    from fairprune_cli.data.manifest.load import load_manifest
    from fairprune_cli.models import architectures
    from fairprune_cli.models.checkpoint.load import save_checkpoint

    folder = tmp_path_factory.mktemp("compare") / "faces"
    manifest = load_manifest(write_sample(folder, seed=1, sizes={"train": 20, "val": 20, "test": 20}))
    for seed in (3, 4):
        model = architectures.build("resnet10-w16", 2, seed=seed)
        save_checkpoint(
            folder / f"dense-{seed}.pt", model, architecture="resnet10-w16", classes=manifest.classes,
            transform=manifest.transform.to_dict(), extra={},
        )  # fmt: skip
    return folder


def request(folder: Path, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "model": str(folder / "dense-{seed}.pt"), "resolved": resolve({"seed": 3, "attr": ("gender",)}, {}, None),
        "methods": ("magnitude", "bifp"), "targets": targets(["channel"], ["0.5", "0.8"]), "seeds": 2,
    }  # fmt: skip
    return Request(**{**values, **changes})


def test_plan_lays_out_every_cell_with_its_own_model(dense: Path) -> None:
    found = plan(request(dense, grid=("rho=0.1,0.2",)))
    assert len(found.cells) == 2 * 2 * 2 * 2
    assert {cell.model.name for cell in found.cells} == {"dense-3.pt", "dense-4.pt"}
    assert len({cell.model_sha256 for cell in found.cells}) == 2
    for cell in found.cells:
        assert cell.settings.seed == cell.seed
        assert cell.settings.data == str((dense / "manifest.yaml").resolve())
        assert (cell.settings.method, cell.settings.rho) == (cell.row.method, dict(cell.row.point)["rho"])
    assert str(found.folder) == "runs/compare-dense"
    assert found.references == ("magnitude",)


def test_method_without_a_granularity_is_left_out_there_with_a_note(dense: Path) -> None:
    found = plan(request(dense, methods=("magnitude", "fpgm"), targets=targets(["channel", "weight"], ["0.5"])))
    assert {(c.row.method, c.row.granularity) for c in found.cells} == {
        ("magnitude", "channel"), ("magnitude", "weight"), ("fpgm", "channel"),
    }  # fmt: skip
    assert found.notes == ("fpgm does not work by weight and does not appear there.",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("magnitude", "bifb", "magnitud")}, "2 problems"),
        ({"methods": ("bifp", "bifp")}, "given twice"),
        ({"methods": ()}, "no method"),
        ({"references": ("snip",)}, "not among the methods"),
        ({"seeds": 3}, "dense-5.pt"),
        ({"resolved": resolve({"seed": 3, "method": "bifp"}, {}, None)}, "has a flag of its own here"),
        ({"resolved": resolve({"seed": 3, "rho": 0.1}, {}, None), "grid": ("rho=0.1,0.2",)}, "as a grid and as"),
    ],
)
def test_plan_refuses(dense: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FairpruneError, match=message):
        plan(request(dense, **changes))


def test_epochs_in_the_grid_are_not_equal_passes(dense: Path) -> None:
    assert "not equal in passes" in plan(request(dense, grid=("epochs=1,2",))).notes[0]
