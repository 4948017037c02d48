"""Models made by hand for benchmarks/_fuzz_models.py: what no chance would make of a sound file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks._fuzz_odd_values import deep
from fairprune_cli.models import architectures

_TEXTS = (
    "5", "[]", "{}", '"x"', "null", '{"conv1.weight": 5}', '{"conv1.weight": {"shape": 5, "dims": [0]}}',
    '{"size": 4096, "mean": [0.5], "std": [0.25]}', deep("[", "]", 5000), deep('{"size":', "}", 900), "9" * 5000,
    "1e999", '{"size": 1' + "0" * 60 + "}",
)  # fmt: skip


def by_hand(contents: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """(kind, what it is, bytes) of files that no chance would make."""
    huge = ("regnet_y_128gf", "vit_h_14", "timm/eva02_enormous_patch14_clip_224", "timm/regnety_1280", "evil:make")
    for kind in ("weight", "channel", "gaps"):
        for name in huge:
            yield kind, f"names {name}", _with_metadata(contents[kind], architecture=name)
        yield kind, "many outputs", _with_metadata(contents[kind], outputs="999999999")
        for key in ("removed", "transform", "classes", "encodings", "tasks", "aliases", "outputs", "granularity"):
            for text in _TEXTS:
                yield kind, f"{key} is {text[:20]}", _with_metadata(contents[kind], **{key: text})
    for name in huge:
        root = torch.load(io.BytesIO(contents["checkpoint"]), weights_only=False)
        yield "checkpoint", f"names {name}", _saved(root | {"architecture": name})
        yield (
            "checkpoint",
            f"names {name} and has no more",
            _saved({"architecture": name, "state_dict": {"fc.weight": torch.ones(2, 2)}}),
        )
    state = torch.load(io.BytesIO(contents["state-dict"]), weights_only=True)
    for kind in (torch.complex64, torch.bool, torch.int8, torch.float8_e4m3fn, torch.uint16, torch.float64):
        yield "state-dict", f"of {kind}", _saved({name: tensor.to(kind) for name, tensor in state.items()})
    yield "state-dict", "narrow, of a huge one", _saved(_narrow("regnet_y_128gf"))
    yield "state-dict", "narrow, of vit_h_14", _saved(_narrow("vit_h_14"))
    for count in (3000, 900_000):
        value: Any = deep("(", "t", count)
        yield "state-dict", f"{count} deep", b"\x80\x02" + value.encode() + b"."
    yield from _graphs() if "onnx" in contents else ()
    nested = contents.get("program", b"")
    for level in range(40):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("serialized_state_dict.pt", nested)
            archive.writestr("serialized_exported_program.json", "{}")
        nested = inner.getvalue()
        if level in (0, 1, 39):
            yield "program", f"nested {level + 1} times", nested


def _graphs() -> Iterator[tuple[str, str, bytes]]:
    from tests.support import hostile_graphs as made

    for name, parts in (
        ("a sound one", made.usual()), ("loop of 3", made.loop(3)), ("loop of 2^62", made.loop(1 << 62)),
        ("range of 2^34", made.range_of_product()), ("size from pixels", made.size_from_pixels(float(1 << 34))),
        ("sizes times", made.shape_of_images("Mul")), ("sizes to the fifth", made.shape_of_images("Pow")),
        ("matrices", made.matrices()),
    ):  # fmt: skip
        yield "onnx", name, made.graph(parts, 40).SerializeToString()
    yield "onnx", "functions of functions", made.with_functions(24).SerializeToString()
    yield "onnx", "empty nodes", made.empty_nodes(4_500_000)


def _narrow(name: str) -> dict[str, torch.Tensor]:
    shapes = architectures.signature(name).shapes
    return {key: torch.ones([min(n, 1) for n in shape]) for key, shape in shapes.items()}


def _saved(root: Any) -> bytes:
    written = io.BytesIO()
    torch.save(root, written)
    return written.getvalue()


def _with_metadata(data: bytes, **changes: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header["__metadata__"] |= changes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body
