"""The readers of models for benchmarks/fuzz.py: checkpoints of all forms, the model file by all granularities, graphs,
and the settings of a run folder, mutated by structure: the file stays a valid zip, pickle, JSON or protobuf, and one
value in it is odd.

Each is read as `inspect`, `audit` and `--resume` read it, in a process that notes what it imports and starts.
None may end in an internal error, take a minute or two gigabytes, start a program, or import what the file names.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from benchmarks._fuzz_odd_values import deep, odd_object, odd_value, replaced
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.pruning.masks import TwoOfFourMasks

SECONDS, LIMIT = 60, 2 << 30
SPACE = 6 << 30  # address space beyond what the process has at the start
ARCHITECTURE = "resnet10-w16"
_RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn", "os.startfile", "socket.connect")
TRANSFORM = {"size": 40, "mean": [0.5] * 3, "std": [0.25] * 3}
Mutate = Callable[[bytes, random.Random], bytes]


def write_files(folder: Path, sound: dict[str, Path]) -> dict[str, Path]:
    """The sound files of benchmarks/fuzz.py and more: wrapped, 2:4, ONNX, and a run's config.yaml."""
    model = architectures.build(ARCHITECTURE, 2, seed=0).eval()
    files = dict(sound)
    files["wrapped"] = folder / "wrapped.pt"
    parallel = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict()
    classes = {"idx_to_class": {0: "a", 1: "b"}, "args": {"lr": 0.1, "arch": ARCHITECTURE}, "epoch": 3}
    torch.save({"state_dict": parallel, "optimizer": optimiser, "ema": parallel, **classes}, files["wrapped"])
    pattern = architectures.build(ARCHITECTURE, 2, seed=0).eval()
    masks = TwoOfFourMasks(pattern)
    masks.apply(masks.select(masks.magnitude(), 0.5))
    files["2:4"] = folder / "pattern.safetensors"
    header = codec.ModelHeader(ARCHITECTURE, ("a", "b"), TRANSFORM, "2:4", {})
    codec.save_model(files["2:4"], pattern, header=header, masks=masks.entries(masks.keep))
    with contextlib.suppress(ImportError):
        files["onnx"] = _onnx(folder / "graph.onnx", model)
    files["config"] = _run_folder(folder / "run") / "config.yaml"
    return files


def _onnx(path: Path, model: nn.Module) -> Path:
    import onnx  # noqa: F401

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 40, 40),), str(path), dynamo=False, opset_version=17)
    return path


