"""Multiply-adds and memory of a graph in ONNX, by the shapes that ONNX's own inference finds."""

from __future__ import annotations

import math
from typing import Any

from fairprune_cli.core import limits
from fairprune_cli.models.graphs.network import GraphInput
from fairprune_cli.models.graphs.onnx_bounds import Shapes, can_be_inferred, declared_sizes, inferred_shapes


def multiply_adds_of(model: Any, takes: GraphInput) -> int | None:
    """Multiply-adds of one image: convolutions and matrix products, biases not counted.

    Args:
        model: an `onnx.ModelProto`, which is not changed.
        takes: the images; those of a free size are not counted.

    Returns:
        None where a shape cannot be told, or the products are of kinds that are not known here.
    """
    batch, channels, height, width = takes.batch or 1, takes.channels, takes.height, takes.width
    if channels is None or height is None or width is None:
        return None
    image = (height, width, channels) if takes.channels_last else (channels, height, width)
    shapes = inferred_shapes(model, (batch, *image))
    try:
        return sum(_products(node, shapes) for node in model.graph.node) // batch
    except (_Unknown, KeyError, IndexError):
        return None


def refuse_large_values(model: Any, where: str) -> None:
    """Refuse a graph of which a value takes more than the limit `graph_bytes`, as far as shapes tell before it is run.

    Args:
        model: an `onnx.ModelProto`; sizes that it leaves free count as one. where: the file.

    Raises:
        FairpruneError: one does.
    """
    import onnx

    if not can_be_inferred(model):
        return
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # damaged, or too large for it: the runtime says what is wrong
        return
    for one in (*known.value_info, *known.output, *known.input):
        count = math.prod(max(size, 1) for size in declared_sizes(one))
        limits.refuse_above(4 * count, "graph_bytes", where, f"the value {one.name[:60]!r} of the graph")


class _Unknown(Exception):
    """A shape that was not found, or products of an unknown kind."""


def _products(node: Any, shapes: Shapes) -> int:
    """Multiply-adds of one operator."""
    if node.op_type in ("Conv", "ConvInteger"):
        weight = _known(shapes, node.input[1])
        return math.prod(_known(shapes, node.output[0])) * math.prod(weight[1:])
    if node.op_type == "QLinearConv":
        return math.prod(_known(shapes, node.output[0])) * math.prod(_known(shapes, node.input[3])[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(_known(shapes, node.input[0])) * math.prod(_known(shapes, node.input[1])[1:])
    if node.op_type == "Gemm":
        across = next((attribute.i for attribute in node.attribute if attribute.name == "transA"), 0)
        return math.prod(_known(shapes, node.output[0])) * _known(shapes, node.input[0])[0 if across else 1]
    if node.op_type in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return math.prod(_known(shapes, node.output[0])) * _known(shapes, node.input[0])[-1]
    if node.op_type in ("If", "Loop", "Scan", "Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"):
        raise _Unknown(node.op_type)
    return 0


def _known(shapes: Shapes, name: str) -> tuple[int, ...]:
    found = shapes[name]
    if not found or 0 in found:
        raise _Unknown(name)
    return found
