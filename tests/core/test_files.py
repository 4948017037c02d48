"""Names of files that every system takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_path, file_name, read_document, read_plain, refuse_taken


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model-bifp-2:4-0.5", "model-bifp-2-4-0.5"),
        ('a<b>c"d/e\\f|g?h*i', "a-b-c-d-e-f-g-h-i"),
        ("line\nend\x7f", "line-end-"),
        ("ends in a dot. ", "ends in a dot"),
        ("...", "-"),
        ("Größe 人", "Größe 人"),
    ],
)
def test_a_name_has_nothing_that_a_system_refuses(text: str, name: str) -> None:
    assert file_name(text) == name


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"no plain file|Is a directory"):
            read_plain(path, "yaml_bytes")
    with pytest.raises(FairpruneError, match="no plain file"):
        read_document(tmp_path / "pipe", "policy", str, "yaml_bytes", "")
    (tmp_path / "a").write_bytes(b"abc")
    assert read_plain(tmp_path / "a", "yaml_bytes") == b"abc"


def test_a_device_or_pipe_is_never_renamed_over(tmp_path: Path) -> None:
    """What is run as root would else turn /dev/null into a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(FairpruneError, match="is a pipe, device or socket") as refused:
            refuse_taken(path, force=True)
        assert refused.value.code == ExitCode.BAD_INPUT
        with pytest.raises(FairpruneError, match="is a pipe, device or socket"), atomic_path(path) as temporary:
            temporary.write_text("text")
    assert pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "holes.yaml", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FairpruneError, match=r"the file has 1,099,511,627,776 yaml bytes; at most 2,097,152 are read"):
        read_plain(tmp_path / "holes.yaml", "yaml_bytes")