def _run_folder(folder: Path) -> Path:
    from fairprune_cli.run.options import resolve

    folder.mkdir()
    inputs = {"model": "m.pt", "model_sha256": "0", "manifest": "m.yaml", "manifest_sha256": "0", "trust": "False"}
    document = {"inputs": inputs, "settings": resolve({}, {}, None).document()}
    (folder / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


# --- mutations by structure -----------------------------------------------------------------------------------------


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


# --- files made by hand ---------------------------------------------------------------------------------------------


def by_hand(contents: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """(kind, what it is, bytes) of files that no chance would make."""
    huge = ("regnet_y_128gf", "vit_h_14", "timm/eva02_enormous_patch14_clip_224", "timm/regnety_1280", "evil:make")
    for kind in ("weight", "channel", "gaps"):
        for name in huge:
            yield kind, f"names {name}", _with_metadata(contents[kind], architecture=name)
        yield kind, "many outputs", _with_metadata(contents[kind], outputs="999999999")
        for key in ("removed", "transform", "classes", "encodings", "tasks", "aliases", "outputs", "granularity"):
            for text in ("5", "[]", "{}", '"x"', "null", '{"conv1.weight": 5}',
                         '{"conv1.weight": {"shape": 5, "dims": [0]}}', '{"size": 4096, "mean": [0.5], "std": [0.25]}',
                         deep("[", "]", 5000), deep('{"size":', "}", 900),
                         "9" * 5000, "1e999", '{"size": 1' + "0" * 60 + "}"):  # fmt: skip
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
    nested = contents.get("program", b"")
    for level in range(40):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("serialized_state_dict.pt", nested)
            archive.writestr("serialized_exported_program.json", "{}")
        nested = inner.getvalue()
        if level in (0, 1, 39):
            yield "program", f"nested {level + 1} times", nested


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


# --- reading in a process of its own --------------------------------------------------------------------------------


def read(kind: str, path: Path) -> None:
    """Read a file as the commands do."""
    from fairprune_cli.commands.inspect import inspected
    from fairprune_cli.data.manifest.transform import Transform
    from fairprune_cli.models import measure
    from fairprune_cli.models.graphs.load import is_graph, load_graph
    from fairprune_cli.run.config_file import read_config_of
    from fairprune_cli.run.folder import RunFolder

    if kind == "config":
        RunFolder.resume(path.parent, {})
        read_config_of(path.parent)
    elif kind == "onnx" or (kind == "program" and is_graph(path)):
        loaded = load_graph(path, torch.device("cpu"))
        transform = Transform.from_dict(loaded.transform or TRANSFORM, str(path))
        loaded.model.accept(transform, str(path))  # type: ignore[operator]
        measure.macs(loaded.model, transform.shape)
    else:
        inspected(path, None, False, None, None)


def answer_paths(pipe: Connection, folder: str) -> None:
    """Read each (kind, path) that comes through the pipe; answer with (outcome, what it said, bytes needed)."""
    os.chdir(folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_RUNS) or (event == "import" and "evil" in str(arguments[0])):
            seen.append(f"{event} {arguments[:1]}")

    sys.addaudithook(hook)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * os.sysconf("SC_PAGE_SIZE") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while (asked := pipe.recv()) is not None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, started = _memory("VmRSS"), time.monotonic()
        try:
            read(*asked)
            outcome, said = "loaded", ""
        except FairpruneError as error:
            outcome = "refused" if error.code == ExitCode.BAD_INPUT else f"exit code {int(error.code)}"
            said = str(error)
        except BaseException as error:
            outcome, said = "another exception", f"{type(error).__name__}: {error}"
        needed = _memory("VmHWM") - before
        if seen:
            outcome, said = "code of the file ran", seen.pop()
        elif outcome == "refused" and needed > LIMIT:
            outcome = "over the limit"
        pipe.send((outcome, said[:300], needed, time.monotonic() - started))


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


class Reader:
    """A process that reads files, replaced when one of them ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.slowest = folder, 0.0
        self._begin()

    def _begin(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=answer_paths, args=(theirs, str(self.folder)), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, kind: str, path: Path) -> tuple[str, str, int]:
        self.pipe.send((kind, path))
        try:
            if not self.pipe.poll(SECONDS):
                self.process.kill()
                self.process.join()
                self._begin()
                return "over a minute", "", 0
            outcome, said, needed, seconds = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self._begin()
            return "crash", f"exit code {code}", 0
        self.slowest = max(self.slowest, seconds)
        return outcome, said, needed

    def end(self) -> None:
        self.pipe.send(None)
        self.process.join(10)


def run(count: int, seed: int, folder: Path, sound: dict[str, Path]) -> Iterator[tuple[str, str, str, str, int]]:
    """(kind, mutation, outcome, what it said, bytes needed) of the files made by hand and `count` mutated ones.

    Args:
        sound: files by kind; more are written into the folder.
    """
    files = write_files(folder, sound)
    contents = {name: path.read_bytes() for name, path in files.items()}
    reader = Reader(folder)
    for name, path in files.items():
        yield (name, "none", *reader.read(name, path))
    for name, what, data in by_hand(contents):
        yield (name, f"by hand: {what}", *reader.read(name, _put(files[name], data)))
    kinds = [(name, mutate) for name in files for mutate in STRUCTURED[name]]
    for i in range(count):
        name, mutate = kinds[i % len(kinds)]
        data = mutate(contents[name], random.Random(f"{seed} {i}"))
        yield (name, "by structure", *reader.read(name, _put(files[name], data)))
    reader.end()


def _put(path: Path, data: bytes) -> Path:
    target = path if path.name == "config.yaml" else path.with_stem("mutated")
    target.write_bytes(data)
    return target
