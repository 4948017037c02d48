"""Files that torch writes, read as data: zip archives, the older plain format, and exported programs (pt2).

Nothing in the file is executed and no size it claims is believed: a tensor must lie within the bytes that
the file really has. Formats: `torch.save` (zip since torch 1.6, before that pickles followed by the raw
storages) and `torch.export.save` (a zip with a JSON table of weights).
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from fairprune_cli.core import limits
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models.checkpoint.inert import PickleError, StorageRef, TensorRef, printable
from fairprune_cli.models.checkpoint.unpickle import read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_FEW = 1000  # instructions of the pickles beside the one with the weights
_COMPLEX = ("ComplexFloatStorage", "ComplexDoubleStorage", "ComplexHalfStorage")
_DAMAGED_HINT = "copy or download the file again, or save it again with torch.save(model.state_dict(), PATH)"
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NAMED = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_TYPES = _STORAGES | {name: getattr(torch, name) for name in _NAMED if hasattr(torch, name)}
_WEIGHTS = "_weights_config.json"
# Numbers of torch._export.serde.schema.ScalarType.
_EXPORTED = {
    1: "ByteStorage",
    2: "CharStorage",
    3: "ShortStorage",
    4: "IntStorage",
    5: "LongStorage",
    6: "HalfStorage",
    7: "FloatStorage",
    8: "DoubleStorage",
    12: "BoolStorage",
    13: "BFloat16Storage",
}


class Damaged(ValueError):
    """The file contradicts itself."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one message about that file."""
    try:
        yield
    except FairpruneError:
        raise
    except MemoryError as error:
        raise FairpruneError("not enough memory to read it", where=str(path), code=ExitCode.RUNTIME) from error
    except OSError as error:
        raise FairpruneError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except (Damaged, PickleError) as error:
        raise FairpruneError(f"not a readable checkpoint: {error}", where=str(path), hint=_DAMAGED_HINT) from error
    # Parsers of damaged bytes raise nearly anything: BadZipFile, struct.error, UnicodeError, KeyError, …
    except Exception as error:
        text = printable(str(error).partition("\n")[0], 120)
        raise FairpruneError(
            f"not a readable checkpoint: it is truncated or damaged ({type(error).__name__}: {text})",
            where=str(path),
            hint=_DAMAGED_HINT,
        ) from error


class TorchFile:
    """What a file holds, with tensors as references, and the numbers behind them.

    Args:
        root: the saved object as `read_pickle` gives it.
        size: bytes of the file, the limit of what its tensors may claim.
        storages: raw bytes of the storages by key, or a function that reads them.
    """

    def __init__(self, root: Any, size: int, storages: Storages) -> None:
        self.root = root
        self._size = size
        self._storages = storages
        self._budget = 4 * size
        self._lent: set[str] = set()

    def tensor(self, ref: TensorRef | Tensor) -> Tensor:
        """The tensor behind a reference, or a copy of one; contiguous, it shares no memory with any other.

        Raises:
            Damaged: it reaches beyond its storage, its type is unknown, or all tensors together claim
                more than four times the file.
        """
        if isinstance(ref, Tensor):
            self._take(ref.numel(), ref.dtype)
            return ref.clone(memory_format=torch.contiguous_format)
        dtype = _TYPES.get(ref.type_name)
        if dtype is None:
            raise _foreign(ref.type_name)
        if 0 in ref.size:
            return torch.empty(ref.size, dtype=dtype)
        count = math.prod(ref.size)
        reach = ref.offset + 1 + sum((n - 1) * step for n, step in zip(ref.size, ref.stride, strict=True))
        self._take(count, dtype)
        data = self._storages.read(ref.storage.key)
        available = len(data) // dtype.itemsize
        if reach > available:
            raise Damaged(f"a tensor of shape {ref.size} reaches beyond its {available} stored numbers")
        flat = torch.frombuffer(data, dtype=dtype, count=available)
        stride = [step if n > 1 else 1 for n, step in zip(ref.size, ref.stride, strict=True)]
        view = flat.as_strided(ref.size, stride, ref.offset)
        whole = count == available and view.is_contiguous() and ref.storage.key not in self._lent
        self._lent.add(ref.storage.key)
        # Not the view itself, whose steps along sizes of one may make it look channels-last.
        return flat.view(ref.size) if whole else view.clone(memory_format=torch.contiguous_format)

    def _take(self, count: int, dtype: torch.dtype) -> None:
        self._budget -= count * dtype.itemsize
        if count * dtype.itemsize > self._size or self._budget < 0:
            raise Damaged(f"its tensors claim more bytes than the file's {self._size}")


class Storages:
    """Raw bytes of storages by key, already in memory."""

    def __init__(self, data: dict[str, bytearray]) -> None:
        self.data = data

    def read(self, key: str) -> bytearray:
        if key not in self.data:
            raise Damaged(f"storage {key[:40]!r} is missing in it")
        return self.data[key]


