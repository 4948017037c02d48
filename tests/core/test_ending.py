"""How the process ends: exits of C libraries are no failed gates, and what was registered for the end is done."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = "import atexit, ctypes, os, signal, sys, threading\nfrom fairprune_cli.core.ending import *\n"


def ended(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + body], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="another C library")
def test_a_library_that_gives_up_ends_with_a_code_of_ours() -> None:
    done = ended("name_exits_of_libraries()\nctypes.CDLL(None).exit(1)")
    assert done.returncode == 3
    assert "a library ended the process" in done.stderr


@pytest.mark.parametrize("code", [0, 1, 4])
def test_a_process_that_leaves_has_its_own_code_and_does_what_was_registered(code: int) -> None:
    body = "name_exits_of_libraries()\natexit.register(print, 'registered')\n"
    body += "threading.Timer(0.2, print, ['thread']).start()\n"
    done = ended(body + f"leave({code})")
    assert done.returncode == code
    assert done.stdout == "thread\nregistered\n"
    assert done.stderr == ""


def test_a_signal_while_it_leaves_is_no_traceback() -> None:
    caught = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # where whoever began this ignores it
    done = ended(f"{caught}atexit.register(signal.raise_signal, signal.SIGINT)\nleave(0)")
    assert (done.returncode, done.stderr) == (130, "")
