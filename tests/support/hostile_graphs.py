"""Graphs in ONNX of some hundred bytes that take hours or gigabytes, and sound ones beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

helper: Any = onnx.helper
Parts = tuple[list[Any], list[Any]]
"""Operators that make `extra`, and the tensors that they need."""


def constant(name: str, value: Any, kind: type = np.int64) -> Any:
    """A tensor of the graph."""
    return onnx.numpy_helper.from_array(np.array(value, kind), name)


def usual() -> Parts:
    """One number."""
    return [helper.make_node("Identity", ["one"], ["extra"])], [constant("one", [1.0], np.float32)]


def loop(steps: int) -> Parts:
    """A number that is doubled so often."""
    value = {name: helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (
        ("i", 7, []), ("c", 9, []), ("x", 1, [1]), ("co", 9, []), ("xo", 1, [1]),
    )}  # fmt: skip
    nodes = [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Add", ["x", "x"], ["xo"])]
    body = helper.make_graph(nodes, "b", [value[n] for n in ("i", "c", "x")], [value[n] for n in ("co", "xo")])
    held = [constant("n", steps), constant("t", True, bool), constant("x0", [1.0], np.float32)]
    return [helper.make_node("Loop", ["n", "t", "x0"], ["extra"], body=body)], held


def size_from_pixels(times: float) -> Parts:
    """As many numbers as the brightest pixel says."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["p"], keepdims=0), helper.make_node("Mul", ["p", "k"], ["q"]),
        helper.make_node("Cast", ["q"], ["e"], to=7), helper.make_node("Range", ["z", "e", "o"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0), helper.make_node("Cast", ["s"], ["extra"], to=1),
    ]  # fmt: skip
    return nodes, [constant("k", times, np.float32), constant("z", 0), constant("o", 1)]


def range_of_product() -> Parts:
    """2^34 numbers, which no constant says."""
    nodes = [
        helper.make_node("Mul", ["a", "a"], ["e"]), helper.make_node("Range", ["z", "e", "o"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["s"], keepdims=0), helper.make_node("Cast", ["s"], ["extra"], to=1),
    ]  # fmt: skip
    return nodes, [constant("a", 1 << 17), constant("z", 0), constant("o", 1)]


def shape_of_images(operator: str) -> Parts:
    """Sizes that are made of those of the images."""
    nodes = [
        helper.make_node("Shape", ["images"], ["sh"]), helper.make_node(operator, ["sh", "f"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["k"]),
        helper.make_node("ReduceSum", ["k"], ["extra"], keepdims=0),
    ]  # fmt: skip
    return nodes, [constant("f", [1, 1, 1 << 14, 1 << 14] if operator == "Mul" else [1, 1, 5, 5])]


def matrices() -> Parts:
    """A product after the other, each of minutes."""
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(20)]
    nodes += [helper.make_node("ReduceSum", ["m20"], ["extra"], keepdims=0)]
    return nodes, [constant("s", [5000, 5000])]


def graph(parts: Parts, side: int = 8) -> Any:
    """The means of the channels, times a table, plus `extra`; an `onnx.ModelProto`."""
    nodes, held = parts
    tail = [
        helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["s0"]), helper.make_node("Add", ["s0", "extra"], ["scores"]),
    ]  # fmt: skip
    held = [*held, constant("axes", [2, 3]), constant("weight", np.ones((3, 2)), np.float32)]
    images, scores = (helper.make_tensor_value_info(name, 1, shape) for name, shape in
                      (("images", ("n", 3, side, side)), ("scores", None)))  # fmt: skip
    whole = helper.make_graph([*nodes, *tail], "g", [images], [scores], held)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def with_functions(levels: int) -> Any:
    """As `graph`, with functions that each call the one before twice."""
    model = graph(([helper.make_node(f"f{levels}", ["one"], ["extra"], domain="my")], usual()[1]))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    model.opset_import.append(imports[1])
    for i in range(levels + 1):
        calls = [helper.make_node(f"f{i - 1}", [a], [b], domain="my") for a, b in (("x", "m"), ("m", "y"))]
        nodes = calls if i else [helper.make_node("Identity", ["x"], ["y"])]
        model.functions.append(helper.make_function("my", f"f{i}", ["x"], ["y"], nodes, imports))
    return model


def empty_nodes(count: int) -> bytes:
    """A file of nodes that say nothing, two bytes each."""
    body, length = b"\x0a\x00" * count + b"\x62\x02\x0a\x00", b""
    rest = len(body)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return b"\x08\x09\x3a" + length + bytes([rest]) + body
