"""`fairprune measure`, export in 16 bits, and the size of a file against what it must hold."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fairprune_cli
from fairprune_cli import export as exports
from fairprune_cli.commands import inspect as inspecting
from fairprune_cli.commands import measure as measuring
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.models import architectures
from fairprune_cli.models import peak_memory as footprint
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.codec import ModelHeader, save_model
from fairprune_cli.pruning.masks import WeightMasks

TRANSFORM = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dense checkpoint and the same network at weight sparsity 0.8 as a model file."""
    folder = tmp_path_factory.mktemp("measured")
    model = architectures.build("resnet10-w16", 2, seed=0).eval()
    torch.save(model.state_dict(), folder / "dense.pt")
    masks = WeightMasks(model)
    masks.apply(masks.select(masks.magnitude(), 0.8))
    header = ModelHeader("resnet10-w16", ("a", "b"), TRANSFORM, "weight", {})
    save_model(folder / "model.safetensors", model, header=header, masks=masks.entries(masks.keep))
    return folder / "dense.pt", folder / "model.safetensors"


def test_peak_memory_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 8, 5), nn.ReLU(), nn.ReLU())
    own = sum(p.nbytes for p in model.parameters())
    images, first, last = (2 * n * 4 for n in (3 * 64, 4 * 64, 5))
    # The output of the convolution is held while the linear layer runs; flattening it is a view and takes nothing.
    assert footprint.forward_peak_bytes(model, 2, 8) == own + images + first + last
    assert model.training


def test_both_models_in_one_document(files: tuple[Path, Path]) -> None:
    terminal = Terminal(out=io.StringIO(), err=io.StringIO())
    document = measuring.measure_models(
        files[1], files[0], arch=None, trust=False, size=None, device="cpu", threads=1, terminal=terminal, seconds=0.5
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    dense, model = document["models"]["dense"], document["models"]["model"]
    assert (document["input_size"], document["threads"]) == (32, 1)
    assert dense["parameters"] == model["parameters"] > model["nonzero"]
    assert dense["macs"] == model["macs"]
    assert model["file_bytes"] == files[1].stat().st_size < dense["file_bytes"]
    assert set(model["batch"]) == {"1", "32"}
    assert model["batch"]["32"]["peak_bytes"] > model["batch"]["1"]["peak_bytes"] > model["dense_bytes"]
    measuring.show(document, terminal)
    assert "peak memory, batch of 32" in terminal.out.getvalue()  # type: ignore[attr-defined]


def test_bytes_are_those_of_the_files_own_number_formats(tmp_path: Path) -> None:
    model = architectures.build("resnet10-w16", 2, seed=0).half()
    torch.save(model.state_dict(), tmp_path / "half.pt")
    measured = measuring.measure_models(
        tmp_path / "half.pt", None, arch=None, trust=False, size=32, device="cpu", threads=1, seconds=0.1,
        terminal=Terminal(out=io.StringIO(), err=io.StringIO()),
    )  # fmt: skip
    inspected, _ = inspecting.inspected(tmp_path / "half.pt", None, False, 32, None)
    stored = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert measured["models"]["model"]["dense_bytes"] == inspected["bytes"]["dense"] == stored


@pytest.mark.parametrize(("store", "loss"), [("fp16", 1e-2), ("bf16", 1e-1)])
def test_export_in_16_bits_says_what_rounding_moves(
    files: tuple[Path, Path], tmp_path: Path, store: str, loss: float
) -> None:
    result = exports.export(files[1], "safetensors", tmp_path / "half.safetensors", store=store)
    assert result.store == store
    assert result.rounding is not None
    assert 0 < result.rounding < loss
    assert result.bytes < 0.65 * files[1].stat().st_size
    whole, half = fairprune_cli.load(files[1]), fairprune_cli.load(result.path)
    for name, parameter in half.named_parameters():
        kept = whole.get_parameter(name)
        assert parameter.dtype == torch.float32
        assert bool(((parameter == 0) >= (kept == 0)).all())
        assert torch.allclose(parameter, kept, rtol=2.0**-8, atol=1e-7)
    again = load_model(result.path)
    assert exports.export_model(again, "safetensors", tmp_path / "again.safetensors").max_difference < 1e-5
    assert (tmp_path / "again.safetensors").read_bytes() == result.path.read_bytes()


def test_graphs_have_no_16_bits(files: tuple[Path, Path]) -> None:
    with pytest.raises(FairpruneError, match="computes in 32 bits"):
        exports.export(files[1], "pt2", store="fp16")


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.95])
def test_a_file_is_as_large_as_its_kept_values_and_a_bit_per_entry(tmp_path: Path, sparsity: float) -> None:
    model = architectures.build("resnet18", 2, seed=0)
    masks = WeightMasks(model)
    masks.apply(masks.select(masks.magnitude(), sparsity))
    path = tmp_path / "model.safetensors"
    header = ModelHeader("resnet18", ("a", "b"), TRANSFORM, "weight", {})
    save_model(path, model, header=header, masks=masks.entries(masks.keep))
    rest = sum(t.nbytes for name, t in model.state_dict().items() if name not in masks.tensors)
    needed = 4 * masks.kept + masks.total / 8 + rest
    assert path.stat().st_size <= 1.03 * needed
    state = codec.read_model(path)[0]
    assert all(np.array_equal(state[name].numpy(), t.numpy()) for name, t in model.state_dict().items())
