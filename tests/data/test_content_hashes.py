"""Hashes of image files: what is no plain file is never waited for, and what has not changed is not read again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from fairprune_cli.core.files import TICK
from fairprune_cli.data.content_hashes import content_hashes


def test_hashes_are_the_first_bytes_of_sha256_and_zeros_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for somebody who writes
    names = ["a.png", "pipe.png", "zero\0byte.png", "/dev/zero", "absent.png", "x" * 300 + ".png"]
    found = content_hashes(str(tmp_path), names)
    assert found[0].tobytes() == hashlib.sha256(b"a").digest()[:16]
    assert not found[1:].any()


def test_files_are_read_again_only_where_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    names = ["a.png", "b.png", "absent.png"]
    monkeypatch.setattr("time.time_ns", lambda: max(os.stat(tmp_path / n).st_ctime_ns for n in names[:2]) + 2 * TICK)
    first = content_hashes(str(tmp_path), names)
    (tmp_path / "b.png").write_bytes(b"changed since")
    known = content_hashes(str(tmp_path), names, read=False)
    assert np.array_equal(known[0], first[0])
    assert not known[1:].any()
    again = content_hashes(str(tmp_path), names)
    assert again[1].tobytes() == hashlib.sha256(b"changed since").digest()[:16]
