"""Whether an error means that memory ran out; torch says so in several ways, and on the CPU as a plain RuntimeError."""

from __future__ import annotations

import errno

_TEXTS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "std::bad_alloc",
    "could not create a primitive", "could not create a memory",  # oneDNN
    "cublas_status_alloc_failed", "cudnn_status_alloc_failed", "cusolver_status_alloc_failed",
    "unable to find an engine to execute this computation",  # cuDNN: no algorithm's workspace fits into what is left
    "can't start new thread", "failed to map segment",  # Python: no room for a stack, for a library
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """True for MemoryError, torch.OutOfMemoryError, and errors of the system or torch that say the same."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError | ImportError) and any(text in str(error).lower() for text in _TEXTS)
