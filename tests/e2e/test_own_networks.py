"""Networks of a user's own, by factory and as trusted modules, through every command; and what is refused early."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

import fairprune_cli
from tests.support.commands import Work, fairprune
from tests.support.processes import start

OWN = """
import torch
from torch import nn


def block(i, o, s=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class Small(nn.Module):
    def __init__(self, num_classes=2):
        super().__init__()
        self.f = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 32, 2))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.f(x).mean((2, 3)))


class Viewing(Small):
    def __init__(self, num_classes=2):
        super().__init__(num_classes)
        self.fc = nn.Linear(32 * 5 * 5, num_classes)

    def forward(self, x):
        return self.fc(self.f(x).view(-1, 32 * 5 * 5))


class Talking(Small):
    def forward(self, x):
        print("shape", tuple(x.shape))
        return super().forward(x)


def talking(num_classes=2):
    print("building")
    return Talking(num_classes)


class Forgetful(Small):
    def __init__(self, num_classes=2):
        super().__init__(num_classes)
        self.gain = 1 + torch.rand(1)  # no buffer, so no file holds it

    def forward(self, x):
        return super().forward(x) * self.gain


class Noisy(Small):
    def forward(self, x):
        return self.fc(nn.functional.dropout(self.f(x).mean((2, 3)), 0.5))


class Branching(Small):
    def forward(self, x):
        scores = super().forward(x)
        return scores * 2 if scores.sum() > 1e9 else scores


class Counting(Small):
    def __init__(self, num_classes=2):
        super().__init__(num_classes)
        self.start = nn.Parameter(torch.zeros(1, 32))

    def forward(self, x):
        h = self.f(x).mean((2, 3))
        return self.fc(h + self.start.expand(len(h), -1))


class Infinite(Small):
    def forward(self, x):
        return super().forward(x / 0)
"""
ARCH = ("--arch", "own.nets:Small")
QUICK = ("--attr", "gender", "--epochs", "1", "--batch-size", "64", "--sparsity", "0.5")


@pytest.fixture(scope="module")
def place(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set, a package beside it, and checkpoints of its networks."""
    folder = tmp_path_factory.mktemp("own") / "faces"
    shutil.copytree(work.folder, folder)
    (folder / "own").mkdir()
    (folder / "own" / "nets.py").write_text(OWN)
    spaces: dict[str, type[torch.nn.Module]] = {}
    exec(OWN, spaces)
    torch.manual_seed(0)
    for name in ("Small", "Forgetful", "Viewing", "Noisy", "Infinite", "Branching", "Counting"):
        torch.save(spaces[name](2).state_dict(), folder / f"{name.lower()}.pt")
    return folder


def test_a_factory_is_enough_for_every_command_and_a_file_never_chooses_it(place: Path, tmp_path: Path) -> None:
    out = place / "runs" / "own"
    saving = ("--set", "save_minutes=0", "--out", str(out))
    running = start("prune", "small.pt", *ARCH, *QUICK, *saving, cwd=place, log=tmp_path / "log")
    assert running.wait_until((out / "state" / "state.pt").exists), running.err
    running.send(signal.SIGKILL)
    running.wait()
    refused = fairprune("prune", "--resume", str(out), cwd=place)
    assert refused.code == 2
    assert "--arch own.nets:Small" in refused.err
    done = fairprune("prune", "--resume", str(out), *ARCH, cwd=place)
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    audited = fairprune("audit", str(out), *ARCH, "--attr", "gender", "--json", cwd=place)
    assert audited.code == 0, audited.err
    found = json.loads(audited.out)["results"]["dense"]
    assert found["accuracy"] == report["results"]["pruned"]["accuracy"]
    exported = fairprune("export", str(out), *ARCH, "--to", "safetensors-dense", cwd=place)
    assert exported.code == 0, exported.err
    unnamed = fairprune("audit", str(out), "--attr", "gender", cwd=place)
    assert unnamed.code == 2
    assert "--arch 'own.nets:Small'" in unnamed.err
    compared = fairprune(
        "compare", "small.pt", *ARCH, "--methods", "magnitude", "--sparsities", "0.5", "--seeds", "1", "--attr",
        "gender", "--set", "epochs=1", "--set", "batch_size=64", "--granularities", "weight", cwd=place,
    )  # fmt: skip
    assert compared.code == 0, compared.err


def test_what_its_code_prints_is_no_part_of_the_result(place: Path) -> None:
    done = fairprune("inspect", "small.pt", "--arch", "own.nets:talking", "--size", "40", "--json", cwd=place)
    assert done.code == 0, done.err
    assert json.loads(done.out)["classes"] == 2
    assert {"building", "shape (1, 3, 40, 40)"} <= set(done.err.splitlines())


def test_a_trusted_module_keeps_its_own_forward_in_the_file_that_is_written(work: Work, tmp_path: Path) -> None:
    """Names and shapes are those of a known network, its function is not."""
    net = fairprune_cli.architectures.build("resnet10-w16", 2, seed=0)
    net.load_state_dict(torch.load(work.folder / "model.pt", weights_only=True)["state_dict"])
    net.conv1.stride, net.layer1[0].relu = (1, 1), torch.nn.SiLU()
    changed, out = tmp_path / "changed.pt", tmp_path / "run"
    torch.save(net.eval(), changed)
    trusted = ("--trust-checkpoint", "--data", str(work.folder / "manifest.yaml"))
    oneshot = ("--method", "magnitude-oneshot", "--lr", "1e-9")  # the weights stay where they are
    ran = fairprune(
        "prune", str(changed), *trusted, *QUICK, *oneshot, "--sparsity", "0.2", "--out", str(out), cwd=tmp_path
    )
    assert ran.code == 0, ran.err
    report = json.loads((out / "report.json").read_text())
    stored = fairprune_cli.load(out, arch=net)
    count = sum(parameter.numel() for parameter in stored.parameters())
    assert count == report["size"]["parameters"] < report["size"]["dense_parameters"]
    assert (stored.conv1.stride, type(stored.layer1[0].relu)) == ((1, 1), torch.nn.SiLU)
    again = fairprune(
        "audit", str(out), "--against", str(changed), *trusted, "--attr", "gender", "--json", cwd=tmp_path
    )
    assert again.code == 0, again.err
    figures = json.loads(again.out)["results"]
    for name in ("dense", "pruned"):
        assert figures[name]["accuracy"] == report["results"][name]["accuracy"]


