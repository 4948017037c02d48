"""What the machine refuses, memory or a file, in the words of an error of ours."""

from __future__ import annotations

import errno

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def fault_of_machine(error: BaseException) -> FairpruneError | None:
    """The error (exit code 3) that says what happened and how to mend it; None where it is a fault of the code."""
    if is_out_of_memory(error):
        return FairpruneError(
            "out of memory", hint="a smaller --batch-size, or another --device", code=ExitCode.RUNTIME
        )
    if (
        isinstance(error, OSError) and error.errno in _FULL and error.filename is None
    ):  # a stream, or a file that is open
        return FairpruneError(
            f"cannot write: {error.strerror}", code=ExitCode.RUNTIME, hint="check that the disk has room"
        )
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return FairpruneError(
            str(error.strerror), where=error.filename, code=ExitCode.RUNTIME,
            hint="check that it is there still, that its folder can be written and that the disk has room",
        )  # fmt: skip
    return None
