"""More threads than the machine gives are refused in words; the library that would start them ends the process."""

from __future__ import annotations

import threading

import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.parallel import MOST_THREADS, refuse_too_many


def test_threads_that_the_system_starts_are_taken() -> None:
    before = threading.active_count()
    refuse_too_many(64, "--set threads")
    assert threading.active_count() == before


def test_too_many_threads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FairpruneError, match=f"{MOST_THREADS + 1} threads are more than {MOST_THREADS}"):
        refuse_too_many(MOST_THREADS + 1, "--set threads")
    start, started = threading.Thread.start, list[threading.Thread]()

    def few(self: threading.Thread) -> None:
        if len(started) == 5:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(FairpruneError, match="64 threads are more than the 5 that the system starts here"):
        refuse_too_many(64, "--set threads")
    assert not any(thread.is_alive() for thread in started)