def test_code_that_views_a_feature_map_in_another_shape_trains_in_the_layout_that_it_takes(place: Path) -> None:
    ran = fairprune("prune", "viewing.pt", "--arch", "own.nets:Viewing", *QUICK, "--granularity", "weight", cwd=place)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_what_a_file_cannot_hold_is_found_before_any_training(place: Path, granularity: str) -> None:
    ran = fairprune(
        "prune", "forgetful.pt", "--arch", "own.nets:Forgetful", *QUICK, "--granularity", granularity, "--dry-run",
        cwd=place,
    )  # fmt: skip
    assert ran.code == 2, ran.err
    assert "the pruned network that was read back is not the one that was written" in ran.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Noisy", "other outputs for the same images in eval mode"),
        ("Infinite", "f.0.0 is given NaN or infinities, which the forward of the network makes"),
    ],
)
def test_a_network_that_nothing_can_be_learned_of_is_refused_by_the_dry_run(place: Path, name: str, said: str) -> None:
    arch = ("--arch", f"own.nets:{name}")
    for command in (("prune", f"{name.lower()}.pt", *QUICK), ("train", "--out", "never.pt")):
        ran = fairprune(*command, *arch, "--dry-run", cwd=place)
        assert ran.code == 2, ran.err
        assert said in ran.err


def test_a_folder_that_cannot_take_the_run_is_found_by_the_dry_run_too(work: Work, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    for out, said in ((taken, "already exists"), (tmp_path / "file" / "run", "is a file")):
        ran = fairprune("prune", "model.pt", *QUICK, "--dry-run", "--out", str(out), cwd=work.folder)
        assert ran.code == 2, ran.err
        assert said in ran.err
    assert (taken / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("gone", "said"), [("test", "no image is in the test split"), ("val", "the val split has 0")])
def test_an_empty_split_is_found_by_the_dry_run(work: Work, tmp_path: Path, gone: str, said: str) -> None:
    lines = (work.folder / "table.csv").read_text().splitlines(keepends=True)
    at = lines[0].strip().split(",").index("split")
    kept = [line for line in lines if line.strip().split(",")[at] != gone]
    (tmp_path / "table.csv").write_text("".join(kept))
    text = (work.folder / "manifest.yaml").read_text()
    (tmp_path / "manifest.yaml").write_text(text.replace("images: images", f"images: {work.folder / 'images'}"))
    ran = fairprune(
        "prune", "model.pt", *QUICK, "--dry-run", "--data", str(tmp_path / "manifest.yaml"), cwd=work.folder
    )
    assert ran.code == 2, ran.err
    assert said in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("prune", "model.pt", *QUICK, "--out", "FILE/x"), ("prune", "model.pt", *QUICK, "--dry-run", "--out", "FILE/x"),
        ("train", "--arch", "resnet10-w16", "--epochs", "1", "--out", "FILE/x.pt"),
        ("train", "--arch", "resnet10-w16", "--dry-run", "--out", "FILE/x/y.pt"),
        ("export", "model.pt", "--to", "safetensors", "--out", "FILE/x"),
        ("audit", "model.pt", "--attr", "gender", "--out", "FILE/x"),
        ("audit", "model.pt", "--attr", "gender", "--dry-run", "--out", "FILE/x"),
        ("report", "done", "--to", "md", "--out", "FILE/x.md"), ("data", "init", "table.csv", "--out", "FILE/x.yaml"),
        ("data", "sample", "--out", "FILE/x"), ("data", "stats", "--out", "FILE/x.png"), ("demo", "--out", "FILE/x"),
        ("compare", "model.pt", "--methods", "magnitude", "--sparsities", "0.5", "--attr", "gender", "--out", "FILE/x"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)  # fmt: skip
def test_nothing_is_begun_whose_result_has_no_place(place: Path, arguments: tuple[str, ...]) -> None:
    (place / "FILE").write_text("mine")
    (place / "done").mkdir(exist_ok=True)
    (place / "done" / "report.json").write_text("{}")
    ran = fairprune(*arguments, cwd=place)
    assert ran.code == 2, ran.err
    assert "FILE is a file" in ran.err
    assert "Traceback" not in ran.err
    assert (place / "FILE").read_text() == "mine"


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize(
    ("name", "said"), [("Branching", "data-dependent"), ("Counting", "would take 2 images at a time")]
)
def test_a_network_that_cannot_be_traced_is_refused_in_a_sentence_alone(
    place: Path, tmp_path: Path, to: str, name: str, said: str
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    out = tmp_path / f"never.{to}"
    ran = fairprune(
        "export", f"{name.lower()}.pt", "--arch", f"own.nets:{name}", "--to", to, "--size", "64", "--out", str(out),
        "--quiet", cwd=place,
    )  # fmt: skip
    assert ran.code == 2
    assert len([line for line in ran.err.splitlines() if "to mend:" not in line]) == 1, ran.err
    assert said in ran.err
    assert not out.exists()
