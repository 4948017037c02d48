"""Images that are not squares of colour, sources that are not in 32 bits, and terminals that are not in Unicode."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fairprune_cli
from fairprune_cli import export as exports
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.file import codec
from fairprune_cli.run import audit as auditing
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.options import resolve
from tests.support.commands import Work, fairprune

GREY_NET = """
from torch import nn


class Grey(nn.Module):
    \"\"\"Its head has a weight for each place of a map of 3 x 6: no other size of images fits.\"\"\"

    def __init__(self, num_classes=2):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 3, 4, 1))
        self.fc = nn.Linear(16 * 3 * 6, num_classes)

    def forward(self, x):
        return self.fc(self.f(x).relu().flatten(1))
"""
GREY_TRANSFORM = "transform: {size: [24, 48], mean: [0.5], std: [0.25]}"
ARCH = "greynet:Grey"


def pruned(manifest: Path, model: Path, out: Path, **flags: Any) -> dict[str, Any]:
    common = {"data": str(manifest), "attr": ("gender",), "epochs": 1, "batch_size": 64, "sparsity": 0.5}
    request = pipeline.PruneRequest(model, resolve(common | flags, {}, None), out)
    return pipeline.prune(request, Terminal(quiet=True)).report


@pytest.fixture
def grey(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small data set as grey images of 24x48, and a network for them."""
    folder = tmp_path / "grey"
    shutil.copytree(work.folder, folder)
    manifest = folder / "manifest.yaml"
    manifest.write_text(re.sub(r"transform: .*", GREY_TRANSFORM, manifest.read_text()))
    (folder / "greynet.py").write_text(GREY_NET)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "greynet", raising=False)
    torch.manual_seed(0)
    torch.save(importlib.import_module("greynet").Grey().state_dict(), folder / "grey.pt")
    return folder


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_a_grey_oblong_network_from_prune_to_export(grey: Path, granularity: str) -> None:
    manifest, out = grey / "manifest.yaml", grey / "run"
    report = pruned(manifest, grey / "grey.pt", out, arch=ARCH, granularity=granularity, show_examples=1)
    # 12 x 24 places of the first layer, 3 x 6 of the second, and the head.
    assert report["size"]["dense_macs"] == 12 * 24 * 12 * 9 + 18 * 16 * 12 * 9 + 16 * 18 * 2
    loaded = load_model(out, arch=ARCH)
    assert loaded.transform == {"size": [24, 48], "mean": [0.5], "std": [0.25]}
    images = torch.randn(3, 1, 24, 48)
    with torch.no_grad():
        logits = fairprune_cli.load(out, arch=ARCH)(images).numpy()
    flags = {"data": str(manifest), "arch": ARCH, "attr": ("gender",), "show_examples": 1}
    request = auditing.AuditRequest((out,), resolve(flags, {}, None), grey / "grey.pt", grey / "audit")
    audited = auditing.audit(request, Terminal(quiet=True)).report
    assert audited["results"]["pruned"] == report["results"]["pruned"]
    assert audited["size"]["macs"] == report["size"]["macs"]
    data = load_manifest(manifest)
    graph = find_spec("onnxscript") is not None  # of the extra onnx
    for to in ("onnx", "safetensors-dense")[not graph :]:
        done = exports.export(out, to, grey / f"x.{to}", arch=ARCH, input_size=32, manifest=data)
        assert (done.shape, done.real_images) == (ImageShape(1, 24, 48), 32)
    if not graph:
        pytest.skip("all but the graph was looked at: the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(grey / "x.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 1, 24, 48]
    assert np.allclose(session.run(None, {"images": images.numpy()})[0], logits, atol=1e-5)


def test_other_channels_than_the_networks_are_found_before_anything_is_done(grey: Path, work: Work) -> None:
    colour = work.folder / "manifest.yaml"
    sentence = "the first layer of the network takes images of 1 channel, the input transform gives 3"
    for command in (
        lambda: pruned(colour, grey / "grey.pt", grey / "run", arch=ARCH),
        lambda: auditing.audit(
            auditing.AuditRequest((grey / "grey.pt",), resolve({"data": str(colour), "arch": ARCH}, {}, None)),
            Terminal(quiet=True),
        ),
        lambda: exports.export(grey / "grey.pt", "pt2", arch=ARCH, manifest=load_manifest(colour)),
    ):
        with pytest.raises(FairpruneError, match=sentence):
            command()
    assert not (grey / "run").exists()


