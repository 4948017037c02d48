"""A process that does what may end it, and what it needed of the machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class Lost(Exception):
    """There is no answer.

    Attributes:
        outcome: "over a minute" or "crash"; said: how the process ended.
    """

    def __init__(self, outcome: str, said: str = "") -> None:
        super().__init__(outcome)
        self.outcome, self.said = outcome, said


class Child:
    """A process that answers one question after another; another one takes its place where it ends or takes too long.

    Args:
        answers: what it runs, with the pipe that questions come by and answers go, None being the last; and the folder.
        seconds: that an answer may take.
    """

    def __init__(self, answers: Callable[[Connection, str], None], folder: Path, seconds: float) -> None:
        self.answers, self.folder, self.seconds = answers, folder, seconds
        self._begin()

    def _begin(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=self.answers, args=(theirs, str(self.folder)), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, question: Any) -> Any:
        """Its answer.

        Raises:
            Lost: it gave none.
        """
        self.pipe.send(question)
        try:
            if self.pipe.poll(self.seconds):
                return self.pipe.recv()
            self.process.kill()
            lost = Lost("over a minute")
        except EOFError:
            lost = Lost("crash")
        self.process.join()
        lost.said = f"exit code {self.process.exitcode}" if lost.outcome == "crash" else ""
        self._begin()
        raise lost

    def end(self) -> None:
        """No further question comes."""
        self.pipe.send(None)
        self.process.join(10)


def memory(name: str) -> int:
    """A figure of /proc/self/status such as VmHWM, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
