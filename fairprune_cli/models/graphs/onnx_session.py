"""ONNX Runtime at work on a file, in this process; without torch, as the process that is bounded has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Value:
    """An input or output.

    Attributes:
        kind: as in "tensor(float)"; sizes: None where one is left free.
    """

    name: str
    kind: str
    sizes: tuple[int | None, ...] = ()


class Session(Protocol):
    """A graph that is ready to run."""

    @property
    def inputs(self) -> Sequence[Value]:
        """What it takes."""

    @property
    def outputs(self) -> Sequence[Value]:
        """What it gives."""

    def run(self, names: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs of these names.

        Raises:
            Exception: of any kind, as the runtime has many.
        """
        raise NotImplementedError


class OwnSession:
    """A session in this process."""

    def __init__(self, path: Path, threads: int, cuda: int | None, arena: bool = True) -> None:
        """Open a file.

        Args:
            threads: that one operator may use; cuda: index of the GPU, None for the CPU.
            arena: whether memory is kept for later, more than is in use.

        Raises:
            Exception: of any kind, as the runtime has many.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = arena
        options.log_severity_level = 4  # what is wrong is raised
        options.add_session_config_entry("session.load_model_format", "ONNX")
        usual: list[Any] = ["CPUExecutionProvider"]
        if cuda is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            usual.insert(0, ("CUDAExecutionProvider", {"device_id": cuda}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=usual)
        self.inputs, self.outputs = (
            [Value(one.name, one.type, tuple(s if isinstance(s, int) and s > 0 else None for s in one.shape))
             for one in ends]
            for ends in (self._session.get_inputs(), self._session.get_outputs())
        )  # fmt: skip

    def run(self, names: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As `Session.run`."""
        found: list[np.ndarray] = self._session.run(list(names), dict(given))
        return found
