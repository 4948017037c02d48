"""Mutations by structure for benchmarks/_fuzz_models.py: the file stays what it is, and one value in it is odd."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch
import yaml
from torch import nn

from benchmarks._fuzz_odd_values import deep, odd_object, odd_value, replaced

Mutate = Callable[[bytes, random.Random], bytes]


def in_pickle(data: bytes, chance: random.Random) -> bytes:
    """One or two values of what torch.save wrote are odd; it is written again."""
    root = torch.load(io.BytesIO(data), weights_only=False)
    written = io.BytesIO()
    try:
        for _ in range(chance.choice((1, 1, 2))):
            root = _odd_part(root, chance)
        torch.save(root, written, _use_new_zipfile_serialization=data[:2] == b"PK")
    except Exception:  # what cannot be written is nothing to read
        return data
    return written.getvalue()


def _odd_part(root: Any, chance: random.Random) -> Any:
    """A whole network or a tree of containers with one odd part."""
    if isinstance(root, nn.Module):
        module = chance.choice(list(root.modules()))
        table: Any = vars(module) if chance.random() < 0.5 else chance.choice(
            [module._parameters, module._buffers, module._modules, vars(module)]
        )  # fmt: skip
        if table:
            key = chance.choice(list(table))
            odd_key = chance.random() < 0.1
            table[odd_object(chance, hashable=True) if odd_key else key] = odd_object(chance)
        return root
    return replaced(root, chance, odd_object)


def in_header(data: bytes, chance: random.Random) -> bytes:
    """A value of a safetensors header is odd: of the metadata, of the JSON within it, or of a tensor's entry."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.get("__metadata__", {})
    draw = chance.random()
    if metadata and draw < 0.75:
        key = chance.choice(list(metadata))
        value = metadata[key]
        with contextlib.suppress(ValueError):
            value = json.loads(value)
            if chance.random() < 0.8:
                metadata[key] = _json(replaced(value, chance, odd_value))
                value = None
        if value is not None:
            odd = odd_value(chance)
            metadata[key] = odd if isinstance(odd, str) and chance.random() < 0.9 else _json(odd)
    else:
        name = chance.choice([name for name in header if name != "__metadata__"])
        if chance.random() < 0.3:
            header[name]["dtype"] = chance.choice(
                ("F4", "F8_E4M3", "F8_E8M0", "C64", "F6_E2M3", "U64", "BOOL", "F64", "I8", "X")
            )
        else:
            header[name] = replaced(header[name], chance, odd_value)
    text = _json(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def in_json(ending: str) -> Mutate:
    """A value of a JSON document in a zip archive is odd."""

    def mutate(data: bytes, chance: random.Random) -> bytes:
        result = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
            names = [one.filename for one in old.infolist() if one.filename.endswith(ending)]
            victim = chance.choice(names)
            for member in old.infolist():
                content = old.read(member)
                if member.filename == victim:
                    content = _json(replaced(json.loads(content), chance, odd_value)).encode("utf-8", "surrogatepass")
                new.writestr(member.filename, content)
        return result.getvalue()

    return mutate


def in_yaml(data: bytes, chance: random.Random) -> bytes:
    """A value of a YAML document is odd."""
    document = replaced(yaml.safe_load(data), chance, odd_value)
    with contextlib.suppress(yaml.YAMLError, RecursionError, ValueError):
        return yaml.safe_dump(document, sort_keys=False).encode("utf-8", "surrogatepass")
    return b"inputs: {model: 1"


def in_onnx(data: bytes, chance: random.Random) -> bytes:
    """A tensor, node, attribute, input or entry of an ONNX graph is odd."""
    import numpy as np
    import onnx

    model = onnx.load_from_string(data)
    graph = model.graph
    tensor, node = chance.choice(graph.initializer), chance.choice(graph.node)
    kind = chance.randrange(10)
    big = chance.choice((0, -1, 1, 2**31, 2**40, 2**62))
    if kind == 0:
        tensor.dims[chance.randrange(len(tensor.dims) or 1) :] = [big] if tensor.dims else []
    elif kind == 1:
        values = np.frombuffer(tensor.raw_data, dtype=np.uint8).copy()
        if len(values) >= 4:
            values[:4] = np.frombuffer(struct.pack("<f", chance.choice((float("nan"), float("inf")))), dtype=np.uint8)
        tensor.raw_data = values.tobytes()
    elif kind == 2:
        tensor.data_type = chance.choice((0, 1, 7, 8, 10, 11, 14, 16, 17, 20, 23, 99))
    elif kind == 3:
        del tensor.external_data[:]
        where = chance.choice(("/etc/passwd", "../up", "/dev/zero", ".", "", "graph.onnx", "x" * 300, "pipe"))
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", where
        more = tensor.external_data.add()
        more.key, more.value = chance.choice((("length", str(2**40)), ("offset", "-1"), ("length", "abc")))
        tensor.data_location = 1
        tensor.raw_data = b""
    elif kind == 4:
        node.op_type = chance.choice(
            ("", "Loop", "If", "Expand", "Tile", "ConstantOfShape", "RandomNormal", "PyOp", "Resize")
        )
    elif kind == 5 and node.attribute:
        attribute = chance.choice(node.attribute)
        attribute.i = big
        if attribute.ints:
            attribute.ints[0] = big
    elif kind == 6:
        shape = graph.input[0].type.tensor_type.shape
        shape.dim[chance.randrange(len(shape.dim))].dim_value = big
    elif kind == 7:
        node.input[0] = chance.choice((node.output[0], "nothing", ""))
    elif kind == 8:
        prop = model.metadata_props.add()
        prop.key, prop.value = (
            chance.choice(("fairprune.format", "fairprune.transform", "fairprune.classes")),
            "fairprune",
        )
        second = model.metadata_props.add()
        second.key, second.value = "fairprune.transform", _json(odd_value(chance))
    else:
        _expanding(graph, big if big > 0 else 2**33)
    return bytes(model.SerializeToString())


def _expanding(graph: Any, count: int) -> None:
    """The images are repeated before they are used."""
    import onnx

    graph.initializer.append(onnx.helper.make_tensor("how_often", 7, [4], [1, 1, count, 1]))
    node = onnx.helper.make_node("Tile", [graph.input[0].name, "how_often"], ["repeated"])
    for other in graph.node:
        other.input[:] = ["repeated" if name == graph.input[0].name else name for name in other.input]
    graph.node.insert(0, node)


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (RecursionError, ValueError):
        return deep("[", "]", 3000)


STRUCTURED: dict[str, tuple[Mutate, ...]] = {
    "checkpoint": (in_pickle,), "state-dict": (in_pickle,), "legacy": (in_pickle,), "whole-module": (in_pickle,),
    "wrapped": (in_pickle,), "program": (in_json(".json"), in_json("_config.json")), "safetensors": (in_header,),
    "weight": (in_header,), "gaps": (in_header,), "channel": (in_header,), "2:4": (in_header,), "onnx": (in_onnx,),
    "config": (in_yaml,),
}  # fmt: skip
