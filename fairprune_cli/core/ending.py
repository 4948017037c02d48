"""How a process of the command line ends: with its own exit code, whatever a library's threads and handlers are at."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.signals import CODES, end_at_once

_GAVE_UP = (
    "a library ended the process: the machine gives it no more memory or threads\n"
    "  to mend: fewer threads (--set threads=1, OMP_NUM_THREADS=1), or more memory"
)
_kept: list[Any] = []  # what C calls must live as long as the process


def name_exits_of_libraries() -> None:
    """Give the exits of C libraries a code and a sentence of ours, from now on.

    Libraries that can go no further (libgomp without threads, OpenBLAS without memory) call `exit(1)`, which would
    read as a gate that failed. What was registered last is called first, so this is called again once they are loaded.
    The process must end by `leave`, as the interpreter that this calls back is gone after it has ended by itself.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):  # other systems have other libraries

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def ended(_: object) -> None:
            end_at_once(_GAVE_UP, ExitCode.RUNTIME)

        register = getattr(ctypes.CDLL(None), "__cxa_atexit")
        register.argtypes = [type(ended), ctypes.c_void_p, ctypes.c_void_p]
        _kept.append(ended)
        register(ended, None, None)


def exits_are_named() -> bool:
    """Whether this is a process whose exits of libraries are given a code."""
    return bool(_kept)


def leave(code: int) -> None:
    """End the process: wait for threads and run what was registered for its end, as Python would, and no more."""
    ours: Callable[[int, Any], None] = lambda number, _: os._exit(CODES[signal.Signals(number)])  # noqa: E731
    for number in CODES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, ours)
    try:
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