def test_an_export_is_for_the_images_of_the_model_else_the_manifest_else_the_flag(work: Work, tmp_path: Path) -> None:
    state = torch.load(work.model, weights_only=True)["state_dict"]
    alone = tmp_path / "alone"
    for folder in (tmp_path, alone):
        folder.mkdir(exist_ok=True)
        torch.save(state, folder / "bare.pt")

    def exported(*arguments: str) -> tuple[dict[str, Any], str]:
        common = ("--to", "safetensors-dense", "--out", "x.safetensors", "--force", "--json")
        ran = fairprune("export", *arguments, *common, cwd=alone)
        assert ran.code == 0, ran.err
        return json.loads(ran.out), ran.err

    document, _ = exported("bare.pt", "--size", "48x96")
    assert (document["input_size"], document["input_channels"], document["real_images"]) == ([48, 96], 3, 0)
    document, said = exported("bare.pt", "--size", "64", "--data", str(work.folder / "manifest.yaml"))
    assert (document["input_size"], document["input_channels"], document["real_images"]) == (40, 3, 32)
    assert "--size 64 was not used" in said
    # A manifest that was copied without its images still says their size; the model's own comes first.
    text = (work.folder / "manifest.yaml").read_text()
    (alone / "manifest.yaml").write_text(text.replace("size: 40", "size: [56, 40]"))
    document, said = exported("bare.pt", "--size", "56x40")
    assert (document["input_size"], document["real_images"]) == ([56, 40], 0)
    assert "not used" not in said
    assert exported(str(work.model))[0]["input_size"] == 40


def test_sizes_of_flags_are_checked_by_every_command(work: Work) -> None:
    for command in (("export", "--to", "pt2"), ("inspect",), ("measure",)):
        ran = fairprune(command[0], "model.pt", *command[1:], "--size", "48y96", cwd=work.folder)
        assert (ran.code, ran.out) == (2, "")
        assert "'48y96' is no size of an image" in ran.err
    ran = fairprune("inspect", "model.pt", "--size", "24x80", "--json", cwd=work.folder)
    document = json.loads(ran.out)
    assert (document["input_size"], document["input_channels"]) == ([24, 80], 3)


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16")])
def test_a_source_in_16_bits_is_pruned_into_16_bits_and_is_what_sizes_are_held_against(
    work: Work, tmp_path: Path, dtype: torch.dtype, name: str
) -> None:
    whole = load_model(work.model).model.state_dict()
    source = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in whole.items()}
    torch.save({"model": source, "optimizer": {"momentum": torch.zeros(100_000)}}, tmp_path / "half.pt")
    manifest = work.folder / "manifest.yaml"
    report = pruned(manifest, tmp_path / "half.pt", tmp_path / "run", sparsity=0.3)
    stored = codec.read_model(tmp_path / "run" / "model.safetensors")[0]
    assert {key: tensor.dtype for key, tensor in stored.items()} == {key: t.dtype for key, t in source.items()}
    bytes_of_source = sum(tensor.numel() * tensor.itemsize for tensor in source.values())
    assert report["size"]["dense_bytes"] == bytes_of_source
    tensors = sum(tensor.numel() * tensor.itemsize for tensor in stored.values())
    assert tensors < report["size"]["file_bytes"] < tensors + 40_000
    assert report["storage"]["format"] == name
    assert report["storage"]["accuracy"] == report["results"]["pruned"]["accuracy"]
    flags = {"data": str(manifest), "attr": ("gender",)}
    request = auditing.AuditRequest((tmp_path / "run",), resolve(flags, {}, None), tmp_path / "half.pt")
    audited = auditing.audit(request, Terminal(quiet=True)).report
    assert audited["size"]["dense_bytes"] == bytes_of_source
    assert audited["results"]["pruned"] == report["results"]["pruned"]
    # So do exports, and a second pruning of what the first one wrote.
    done = exports.export(tmp_path / "half.pt", "safetensors-dense")
    assert codec.read_model(done.path)[0]["conv1.weight"].dtype == dtype


def test_a_terminal_without_unicode_changes_no_exit_code(work: Work) -> None:
    ran = fairprune(
        "audit", "model.pt", "--attr", "gender", "--min-accuracy", "0.999", "--point-estimate", cwd=work.folder,
        env={"PYTHONIOENCODING": "ascii"}, fresh=True,
    )  # fmt: skip
    assert ran.code == 1, ran.err
    assert "verdict: fail" in ran.out
    assert (ran.out + ran.err).isascii()
    assert "\\u" not in ran.out + ran.err
