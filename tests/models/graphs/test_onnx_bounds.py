"""Graphs whose cost cannot be told before they are run are run within bounds; the others as ever."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.graphs.load import load_graph
from fairprune_cli.models.graphs.network import GraphNetwork
from fairprune_cli.models.graphs.onnx_bounds import shapes_within

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
hostile: Any = pytest.importorskip("tests.support.hostile_graphs")
TRANSFORM = Transform(8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def network(path: Path, parts: Any) -> GraphNetwork:
    onnx.save(hostile.graph(parts), str(path))
    loaded = load_graph(path, torch.device("cpu")).model
    assert isinstance(loaded, GraphNetwork)
    loaded.accept(TRANSFORM, "manifest.yaml")
    return loaded


def test_shapes_tell_of_a_usual_graph_and_of_no_loop() -> None:
    shapes = shapes_within(hostile.graph(hostile.usual()), (5, 3, 8, 8))
    assert shapes is not None
    assert shapes["scores"] == (5, 2)
    others = hostile.loop(3), hostile.size_from_pixels(1.0), hostile.range_of_product(), hostile.matrices()
    for parts in (*others, *map(hostile.shape_of_images, ("Mul", "Pow"))):
        assert shapes_within(hostile.graph(parts), (5, 3, 8, 8)) is None
    assert shapes_within(hostile.with_functions(0), (5, 3, 8, 8)) is None


def test_a_loop_that_ends_gives_what_it_gives(tmp_path: Path) -> None:
    images = torch.rand(35, 3, 8, 8)
    found = network(tmp_path / "a.onnx", hostile.loop(3))(images)
    assert isinstance(found, torch.Tensor)
    assert torch.allclose(found, images.mean((2, 3)).sum(1, keepdim=True).expand(-1, 2) + 8, atol=1e-5)


def test_one_that_does_not_is_refused_with_the_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "graph_seconds=3")
    begun = time.monotonic()
    with pytest.raises(FairpruneError, match=r"more than 3 seconds for at most 16 images") as refused:
        network(tmp_path / "a.onnx", hostile.loop(1 << 62))
    assert "FAIRPRUNE_LIMITS=graph_seconds=6" in refused.value.hint
    assert time.monotonic() - begun < 30


def test_a_size_out_of_pixels_is_refused_as_it_comes(tmp_path: Path) -> None:
    made = network(tmp_path / "a.onnx", hostile.size_from_pixels(float(1 << 34)))
    assert made(torch.zeros(3, 3, 8, 8)).shape == (3, 2)  # type: ignore[union-attr]
    with pytest.raises(FairpruneError, match=r"more than 1,024 MiB"):
        made(torch.ones(3, 3, 8, 8))


def test_nodes_without_end_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(hostile.empty_nodes(60_000))
    with pytest.raises(FairpruneError, match=r"60,000 graph nodes; at most 50,000"):
        load_graph(tmp_path / "a.onnx", torch.device("cpu"))
