"""ONNX Runtime in a process of its own, for graphs whose cost nobody can tell before they are run.

A loop may run 2^62 times, and a size may be computed from pixels. That process has so much address space and so many
seconds, and ends beyond; it ends with this one, too. A line of JSON and the bytes of arrays go to it and come back.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fairprune_cli.core import limits
from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.models.graphs.onnx_session import OwnSession, Value

_AT_ONCE = 16  # images, so that the seconds do not grow with the batch
_PER_THREAD = 80 << 20  # of address space for its stack and the allocator
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from fairprune_cli.models.graphs.onnx_served import serve; serve()"
)


class ServedSession:
    """A session in a process of its own, as `Session`."""

    def __init__(self, path: Path, beside: Sequence[Path], threads: int, cuda: int | None) -> None:
        """Open a file.

        Args:
            beside: files that hold its weights; threads, cuda: as of `OwnSession`.

        Raises:
            FairpruneError: it takes more memory or time than the limits `graph_bytes` and `graph_seconds`.
            RuntimeError: what ONNX Runtime says.
        """
        self._where, self._seconds = str(path), limits.limit("graph_seconds")
        weights = sum(one.stat().st_size for one in (path, *beside))
        # Weights are read, packed for the processor, and folded into others.
        space = limits.limit("graph_bytes") + 3 * weights + _PER_THREAD * threads
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _CODE, json.dumps(sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        )  # fmt: skip
        self._end = weakref.finalize(self, _killed, self._process)
        order = {
            "path": str(path.absolute()), "threads": threads, "cuda": cuda, "seconds": self._seconds,
            "space": space if cuda is None else None,  # drivers of GPUs reserve terabytes
        }  # fmt: skip
        told, _ = self._asked(order, [])
        if "memory" in told:
            raise self._beyond("graph_bytes")
        self.inputs, self.outputs = ([Value(n, k, tuple(s)) for n, k, s in told[end]] for end in ("inputs", "outputs"))
        self._at_once = _AT_ONCE

    def run(self, names: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As `Session.run`, some images at a time."""
        ((name, images),) = given.items()
        free = self.inputs[0].sizes[:1] == (None,)
        parts: list[list[np.ndarray]] = []
        start, count = 0, max(len(images), 1)
        while start < count:
            step = min(self._at_once, count) if free else count
            part = images[start : start + step]
            answer, found = self._asked({"names": list(names), "input": name}, [part])
            if "memory" not in answer:
                parts.append(found)
                start += step
            elif step > 1 and free:
                self._at_once = step // 2
            else:
                raise self._beyond("graph_bytes")
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(tables) for tables in zip(*parts, strict=True)]

    def _asked(self, question: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> tuple[Any, list[np.ndarray]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        begun = time.monotonic()
        try:
            _write(self._process.stdin, question, arrays)
            answer, found = _read(self._process.stdout)
        except (OSError, EOFError, ValueError):
            self._end()
            late = time.monotonic() - begun >= self._seconds
            raise self._beyond("graph_seconds" if late else "graph_bytes") from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer, found

    def _beyond(self, name: str) -> FairpruneError:
        most = limits.limit(name)
        taken = f"{most >> 20:,} MiB" if name == "graph_bytes" else f"{most:,} seconds for at most {_AT_ONCE} images"
        return FairpruneError(
            f"the graph takes more than {taken}", where=self._where,
            hint="audit its predictions, made where it runs, with --predictions; "
            + limits.how_to_raise(2 * most, name),
        )  # fmt: skip


def _killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def serve() -> None:
    """Open the graph that the first question names and run it for those that follow, until there is none."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks says what is to be
    questions, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    order, _ = _read(questions)
    session: OwnSession | None = None
    asked = order
    arrays: list[np.ndarray] = []
    with open(os.devnull, "wb") as nowhere:
        while True:
            faulthandler.dump_traceback_later(order["seconds"], exit=True, file=nowhere)
            said: dict[str, Any] = {}
            found: list[np.ndarray] = []
            try:
                if session is None:
                    session = _opened(order)
                    for end in ("inputs", "outputs"):
                        said[end] = [(one.name, one.kind, one.sizes) for one in getattr(session, end)]
                else:
                    found = session.run(asked["names"], {asked["input"]: arrays[0]})
                    if any(table.dtype.hasobject for table in found):
                        raise ValueError("it gives texts")
            except BaseException as error:
                text = said_by(error)
                said = {"memory" if _is_memory(error, text) else "error": text}
            faulthandler.cancel_dump_traceback_later()
            _write(answers, said, found)
            try:
                asked, arrays = _read(questions)
            except EOFError:
                return


def _opened(order: Mapping[str, Any]) -> OwnSession:
    import onnxruntime  # noqa: F401 - its own address space does not count

    if order["space"] is not None:
        _bound_memory(order["space"])
    return OwnSession(Path(order["path"]), order["threads"], order["cuda"], arena=False)


def _bound_memory(more: int) -> None:
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (ImportError, OSError):  # not Linux
        return
    space = pages * resource.getpagesize() + more
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]  # whoever started this one may have set one
    space = space if hard == resource.RLIM_INFINITY else min(space, hard)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _is_memory(error: BaseException, text: str) -> bool:
    return is_out_of_memory(error) or any(sign in text for sign in ("bad_alloc", "ailed to allocate", "length_error"))


def _write(stream: IO[bytes], told: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    forms = [(array.dtype.str, array.shape) for array in arrays]
    stream.write(json.dumps({**told, "arrays": forms}).encode() + b"\n")
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[Any, list[np.ndarray]]:
    line = stream.readline()
    if not line:
        raise EOFError
    told, arrays = json.loads(line), []
    for kind, shape in told["arrays"]:
        array = np.empty(shape, kind)
        if array.size and stream.readinto(memoryview(array).cast("B")) != array.nbytes:  # type: ignore[attr-defined,arg-type]
            raise EOFError
        arrays.append(array)
    return told, arrays
