"""Ctrl-C and SIGTERM as a request to stop at the next step, so that the state can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fairprune_cli.core.errors import ExitCode


class StopRequest:
    """Set by the first signal; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.code: ExitCode | None = None

    def __call__(self) -> bool:
        return self.code is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM for the length of the block (main thread only; elsewhere nothing is caught)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    codes = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
    previous = {number: signal.getsignal(number) for number in codes}

    def handle(number: int, _: FrameType | None) -> None:
        request.code = codes[signal.Signals(number)]
        for caught, handler in previous.items():
            signal.signal(caught, handler)

    for number in codes:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
