"""The command in processes that are quick to start: forked from one that has imported torch and done nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_PRELOADED = ("run.prune", "commands.app", "report.console", "export", "report")
_context.set_forkserver_preload([*(f"fairprune_cli.{name}" for name in _PRELOADED), "tests.support.processes"])


@dataclass
class Started:
    """A running command; what it writes to stderr goes to a file."""

    process: ForkServerProcess
    log: Path

    def wait(self, seconds: float = 120.0) -> int:
        """The exit code, negative for a signal."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running: {self.err}"
        return self.process.exitcode

    @property
    def err(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal; nothing where it has ended already."""
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120.0, pause: float = 0.002) -> bool:
        """True once the condition holds, False if the process ends before; looked at every `pause` seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            if not self.process.is_alive():
                return False
            time.sleep(pause)
        raise AssertionError(f"nothing happened: {self.err}")


def call(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start `target(*arguments)`, a function of a module, in a process of its own."""
    process = _context.Process(target=target, args=arguments, daemon=True)
    # Without this the new process would first import the test runner's main module.
    main = sys.modules["__main__"]
    spec, main.__spec__ = main.__spec__, None
    file = main.__dict__.pop("__file__", None)
    try:
        process.start()
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file
    return process


def start(
    *arguments: str,
    cwd: Path,
    log: Path,
    env: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Started:
    """Run `fairprune ARGUMENTS` in a process of its own.

    Args:
        env: variables to set; the cache is that of this process.
        before: called in the new process before the command; can be pickled.
    """
    environment = {name: os.environ[name] for name in ("FAIRPRUNE_CACHE",) if name in os.environ} | (env or {})
    log.write_text("", encoding="utf-8")
    return Started(call(_child, arguments, str(cwd), str(log), environment, before), log)


def _child(
    arguments: tuple[str, ...], cwd: str, log: str, env: dict[str, str], before: Callable[[], None] | None
) -> None:
    os.chdir(cwd)
    os.environ.update(env)
    stream = os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND), "w", encoding="utf-8", buffering=1)
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    from fairprune_cli.__main__ import run

    assert threading.current_thread() is threading.main_thread()
    if before is not None:
        before()
    code = run(list(arguments))
    stream.flush()
    os._exit(int(code))


def ended(
    arguments: tuple[str, ...], cwd: Path, env: dict[str, str], folder: Path, timeout: float, stdin: str | None = None
) -> tuple[int, str, str]:
    """Run `fairprune ARGUMENTS` to its end, with streams that are no terminal.

    Args:
        env: the whole environment.
        folder: where the streams' files are kept meanwhile.
        stdin: what can be read from it; nothing where None.

    Returns:
        Exit code, what stands on stdout, what stands on stderr.
    """
    given, out, err = (folder / name for name in ("stdin", "stdout", "stderr"))
    given.write_text(stdin or "", encoding="utf-8")
    process = call(_whole, arguments, str(cwd), env, *map(str, (given, out, err)))
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"still running after {timeout:g} s: {err.read_text('utf-8')}")
    return process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")


def _whole(arguments: tuple[str, ...], cwd: str, env: dict[str, str], given: str, out: str, err: str) -> None:
    for number, path, how in ((0, given, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, how | (os.O_CREAT if number else 0)), number)
    # As a new interpreter would open them.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    warnings.resetwarnings()
    warnings.simplefilter("error", ResourceWarning)
    sys.argv = ["fairprune", *arguments]
    from fairprune_cli.__main__ import main

    code = 0
    try:
        main()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:  # what a shell would see of it
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)
