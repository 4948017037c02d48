"""A graph in an ONNX file, run by ONNX Runtime; needs the extra `onnx`.

The file is data: its operators are those that the runtime was built with, none is loaded from anywhere, and the files
that hold its weights lie beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairprune_cli.core import limits
from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.core.files import sha256_file
from fairprune_cli.data.manifest.transform import CHANNELS, Transform
from fairprune_cli.models.graphs.multiply_adds_of_onnx import multiply_adds_of, refuse_large_values
from fairprune_cli.models.graphs.network import GraphInput, GraphNetwork
from fairprune_cli.models.graphs.onnx_bounds import declared_sizes, shapes_within, strip_weights
from fairprune_cli.models.graphs.onnx_served import ServedSession
from fairprune_cli.models.graphs.onnx_session import OwnSession, Session
from fairprune_cli.models.read_out import Key

SUFFIX = ".onnx"
MOST_BYTES = 1 << 31  # protobuf reads no more
_PACKAGES = ("onnx", "onnxruntime")
# Operations that move numbers and leave them what they are.
_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Transpose")
_UNDONE = {"Softmax": "log", "Sigmoid": "logit"}
_MOST_MOVES = 100
_USUAL = (2, 3, 224, 224)  # images, where a graph takes any
# Of ONNX's types: those of weights, full or quantised, in contrast to shapes and indices.
_WEIGHTS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT4", "UINT4", "INT32")


class OnnxNetwork(GraphNetwork):
    """A graph of ONNX Runtime.

    Attributes:
        external: files beside the graph that hold weights.
    """

    kind = "onnx"

    def __init__(self, path: Path, device: torch.device) -> None:
        """Open a file.

        Args:
            device: CUDA where the runtime has it; the CPU in any other case.

        Raises:
            FairpruneError: the extra is missing, the file is damaged, or it needs what the runtime does not have.
        """
        graph, self.external = _read(path)
        self.metadata = {prop.key: prop.value for prop in graph.metadata_props}
        refuse_large_values(graph, str(path))
        self._path, self._cuda = path, (device.index or 0) if device.type == "cuda" else None
        self._outline, self._within = graph, set[tuple[int, ...]]()
        session = self._opened(_assumed_images(graph))
        self._input, takes = _input(session, path)
        super().__init__(str(path), takes)
        self._session = session
        self._names = [output.name for output in session.outputs if output.kind.startswith("tensor(")]
        keys: Sequence[Key] = self._names if len(self._names) > 1 else [None]
        self._keys = dict(zip(self._names, keys, strict=True))
        self.undoes = {self._keys[name]: _ends_with(graph.graph, name) for name in self._names}
        _refuse_training(graph.graph, path)
        weights = [tensor for tensor in graph.graph.initializer if _type(tensor) in _WEIGHTS]
        self._parameters_held = sum(_entries(tensor) for tensor in weights)
        self._bytes_held = sum(_entries(tensor) * _bits(tensor) // 8 for tensor in weights)
        self.multiply_adds = multiply_adds_of(graph, takes)

    def accept(self, transform: Transform, named_by: str) -> None:
        """As `GraphNetwork.accept`; what no shape can tell is tried with one image, before all are read."""
        super().accept(transform, named_by)
        if isinstance(self._session, ServedSession):
            shape = transform.shape
            with contextlib.suppress(RuntimeError):  # which the first images tell of
                self(torch.zeros(1, shape.channels, shape.height, shape.width))

    def _opened(self, images: Sequence[int], now: Session | None = None) -> Session:
        """A session that takes a batch of this shape: `now`, or one in a process of its own.

        The latter is for graphs whose shapes do not tell what they cost.
        """
        threads = torch.get_num_threads()
        if shapes_within(self._outline, images) is None:
            return _session(self._path, lambda: ServedSession(self._path, self.external, threads, self._cuda))
        self._within.add(tuple(images))
        return now or _session(self._path, lambda: OwnSession(self._path, threads, self._cuda))

    def parameter_count(self) -> int | None:
        return self._parameters_held

    def tensor_bytes(self) -> int | None:
        return self._bytes_held

    def run(self, images: Tensor) -> dict[Key, Tensor]:
        """As `GraphNetwork.run`."""
        given = images.detach().cpu().numpy()
        if isinstance(self._session, OwnSession) and given.shape not in self._within:
            self._session = self._opened(given.shape, self._session)
        try:
            found = self._session.run(self._names, {self._input: given})
        except FairpruneError:
            raise
        except Exception as error:  # the runtime has many exceptions
            raise RuntimeError(f"ONNX Runtime: {said_by(error)}") from error
        return {
            self._keys[name]: torch.from_numpy(table).to(images.device)
            for name, table in zip(self._names, found, strict=True)
        }


def sha256_of(path: Path, external: Sequence[Path]) -> str:
    """SHA-256 of the file; where weights lie beside it, of its own digest and theirs, in hexadecimal, joined."""
    own = sha256_file(path)
    if not external:
        return own
    return hashlib.sha256("".join([own, *map(sha256_file, external)]).encode()).hexdigest()


def _read(path: Path) -> tuple[Any, tuple[Path, ...]]:
    """The graph without weights that lie beside it, and the files that hold these."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise FairpruneError(
            f"an ONNX file needs {' and '.join(missing)}", where=str(path), hint=f"pip install {' '.join(missing)}"
        )
    import onnx
    from onnx.external_data_helper import uses_external_data

    if path.stat().st_size >= MOST_BYTES:
        raise FairpruneError(
            "an ONNX file has less than 2 GB", where=str(path),
            hint="keep the weights in files beside it, as onnx.save does with save_as_external_data=True",
        )  # fmt: skip
    try:
        graph = onnx.load(str(path), load_external_data=False)
        if not graph.graph.output:
            raise ValueError("it has no outputs")
        limits.refuse_above(len(graph.graph.node), "graph_nodes", str(path), "the graph")
        strip_weights(graph)
    except FairpruneError:
        raise
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise FairpruneError(
            f"not a readable ONNX file: {said_by(error)}", where=str(path), hint="copy or export it again"
        ) from error
    named = {
        entry.value
        for tensor in graph.graph.initializer if uses_external_data(tensor)
        for entry in tensor.external_data if entry.key == "location"
    }  # fmt: skip
    return graph, tuple(_beside(path, name) for name in sorted(named))


