"""Whether shapes tell, before a graph in ONNX is run, that it costs little: by its operators and what they make."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairprune_cli.core import limits

Shapes = Mapping[str, tuple[int, ...]]
# Whose time and memory follow from the shapes of what they take and make.
_PLAIN = frozenset((
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip",
    "Concat", "Constant", "Conv", "ConvInteger", "ConvTranspose", "Cos", "DepthToSpace", "DequantizeLinear", "Div",
    "Dropout", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "Gelu",
    "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GroupNormalization", "HardSigmoid",
    "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "LogSoftmax", "MatMul", "MatMulInteger", "Max", "MaxPool", "Mean", "Min", "Mish", "Mul", "Neg", "Not", "Or",
    "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "Range", "Reciprocal", "ReduceL2",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Selu",
    "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze",
    "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Upsample", "Where", "ConstantOfShape",
))  # fmt: skip
_LONGEST_KEPT = 256  # bytes of a tensor that may be a shape
_LARGEST_FORM = 4 << 20  # bytes of all but the weights; what is read of them takes a hundred times that
_MOST_PRODUCTS = 1 << 40  # of what is the same for all images; a quarter of them for each of these
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def strip_weights(model: Any) -> None:
    """Take the numbers out of an `onnx.ModelProto` that are too many for a shape: what is inferred needs no others."""
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LONGEST_KEPT:
            for field in _DATA:
                tensor.ClearField(field)


def shapes_within(model: Any, images: Sequence[int]) -> Shapes | None:
    """Shapes of all values of a graph, where it is one whose cost they tell, and that is within the limits.

    Args:
        model: an `onnx.ModelProto`, which is not changed; images: shape of the batch.

    Returns:
        None where an operator's time or memory cannot be told before it is run, a shape is not found, or all values
        together take more than the limit `graph_bytes` and a quarter of it for each image.
    """
    if not can_be_inferred(model) or not all(map(_is_plain, model.graph.node)):
        return None
    shapes = inferred_shapes(model, images)
    made = [name for node in model.graph.node for name in node.output if name]
    if not all(name in shapes and min(shapes[name], default=1) > 0 for name in made):
        return None
    most, count = limits.limit("graph_bytes"), max(images[0], 1)
    if sum(8 * math.prod(shapes[name]) for name in made) > most + most // 4 * count:
        return None
    if sum(_work(node, shapes) for node in model.graph.node) > _MOST_PRODUCTS + _MOST_PRODUCTS // 4 * count:
        return None
    return shapes


def inferred_shapes(model: Any, images: Sequence[int]) -> Shapes:
    """Shapes of the values of a graph for a batch of images, as far as ONNX finds them; sizes that it does not are 0.

    Args:
        model: an `onnx.ModelProto`, which is not changed; images: shape of the batch.
    """
    import onnx

    if not can_be_inferred(model):
        return {}
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    held = {tensor.name for tensor in trial.graph.initializer}
    for one in trial.graph.input:
        if one.name not in held and len(one.type.tensor_type.shape.dim) == len(images):
            for dim, size in zip(one.type.tensor_type.shape.dim, images, strict=True):
                dim.dim_value = size
    # What the file says of them may be wrong, and the batch may have a name there.
    del trial.graph.value_info[:]
    for output in trial.graph.output:
        output.type.tensor_type.ClearField("shape")
    with contextlib.suppress(Exception):  # damaged, or too large for it: the runtime says what is wrong
        known = onnx.shape_inference.infer_shapes(trial, data_prop=True).graph
        shapes = {one.name: declared_sizes(one) for one in (*known.value_info, *known.input, *known.output)
                  if one.type.tensor_type.HasField("shape")}  # fmt: skip
        return shapes | {tensor.name: tuple(tensor.dims) for tensor in known.initializer}
    return {}


def can_be_inferred(model: Any) -> bool:
    """Whether shapes can be found in little time: functions of functions unfold to 2^n of them.

    Args:
        model: an `onnx.ModelProto` without its weights.
    """
    return not model.functions and model.ByteSize() <= _LARGEST_FORM


def declared_sizes(value: Any) -> tuple[int, ...]:
    """The shape that a graph says of a value; a size that it leaves free is 0."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _is_plain(node: Any) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _PLAIN:
        return False
    return not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _work(node: Any, shapes: Shapes) -> int:
    """Numbers that an operator takes up, at most: those that it makes, times those of each that it makes of."""
    made = sum(math.prod(shapes[name]) for name in node.output if name)
    taken = [shapes.get(name, ()) for name in node.input]
    if "Conv" in node.op_type:
        weight = taken[3 if node.op_type == "QLinearConv" else 1]
        return max(made, math.prod(taken[0])) * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"):
        return made * max(taken[0], default=1)
    if node.op_type in ("AveragePool", "MaxPool"):
        return made * math.prod(_ints(node, "kernel_shape"))
    return made + sum(map(math.prod, taken))


def _ints(node: Any, name: str) -> Iterator[int]:
    for attribute in node.attribute:
        if attribute.name == name:
            yield from attribute.ints
