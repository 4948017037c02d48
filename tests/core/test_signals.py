"""Signals: raised where something is to be undone, waited for in short blocks, else the end; always in words."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.signals import (
    Interruption,
    if_stopped,
    signals_end_the_process,
    stop_on_signals,
    to_be_undone,
    uncut,
)

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


def ended(body: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a process whose signals end it."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    program = (
        "import signal\nfrom fairprune_cli.core.signals import *\n"
        f"with signals_end_the_process():\n{lines}\nprint('went on')\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def cut(number: signal.Signals, undone: list[str]) -> None:
    with signals_end_the_process(), if_stopped(lambda: ("some", "go on so")), to_be_undone():
        try:
            signal.raise_signal(number)
            undone.append("nothing")
        finally:
            undone.append("the rest")


def not_cut(number: signal.Signals, reached: list[str]) -> None:
    with signals_end_the_process(), to_be_undone():
        with uncut():
            signal.raise_signal(number)
            reached.append("its end")
        reached.append("what follows")


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_is_a_request_in_a_loop_and_is_raised_where_something_is_to_be_undone(
    number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        signal.raise_signal(number)
    assert stop.code == code
    undone: list[str] = []
    with pytest.raises(Interruption) as raised:
        cut(number, undone)
    assert undone == ["the rest"]
    assert raised.value.code == code
    assert str(raised.value).endswith(": some\n  to mend: go on so")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "code"), CODES)
def test_where_nothing_is_to_be_undone_a_signal_is_the_end(number: signal.Signals, code: int) -> None:
    done = ended(f"try:\n    signal.raise_signal({number.value})\nexcept BaseException:\n    print('raised')")
    assert done.returncode == code
    assert done.stdout == ""
    word = "interrupted" if code == ExitCode.INTERRUPTED else "terminated"
    assert done.stderr == f"error: {word}: nothing was written\n  to mend: run the same command again\n"


def test_a_short_block_is_not_cut() -> None:
    reached: list[str] = []
    with pytest.raises(Interruption):
        not_cut(signal.SIGTERM, reached)
    assert reached == ["its end"]


def test_a_signal_within_a_finaliser_is_not_lost() -> None:
    done = ended(
        "import time\nclass Last:\n    def __del__(self):\n        signal.raise_signal(signal.SIGTERM)\n"
        "with to_be_undone():\n    try:\n        Last()\n        time.sleep(30)\n"
        "    except Interruption as stopped:\n        end_at_once('undone', stopped.code)"
    )
    assert (done.returncode, done.stderr) == (143, "error: undone\n")


def test_what_is_to_be_ignored_still_is() -> None:
    done = ended("pass\nsignal.raise_signal(signal.SIGTERM)")
    assert done.returncode == 143
    program = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    program += "from fairprune_cli.core.signals import *\nwith signals_end_the_process():\n"
    program += "    signal.raise_signal(signal.SIGHUP)\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n")