def _beside(path: Path, name: str) -> Path:
    """The file of that name in the folder of the graph."""
    folder = os.path.realpath(path.parent)
    found = os.path.realpath(os.path.join(folder, name))
    if os.path.isabs(name) or os.path.commonpath([folder, found]) != folder:
        raise FairpruneError(f"its weights are said to lie in {name[:200]!r}, outside its folder", where=str(path),
                             hint="save it again with its weights beside it")  # fmt: skip
    if not os.path.isfile(found):
        raise FairpruneError(f"its weights lie in {name[:200]!r}, which is not beside it", where=str(path),
                             hint="copy that file along with it")  # fmt: skip
    return Path(found)


def _session(path: Path, opened: Callable[[], Session]) -> Session:
    """The session, or what is wrong with the file, in words."""
    try:
        return opened()
    except FairpruneError:
        raise
    except Exception as error:  # the runtime has many exceptions
        text = said_by(error)
        own = "is not a registered function/op" in text or "No opset import for domain" in text
        what = "it uses operators that ONNX Runtime does not have" if own else "ONNX Runtime cannot run it"
        raise FairpruneError(
            f"{what}: {text}", where=str(path),
            hint="audit its predictions, made where it runs, with --predictions" if own
            else "export it again, or install a newer onnxruntime",
        ) from error  # fmt: skip


def _assumed_images(model: Any) -> list[int]:
    """The shape of a batch as the graph says it, with usual sizes where it leaves them free."""
    held = {tensor.name for tensor in model.graph.initializer}
    given = [declared_sizes(one) for one in model.graph.input if one.name not in held]
    if len(given) != 1 or len(given[0]) != len(_USUAL):
        return list(_USUAL)
    last = given[0][3] in CHANNELS and given[0][1] not in CHANNELS
    usual = (_USUAL[0], _USUAL[2], _USUAL[3], _USUAL[1]) if last else _USUAL
    return [own if own > 0 else size for own, size in zip(given[0], usual, strict=True)]


def _input(session: Session, path: Path) -> tuple[str, GraphInput]:
    """The name of the one input and the images that it takes."""
    inputs = session.inputs
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise FairpruneError(f"it has {len(inputs)} inputs ({names}), and images are one", where=str(path),
                             hint="export the network with the other inputs fixed")  # fmt: skip
    (one,) = inputs
    kind = one.kind.removeprefix("tensor(").removesuffix(")")
    kind = {"float": "float32", "double": "float64"}.get(kind, kind)
    if kind == "bfloat16":
        kind = "bfloat16 (which ONNX Runtime takes from no array)"
    return one.name, GraphInput.of(one.name, kind, one.sizes, str(path))


def _refuse_training(graph: Any, path: Path) -> None:
    """Refuse batch norms that norm by the batch at hand: what an image gets would depend on the others."""
    for node in graph.node:
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            raise FairpruneError("it was exported in training mode, in which images of a batch see each other",
                                 where=str(path), hint="export it again after model.eval()")  # fmt: skip


def _ends_with(graph: Any, output: str) -> str:
    """What undoes the operation that makes an output: "log", "logit" or ""; of all parts of a whole, if they agree."""
    return _undone({name: node for node in graph.node for name in node.output}, output, 2)


def _undone(makers: Mapping[str, Any], output: str, levels: int) -> str:
    node = makers.get(output)
    for _ in range(_MOST_MOVES):
        if node is None or node.op_type not in _MOVES or not node.input:
            break
        node = makers.get(node.input[0])
    if node is None:
        return ""
    if node.op_type == "Concat" and levels and len(node.input) <= _MOST_MOVES:
        kinds = {_undone(makers, part, levels - 1) for part in node.input}
        return kinds.pop() if len(kinds) == 1 else ""
    return _UNDONE.get(node.op_type, "")


def _type(tensor: Any) -> str:
    import onnx

    return str(onnx.TensorProto.DataType.Name(tensor.data_type))


def _entries(tensor: Any) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _bits(tensor: Any) -> int:
    kind = _type(tensor)
    if kind in ("FLOAT", "INT32"):
        return 32
    return {"DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "INT4": 4, "UINT4": 4}.get(kind, 8)