class Archive(Storages):
    """The members of a zip archive, without the name of the folder they are all in."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__({})
        self.zip = zipfile.ZipFile(stream)
        self.folder = "data"
        names = self.zip.namelist()
        self.root = names[0].partition("/")[0] + "/" if names and "/" in names[0] else ""
        self.members = {info.filename.removeprefix(self.root): info for info in self.zip.infolist()}
        if sum(info.compress_size for info in self.zip.infolist()) > size:
            raise Damaged("the members of the archive claim more bytes than the file has")

    def read(self, key: str) -> bytearray:
        if key not in self.data:
            self.data[key] = self.member(f"{self.folder}/{key}")
        return self.data[key]

    def member(self, name: str) -> bytearray:
        info = self.members.get(name)
        if info is None:
            raise Damaged(f"{name[:60]!r} is missing in it")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Damaged(f"{name[:60]!r} is compressed, which torch never does")
        return bytearray(self.zip.read(info))


def open_torch_file(stream: BinaryIO, size: int) -> TorchFile:
    """Read a file of `torch.save` or `torch.export.save`; `stream` must stay open while tensors are read.

    Raises:
        Damaged, PickleError and what parsers raise; use within `reading`.
        FairpruneError: a format of torch that cannot be read without running code.
    """
    start = stream.read(512)
    stream.seek(0)
    if start[:2] == b"PK":
        return _open_zip(stream, size)
    if start[257:262] == b"ustar":
        raise Damaged("it has the format of torch before 0.1.10; load it there and save it again")
    if start.startswith(b"version https://git-lfs"):
        raise FairpruneError("a git-lfs pointer, not the file itself", hint="run `git lfs pull`")
    if start[:1] != b"\x80":
        if Path(str(getattr(stream, "name", ""))).suffix.lower() in (".csv", ".parquet"):
            raise FairpruneError("a table, not a model", hint="tables of predictions: audit --predictions FILE")
        raise Damaged("neither a torch nor a safetensors file")
    return _open_legacy(stream, size)


def _open_zip(stream: BinaryIO, size: int, inner: bool = False) -> TorchFile:
    archive = Archive(stream, size)
    members = archive.members
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        raise FairpruneError(
            "a TorchScript program, which cannot be read without running it",
            hint="where it was made, save the weights: torch.save(torch.jit.load(PATH).state_dict(), NEW)",
        )
    if "serialized_state_dict.pt" in members:  # torch.export.save before torch 2.7
        if inner:
            raise Damaged("it holds an exported program within an exported program")
        state = archive.member("serialized_state_dict.pt")
        return _open_zip(io.BytesIO(state), len(state), inner=True)
    if any(name.endswith(_WEIGHTS) for name in members):
        return TorchFile(exported_tensors(archive, _WEIGHTS), size, archive)
    if "data.pkl" not in members:
        raise Damaged("a zip archive, but not one that torch.save wrote")
    if "byteorder" in members and bytes(archive.member("byteorder")) != b"little":
        raise Damaged("it was written on a big-endian machine")
    limits.refuse_above(members["data.pkl"].file_size, "pickle_bytes", what="the pickle in it")
    return TorchFile(read_pickle(io.BytesIO(archive.member("data.pkl"))), size, archive)


def exported_tensors(archive: Archive, ending: str) -> dict[str, TensorRef]:
    """A table of tensors of an exported program, from whose folder the archive then reads.

    Args:
        ending: of the table's name; what is no tensor among its constants is left out.

    Raises:
        Damaged: the table is not sound, or a weight is stored as a pickle.
    """
    tables = [name for name in archive.members if name.endswith(ending)]
    if len(tables) != 1:
        raise Damaged("it holds several exported programs")
    archive.folder = tables[0].rpartition("/")[0]
    weights: dict[str, TensorRef] = {}
    for name, entry in json.loads(archive.member(tables[0]))["config"].items():
        if entry["tensor_meta"] is None and ending != _WEIGHTS:
            continue
        if entry["use_pickle"]:
            raise Damaged(f"weight {name[:60]!r} is of a kind that is stored as a pickle")
        meta = entry["tensor_meta"]
        size, stride = ([int(item["as_int"]) for item in meta[key]] for key in ("sizes", "strides"))
        offset = int(meta["storage_offset"]["as_int"])
        type_name = _EXPORTED.get(meta["dtype"], "unknown")
        if len(size) != len(stride) or len(size) > 64 or min([offset, *size, *stride]) < 0:
            raise Damaged(f"weight {name[:60]!r} has an impossible shape")
        storage = StorageRef(str(entry["path_name"]), type_name)
        weights[name] = TensorRef(storage, offset, tuple(size), tuple(stride), type_name)
    return weights


def _foreign(kind: str) -> FairpruneError | Damaged:
    """What to raise of a storage whose numbers no layer computes with."""
    if kind in _COMPLEX:
        return FairpruneError(
            f"it holds complex numbers ({kind}), and no layer that is supported computes with such",
            hint="save the network with real numbers; optimiser states and spectra need not be in the file",
        )
    return Damaged(f"it holds numbers of type {printable(kind, 40)}, which no classifier's weights have")


def _open_legacy(stream: BinaryIO, size: int) -> TorchFile:
    if read_pickle(stream, most=_FEW) != _MAGIC:
        raise Damaged("a plain pickle, not a file of torch.save")
    read_pickle(stream, most=_FEW)  # the format's version
    system = read_pickle(stream, most=_FEW)
    if not (isinstance(system, dict) and system.get("little_endian") is True):
        raise Damaged("it was written on a big-endian machine")
    types: dict[str, str] = {}
    root = read_pickle(stream, types)
    keys = read_pickle(stream, most=4 * len(types) + _FEW)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in types for key in keys):
        raise Damaged("its list of storages does not belong to its pickle")
    data: dict[str, bytearray] = {}
    for key in keys:
        if types[key] not in _TYPES:
            raise _foreign(types[key])
        (count,) = struct.unpack("<q", stream.read(8))
        length = count * _TYPES[types[key]].itemsize
        if not 0 <= length <= size - stream.tell():
            raise Damaged("its storages claim more bytes than the file has")
        data[key] = bytearray(stream.read(length))
    return TorchFile(root, size, Storages(data))
