"""Graphs in 8-bit integers, on a small graph made by hand."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.export import int8

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def batches() -> Iterator[np.ndarray]:
    """Calibration images of the small graph."""
    rng = np.random.default_rng(1)
    return (rng.normal(size=(4, 3, 6, 6)).astype(np.float32) for _ in range(3))


def weights() -> np.ndarray:
    """Eight filters of a convolution, float32 [8, 3, 3, 3], half of the entries zero and one filter all zero."""
    rng = np.random.default_rng(0)
    found = (
        rng.normal(size=(8, 3, 3, 3)).astype(np.float32) * np.logspace(-2, 1, 8, dtype=np.float32)[:, None, None, None]
    )
    found[rng.random(found.shape) < 0.5] = 0
    found[3] = 0
    return found


def graph(path: Path, images: str = "images", layers: bool = True) -> Path:
    """images [B, 3, 6, 6] -> convolution, relu, flattening, linear layer -> logits [B, 2]; or a relu alone."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    held = {
        "w": weights(), "b": np.ones(8, np.float32),
        "v": np.random.default_rng(2).normal(size=(128, 2)), "c": np.zeros(2),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", [images, "w", "b"], ["x"]), helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Flatten", ["y"], ["z"]), helper.make_node("Gemm", ["z", "v", "c"], ["logits"]),
    ] if layers else [helper.make_node("Relu", [images], ["logits"])]  # fmt: skip
    made = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info(images, kind, ["batch", 3, 6, 6])],
        [helper.make_tensor_value_info("logits", kind, ["batch", 2] if layers else ["batch", 3, 6, 6])],
        [onnx.numpy_helper.from_array(np.float32(v), k) for k, v in held.items()] if layers else [],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"fairprune.classes": '["no","yes"]'})
    onnx.save_model(model, str(path))
    return path


def scores(path: Path, images: np.ndarray) -> np.ndarray:
    found: np.ndarray = onnxruntime.InferenceSession(str(path)).run(None, {"images": images})[0]
    return found


def dequantised(path: Path) -> dict[str, np.ndarray]:
    """What the 8-bit weights stand for, and the integers, by name."""
    held = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}
    return {name: table for name, table in held.items() if table.dtype == np.int8 and table.ndim > 1}


def test_a_graph_becomes_integers_that_compute_nearly_the_same(tmp_path: Path) -> None:
    source, path = graph(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    done = int8.quantise(source, path, batches(), {"images": 12, "split": "val"})
    assert done.layers == 2
    for count in (1, 3):
        images = np.random.default_rng(7).normal(size=(count, 3, 6, 6)).astype(np.float32)
        expected = scores(source, images)
        assert np.abs(scores(path, images) - expected).max() < 0.05 * np.abs(expected).max()
    told = {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}
    assert told["fairprune.classes"] == '["no","yes"]'
    assert json.loads(told["fairprune.int8"]) == {**done.scheme, "layers": 2, "images": 12, "split": "val"}


def test_what_pruning_set_to_zero_stays_zero_and_sums_fit_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    int8.quantise(graph(tmp_path / "float.onnx"), path, batches(), {})
    filters = next(table for table in dequantised(path).values() if table.ndim == 4)
    assert (filters[weights() == 0] == 0).all()
    assert (
        np.abs(filters.astype(int)).reshape(8, -1).max(1) == [64, 64, 64, 0, 64, 64, 64, 64]
    ).all()  # each its scale
    points = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}
    assert all((t == 0).all() for name, t in points.items() if t.dtype == np.int8 and "zero_point" in name)


def test_equal_arguments_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    source = graph(tmp_path / "float.onnx")
    int8.quantise(source, tmp_path / "one.onnx", batches(), {"seed": 0})
    code = (
        "from collections.abc import Iterator\nimport numpy as np\n"
        + inspect.getsource(batches)
        + "\nfrom pathlib import Path\nfrom fairprune_cli.export import int8\n"
        "int8.quantise(Path('float.onnx'), Path('two.onnx'), batches(), {'seed': 0})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_a_graph_without_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="nothing to quantise"):
        int8.quantise(graph(tmp_path / "float.onnx", layers=False), tmp_path / "int8.onnx", batches(), {})


def test_what_onnxruntime_cannot_do_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="onnxruntime cannot quantise this graph: ") as refused:
        int8.quantise(graph(tmp_path / "float.onnx", images="pictures"), tmp_path / "int8.onnx", batches(), {})
    assert "\n" not in refused.value.what


def test_it_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    int8.quantise(graph(tmp_path / "float.onnx"), tmp_path / "int8.onnx", batches(), {})
    assert tuple(capfd.readouterr()) == ("", "")


def test_temporary_files_are_made_beside_the_graph_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as block:
        block.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # whoever writes there fails
        int8.quantise(graph(tmp_path / "float.onnx"), tmp_path / "int8.onnx", batches(), {})
        assert tempfile.tempdir == str(tmp_path / "nowhere")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "_PACKAGES", ("onnx", "no_such_runtime"))
    with pytest.raises(FairpruneError, match="needs no_such_runtime"):
        int8.refuse_missing_packages()
