"""Ctrl-C, SIGTERM and SIGHUP: a request to stop at the next step in a loop that can, else an end that leaves nothing.

Outside of such a loop a signal ends the process on the spot, unless something has to be undone first (a file that is
half written, a lock, the cursor of the terminal): then it is raised as `Interruption`. What ends is said either way.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.launch import is_first

# SIGHUP, where there is one, is what a terminal sends that is closed: as final as SIGTERM.
CODES = {
    getattr(signal, name): code
    for name, code in (
        ("SIGINT", ExitCode.INTERRUPTED), ("SIGTERM", ExitCode.TERMINATED), ("SIGHUP", ExitCode.TERMINATED),
    )
    if hasattr(signal, name)
}  # fmt: skip
WORDS = {ExitCode.INTERRUPTED: "interrupted", ExitCode.TERMINATED: "terminated"}
_AGAIN_SECONDS = 0.01

Told = tuple[str, str]  # what was kept, and how to go on
_NOTHING_KEPT = "nothing was written", "run the same command again"


class Interruption(KeyboardInterrupt):
    """A signal that was raised.

    Attributes:
        code: what the process is to end with; kept, how: what to say of it.
    """

    def __init__(self, code: ExitCode, told: Told = _NOTHING_KEPT) -> None:
        super().__init__(WORDS[code])
        self.code = code
        self.kept, self.how = told

    def __str__(self) -> str:
        return f"{WORDS[self.code]}: {self.kept}" + (f"\n  to mend: {self.how}" if self.how else "")


class StopRequest:
    """Set by the first signal; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.code: ExitCode | None = None

    def __call__(self) -> bool:
        return self.code is not None


class _Now:
    """What a signal meets in this process.

    Attributes:
        to_undo: blocks that have to be left in order; whole: blocks that a signal does not cut.
        waiting: the signal that waits for the end of such a block; raised: the last one of this command.
        told: the outermost speaks.
    """

    def __init__(self) -> None:
        self.to_undo = self.whole = 0
        self.waiting: int | None = None
        self.raised: Interruption | None = None
        self.told: list[Callable[[], Told]] = []

    def words(self) -> Told:
        return self.told[0]() if self.told else _NOTHING_KEPT


_now = _Now()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _caught() -> list[int]:
    """The signals to catch; one that is to be ignored, as by nohup, still is. Ctrl-C is meant where it comes."""
    return [one for one in CODES if one == signal.SIGINT or signal.getsignal(one) != signal.SIG_IGN]


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch the signals for the length of the block (main thread only; elsewhere nothing is caught)."""
    request = StopRequest()
    if not _in_main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in _caught()}

    def handle(number: int, _: FrameType | None) -> None:
        request.code = CODES[signal.Signals(number)]
        for caught, handler in previous.items():
            signal.signal(caught, handler)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def signals_end_the_process() -> Iterator[None]:
    """A command: a signal ends it in words, never in a traceback, after what has to be undone (main thread only)."""
    if not _in_main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in _caught()}
    hook = sys.unraisablehook
    _now.raised = None
    for number in previous:
        signal.signal(number, _end)
    sys.unraisablehook = _raise_what_was_lost
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, handler)


def interruption_behind(error: BaseException) -> Interruption | None:
    """The signal that an error comes from, whatever other code made of it on its way; None where it comes from none."""
    if _now.raised is not None:
        return _now.raised
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return seen if isinstance(seen, Interruption) else Interruption(ExitCode.INTERRUPTED)
        seen = seen.__cause__ or seen.__context__
    return None


def _end(number: int, _: FrameType | None) -> None:
    if _now.whole:
        _now.waiting = number
        return
    code = CODES[signal.Signals(number)]
    ending = Interruption(code, _now.words())
    if _now.to_undo:
        _now.raised = ending
        raise ending
    end_at_once(str(ending) if is_first() else "", code)


def end_at_once(text: str, code: ExitCode) -> None:
    """Say `text`, if there is any, and end the process, whatever it is at."""
    with suppress(OSError):  # nobody may listen any more; the exit code still speaks
        os.write(2, f"error: {text}\n".encode(errors="replace") if text else b"")
    os._exit(code)


def _raise_what_was_lost(lost: Any) -> None:
    """A signal that came within a finaliser, where nothing can be raised, is raised a moment later."""
    if not isinstance(lost.exc_value, Interruption):
        sys.__unraisablehook__(lost)
    elif hasattr(signal, "setitimer"):
        number = next(one for one, code in CODES.items() if code == lost.exc_value.code)
        signal.signal(signal.SIGALRM, lambda *_: _end(number, None))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


@contextmanager
def to_be_undone() -> Iterator[None]:
    """A block that has to be left in order: a signal is raised in it."""
    _now.to_undo += 1
    try:
        yield
    finally:
        _now.to_undo -= 1


@contextmanager
def uncut() -> Iterator[None]:
    """A short block that a signal waits for."""
    _now.whole += 1
    try:
        yield
    finally:
        _now.whole -= 1
        if not _now.whole and _now.waiting is not None:
            number, _now.waiting = _now.waiting, None
            _end(number, None)


@contextmanager
def if_stopped(told: Callable[[], Told]) -> Iterator[None]:
    """A block of which `told` says, should a signal end it, what was kept and how to go on; the outermost speaks."""
    _now.told.append(told)
    try:
        yield
    finally:
        _now.told.remove(told)
