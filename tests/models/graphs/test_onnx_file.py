"""ONNX graphs of other people's: every form of input, several outputs, weights beside, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.task import Head, Task
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.file.header import ModelHeader
from fairprune_cli.models.graphs.load import file_bytes, load_graph
from fairprune_cli.models.graphs.network import GraphNetwork
from fairprune_cli.models.graphs.onnx_file import OnnxNetwork
from fairprune_cli.models.score_search import find_scores

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper: Any = onnx.helper

CPU = torch.device("cpu")
SIDE = 8
TRANSFORM = Transform(SIDE, (0.5, 0.4, 0.3), (0.25, 0.5, 0.2))
PIXELS = torch.randint(0, 256, (5, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)).float()
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (TRANSFORM.mean, TRANSFORM.std))
IMAGES = (PIXELS / 255 - MEAN) / STD
WEIGHT = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


def graph(
    path: Path, *, kind: str = "FLOAT", shape: tuple[Any, ...] = ("n", 3, SIDE, SIDE), end: tuple[str, ...] = (),
    columns: int = 2, outputs: tuple[str, ...] = ("scores",), custom: bool = False, training: bool = False,
) -> Path:  # fmt: skip
    """Means of the channels, times a table."""
    code = getattr(onnx.TensorProto, kind)
    last = isinstance(shape[3], int) and shape[3] == 3
    axes = onnx.numpy_helper.from_array(np.array([1, 2] if last else [2, 3]), "axes")
    channels = 3 if last or not isinstance(shape[1], int) else shape[1]
    weight = onnx.numpy_helper.from_array(np.resize(WEIGHT, (channels, 2))[:, :columns], "weight")
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["scores0"]),
    ]
    now = "scores0"
    for i, operation in enumerate(end):
        nodes.append(helper.make_node(operation, [now], [f"scores{i + 1}"]))
        now = f"scores{i + 1}"
    nodes.append(
        helper.make_node("Strange" if custom else "Identity", [now], ["scores"], domain="my" if custom else "")
    )
    if training:
        nodes += [helper.make_node("BatchNormalization", ["real", *"abcd"], ["x", "y", "z"], training_mode=1)]
    nodes += [helper.make_node("Identity", ["means"], ["means_too"])]
    made = {name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs}
    whole = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("images", code, shape)], list(made.values()), [axes, weight]
    )
    sets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid("my", 1)] if custom else [])
    onnx.save(helper.make_model(whole, opset_imports=sets, ir_version=9), str(path))
    return path


def network_of(path: Path) -> GraphNetwork:
    network = load_graph(path, CPU).model
    assert isinstance(network, GraphNetwork)
    network.accept(TRANSFORM, "manifest.yaml")
    return network


def expected(images: torch.Tensor = IMAGES) -> torch.Tensor:
    return images.mean((2, 3)) @ torch.from_numpy(WEIGHT)


@pytest.mark.parametrize("shape", [("n", 3, SIDE, SIDE), (1, 3, SIDE, SIDE), (4, 3, SIDE, SIDE),
                                   ("n", "c", "h", "w"), ("n", SIDE, SIDE, 3), (1, SIDE, SIDE, 3)])  # fmt: skip
def test_every_shape(shape: tuple[Any, ...], tmp_path: Path) -> None:
    torch.testing.assert_close(network_of(graph(tmp_path / "m.onnx", shape=shape))(IMAGES), expected())


@pytest.mark.parametrize(("kind", "tolerance"), [("FLOAT16", 2e-3), ("DOUBLE", 1e-6)])
def test_other_numbers(kind: str, tolerance: float, tmp_path: Path) -> None:
    found = network_of(graph(tmp_path / "m.onnx", kind=kind))(IMAGES)
    torch.testing.assert_close(found, expected(), atol=tolerance, rtol=tolerance)


def test_bytes_are_the_pixels_before_the_transform(tmp_path: Path) -> None:
    found = network_of(graph(tmp_path / "m.onnx", kind="UINT8"))(IMAGES)
    torch.testing.assert_close(found, expected(PIXELS), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("end", "columns", "undo"),
    [((), 2, ""), (("Softmax",), 2, "log"), (("Sigmoid",), 2, "logit"), (("Sigmoid", "Identity"), 1, "logit"),
     (("LogSoftmax",), 2, "")],
)  # fmt: skip
def test_what_it_ends_with_is_known(end: tuple[str, ...], columns: int, undo: str, tmp_path: Path) -> None:
    network = network_of(graph(tmp_path / "m.onnx", end=end, columns=columns))
    task = Task("", ("a", "b"), np.zeros(1, np.int64))
    (scores,) = find_scores(network, [task], TRANSFORM.shape).read_out.tasks
    assert scores.undo == undo


def test_a_softmax_made_of_smaller_operations_shows_by_its_numbers(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", end=("Exp",))
    model = onnx.load(str(path))
    axes = onnx.numpy_helper.from_array(np.array([1]), "last")
    model.graph.initializer.append(axes)
    at = next(i for i, node in enumerate(model.graph.node) if node.output[0] == "scores")
    model.graph.node[at].CopyFrom(helper.make_node("Div", ["scores1", "total"], ["scores"]))
    model.graph.node.insert(at, helper.make_node("ReduceSum", ["scores1", "last"], ["total"]))
    onnx.save(model, str(path))
    task = Task("", ("a", "b"), np.zeros(1, np.int64))
    (scores,) = find_scores(network_of(path), [task], TRANSFORM.shape).read_out.tasks
    assert scores.undo == "log"


@pytest.mark.parametrize("output", ["scores", 1])
def test_the_manifest_says_which_output(output: str | int, tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", outputs=("means_too", "scores"))
    task = Task("", ("a", "b"), np.zeros(1, np.int64), Head(output=output))
    found = find_scores(network_of(path), [task], TRANSFORM.shape).read_out
    torch.testing.assert_close(found.read(network_of(path)(IMAGES))[:, :2], expected())


def test_weights_beside_it(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    onnx.external_data_helper.set_external_data(model.graph.initializer[1], "m.data")
    onnx.save(model, str(path))
    loaded = load_graph(path, CPU)
    assert isinstance(loaded.model, OnnxNetwork)
    torch.testing.assert_close(loaded.model(IMAGES), expected())
    assert file_bytes(loaded) == path.stat().st_size + (tmp_path / "m.data").stat().st_size
    (tmp_path / "m.data").write_bytes(bytes((tmp_path / "m.data").stat().st_size))
    assert load_graph(path, CPU).sha256 != loaded.sha256
    (tmp_path / "m.data").unlink()
    with pytest.raises(FairpruneError, match=r"'m\.data', which is not beside it"):
        load_graph(path, CPU)


def test_weights_outside_its_folder_are_refused(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    onnx.external_data_helper.set_external_data(model.graph.initializer[1], "../other.data")
    model.graph.initializer[1].ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FairpruneError, match="outside its folder"):
        load_graph(path, CPU)


def test_size_and_multiply_adds(tmp_path: Path) -> None:
    network = network_of(graph(tmp_path / "m.onnx"))
    assert isinstance(network, OnnxNetwork)
    assert (network.parameter_count(), network.tensor_bytes(), network.multiply_adds) == (6, 24, 6)
    free = network_of(graph(tmp_path / "f.onnx", shape=("n", 3, "h", "w")))
    assert isinstance(free, OnnxNetwork)
    assert free.multiply_adds is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": ("n", 3, 2 * SIDE, SIDE)}, "16x8 pixels only.*8x8 pixels"),
        ({"shape": ("n", 1, SIDE, SIDE)}, "1 channel .*gives 3 channels"),
        ({"shape": ("n", 7, SIDE, SIDE)}, "neither the second nor the last number is that of channels"),
        ({"kind": "INT32"}, "takes int32"),
        ({"custom": True}, "operators that ONNX Runtime does not have"),
        ({"training": True}, "training mode|cannot run it"),
    ],
)
def test_what_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match=said):
        network_of(graph(tmp_path / "m.onnx", **change))


def test_junk_is_told_in_a_sentence(tmp_path: Path) -> None:
    for data in (b"", b"junk", graph(tmp_path / "m.onnx").read_bytes()[:60]):
        (tmp_path / "junk.onnx").write_bytes(data)
        with pytest.raises(FairpruneError, match="ONNX"):
            load_graph(tmp_path / "junk.onnx", CPU)


def test_classes_that_are_numbers_are_told_as_any_others(tmp_path: Path) -> None:
    """0 and 1 in the file and 1 and 0 in the manifest are another order; the names alone are to say so."""
    path = graph(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    header = ModelHeader("resnet18", ("0", "1"), {}, "channel", {}).to_metadata()
    onnx.helper.set_model_props(model, {f"fairprune.{key}": text for key, text in header.items()})
    onnx.save(model, str(path))
    assert load_graph(path, CPU).class_names == ("0", "1")
