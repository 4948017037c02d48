"""Locks between processes: waited for or not, never held by the dead, and none needed to import the package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fairprune_cli.core.locks import InUse, holder, locked, refuse_in_use, written_alone

HOLD = """
import sys, time
from pathlib import Path
from fairprune_cli.core.locks import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""

FORK = """
import os, sys, time
from pathlib import Path
from fairprune_cli.core.locks import locked
with locked(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)  # the child itself: by then it has given up what it inherited
    time.sleep(60)
"""

WITHOUT_FCNTL = """
import importlib, pkgutil, sys
import torch, torchvision  # what other packages do with it is theirs to answer for
for name in [name for name in sys.modules if name.split(".")[0] == "filelock"]:
    del sys.modules[name]  # torch has it too
sys.modules["fcntl"] = None
import fairprune_cli
for module in pkgutil.walk_packages(fairprune_cli.__path__, "fairprune_cli."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("fairprune_cli.")]))
"""


def test_a_lock_is_refused_or_waited_for_and_its_file_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    path.write_text("left behind")
    with locked(path) as held:
        assert held
        with locked(path, wait=False) as again:  # in one process too
            assert not again
        with pytest.raises(RuntimeError, match="Deadlock"), locked(path):
            pass
    with locked(path, wait=False) as held:
        assert held


def test_who_waits_gets_it_when_it_is_given_back(tmp_path: Path) -> None:
    path, order = tmp_path / "one.lock", []

    def wait() -> None:
        with locked(path) as held:
            order.append(f"second {held}")

    thread = threading.Thread(target=wait)
    with locked(path):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second True"]


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with locked(path, wait=False) as held:
            assert not held
    finally:
        other.kill()
        other.wait()
    with locked(path, wait=False) as held:
        assert held


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    other = subprocess.Popen([sys.executable, "-c", FORK, str(path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    child = int(other.stdout.readline())
    other.kill()
    other.wait()
    try:
        with locked(path, wait=False) as held:
            assert held
    finally:
        os.kill(child, signal.SIGKILL)


def test_every_module_can_be_imported_on_a_system_without_fcntl() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_FCNTL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize("folder", [False, True])
def test_who_writes_a_thing_is_named_to_a_second_and_leaves_no_lock(folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "made" / "thing"
    with written_alone(path, folder):
        for attempt in (refuse_in_use, lambda path, folder: written_alone(path, folder).__enter__()):
            with pytest.raises(InUse) as refused:
                attempt(path, folder)
            for word in (f"process {os.getpid()} on ", " since 20", "fairprune"):
                assert word in refused.value.what
    assert not path.parent.exists()  # nothing was written
    with written_alone(path, folder):
        (path / "x" if folder else path).write_text("x")
    assert [one.name for one in path.parent.rglob("*") if one.is_file()] == ["x" if folder else "thing"]


def test_a_lock_of_the_dead_refuses_nobody(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text('{"pid": 1, "host": "gone"}')
    refuse_in_use(tmp_path, folder=True)
    with written_alone(tmp_path, folder=True):
        assert f"process {os.getpid()} on " in holder(tmp_path / ".lock")
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_holder_that_cannot_be_read_is_another_process(content: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(content)
    assert holder(tmp_path / "x") == "another process"
