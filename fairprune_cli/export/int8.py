"""A float graph as a graph of 8-bit integers, by ONNX Runtime's static quantisation.

Weights and activations of convolutions and matrix products become integers q with x = s (q - z) (Jacob et al., CVPR
2018, equation 1), in the form of QuantizeLinear and DequantizeLinear pairs. Weights: a scale per output channel, z = 0,
so that what pruning set to zero stays zero, and |q| at most 64: x86 processors without VNNI add two products of 8 bits
in 16, and 2 * 255 * 64 is the most that fits, so that such a machine computes what was audited on another. Activations:
unsigned, a scale per tensor, from the least and the largest value on the calibration images. docs/int8.md has the
figures that these choices rest on. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.export.quiet import silence

# What takes the time: sums, norms and activations between them stay in float, where they lose nothing.
OPERATORS = ("Conv", "Gemm", "MatMul")
# Their results stay in float as well: scores of 8 bits are equal now and then, which is the first class's gain, and are
# cut off at the largest of the calibration.
FLOAT_RESULTS = ("Gemm", "MatMul")
METADATA = "fairprune.int8"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Quantised:
    """What became of a graph.

    Attributes:
        layers: whose weights are integers now. scheme: how, in words, by part.
    """

    layers: int
    scheme: Mapping[str, str]


def quantise(graph: Path, path: Path, batches: Iterable[np.ndarray], told: Mapping[str, Any]) -> Quantised:
    """Write the int8 form of a float graph; equal arguments give equal bytes.

    Args:
        graph: an .onnx file with one input, `images`; its folder takes temporary files as well.
        path: the file to write.
        batches: calibration images as the graph's input, float32 [b, C, H, W] each.
        told: what is known of the calibration, for the file's metadata under `fairprune.int8`, as JSON.

    Raises:
        FairpruneError: a package is missing, onnxruntime cannot quantise the graph, or finds nothing in it to quantise.
    """
    refuse_missing_packages()
    prepared = graph.with_name("prepared.onnx")
    try:
        with silence(), _temporary_files_in(graph.parent), _quiet_runtime():
            _quantised_file(graph, prepared, path, batches)
    except FairpruneError:
        raise  # of reading the images
    except Exception as error:  # onnxruntime has many exceptions
        raise FairpruneError(
            f"onnxruntime cannot quantise this graph: {said_by(error)}", where="--int8", hint="export it without --int8"
        ) from error
    found = Quantised(_layers(path), {
        "activations": "uint8 per tensor", "weights": "int8 per output channel, symmetric, 7 bits used",
        "calibration": "minmax", "operators": ", ".join(OPERATORS),
    })  # fmt: skip
    if not found.layers:
        raise FairpruneError(
            "the graph has no convolution and no product with fixed weights, so there is nothing to quantise",
            where="--int8", hint="export it without --int8",
        )  # fmt: skip
    _tell(graph, path, {**found.scheme, "layers": found.layers, **told})
    return found


def refuse_missing_packages() -> None:
    """What the extra `onnx` brings is needed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise FairpruneError(f"export --int8 needs {', '.join(missing)}", hint=f"pip install {' '.join(missing)}")


def _quantised_file(graph: Path, prepared: Path, path: Path, batches: Iterable[np.ndarray]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)  # the exporter has told the shapes
    quantize_static(
        str(prepared), str(path), _Reader(iter(batches)), quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS), per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": list(FLOAT_RESULTS)},
    )  # fmt: skip


class _Reader:
    """Calibration images as onnxruntime asks for them; it is a CalibrationDataReader by having `get_next`."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._batches, None)
        return None if images is None else {"images": images}


def _layers(path: Path) -> int:
    """Nodes that compute with weights that the file has as 8-bit integers."""
    import onnx

    graph = onnx.load(str(path)).graph
    integers = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    weights = {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in integers
    }
    return sum(node.op_type in OPERATORS and not weights.isdisjoint(node.input) for node in graph.node)


def _tell(graph: Path, path: Path, told: Mapping[str, Any]) -> None:
    """Give the file the float graph's metadata, which onnxruntime drops, and what is told of the quantisation."""
    import onnx

    model = onnx.load(str(path))
    kept = {entry.key: entry.value for entry in onnx.load(str(graph), load_external_data=False).metadata_props}
    own = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**own, **kept, METADATA: json.dumps(told, ensure_ascii=False)})
    onnx.save_model(model, str(path))


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """A block whose temporary files are made in `folder`: onnxruntime's own would go to the system's."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _quiet_runtime() -> Iterator[None]:
    """A block in which onnxruntime's own code, which writes to the process's stderr, says what is fatal alone."""
    import onnxruntime

    warning, fatal = 2, 4
    onnxruntime.set_default_logger_severity(fatal)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(warning)
