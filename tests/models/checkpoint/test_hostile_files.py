"""Files made to do harm: a sample of benchmarks/fuzz.py, YAML that names classes, and headers that promise too much."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models.checkpoint.inert import Copies, Global, Inert, PickleError, StorageRef, make
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.checkpoint.numpy_arrays import tensor_of_array
from fairprune_cli.models.checkpoint.unpickle import read_pickle
from fairprune_cli.run.options import resolve

FUZZ = Path(__file__).parents[3] / "benchmarks" / "fuzz.py"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_mutated_files_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    assert spec is not None
    assert spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    seen = list(fuzz.run(112, 1, tmp_path, programs=False))
    assert [row for row in seen if row[2] not in fuzz.GOOD] == []
    assert {row[2] for row in seen if row[1] == "none"} == {"loaded"}
    assert sum(row[2] == "refused" for row in seen) > 60
    odd = list(fuzz._fuzz_models.run(60, 1, tmp_path, fuzz.write_files(tmp_path, programs=False), hand=False))
    assert [row for row in odd if row[2] not in fuzz.GOOD] == []
    assert {row[2] for row in odd if row[1] == "none"} == {"loaded"}
    assert sum(row[2] == "refused" for row in odd) > 30


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch canary']", "!!python/name:os.system", "!x 1"])
def test_yaml_makes_no_objects(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(f"lr: {tag}\n")
    (tmp_path / "manifest.yaml").write_text(f"version: 1\nname: {tag}\nformat: folder\nroot: .\n")
    with pytest.raises(FairpruneError):
        resolve({}, {}, tmp_path / "config.yaml")
    with pytest.raises(FairpruneError):
        load_manifest(tmp_path / "manifest.yaml")
    assert not (tmp_path / "canary").exists()


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A YAML of a few lines whose values, written out, would be a billion."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)]
    text = "\n".join(lines) + "\n"
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "manifest.yaml").write_text("version: 1\nname: x\n" + text)
    with pytest.raises(FairpruneError):
        resolve({}, {}, tmp_path / "config.yaml")
    with pytest.raises(FairpruneError):
        load_manifest(tmp_path / "manifest.yaml")


@pytest.mark.parametrize("claim", [[1 << 40], [1 << 20, 1 << 20], [-1, 4], [1 << 62, 4]])
def test_a_header_that_promises_more_than_the_file_has(claim: list[int], tmp_path: Path) -> None:
    entry = {"encoding": "gaps", "shape": claim, "dtype": "F32", "kept": 0}
    metadata = {
        "format": "fairprune", "format_version": "1", "architecture": "resnet18", "classes": '["a","b"]',
        "transform": "{}", "granularity": "weight", "removed": "{}", "encodings": json.dumps({"conv1.weight": entry}),
    }  # fmt: skip
    table = {
        "__metadata__": metadata,
        "conv1.weight.gaps": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]},
        "conv1.weight.values": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
    }
    header = json.dumps(table).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FairpruneError):
        load_model(path)


def test_a_device_file_or_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    pipe = tmp_path / "model.pt"
    os.mkfifo(pipe)
    with pytest.raises(FairpruneError, match="not a regular file"):
        load_model(pipe)


def test_networks_that_share_what_is_in_them_cost_no_more_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file of a thousand networks with the same hundred modules in each."""
    monkeypatch.setattr("fairprune_cli.models.checkpoint.weight_tables._MAX_MODULES", 1000)
    inner = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(100)))
    torch.save([torch.nn.Sequential(inner) for _ in range(60)], tmp_path / "c.pt")
    with pytest.raises(FairpruneError, match="more than 1000 modules"):
        load_model(tmp_path / "c.pt")


def test_arrays_that_share_their_bytes_are_copied_within_the_files_size(tmp_path: Path) -> None:
    class Reconstructed:
        """Pickles as an array of a megabyte that a thousand others are as well."""

        data = bytes(1 << 20)

        def __reduce__(self) -> tuple[Any, ...]:
            made, arguments, _ = np.zeros(1, np.float64).__reduce__()
            return made, arguments, (1, (1 << 17,), np.dtype("f8"), False, self.data)

    torch.save({f"layer{i}.weight": Reconstructed() for i in range(1000)}, tmp_path / "c.pt", pickle_protocol=4)
    with pytest.raises(FairpruneError, match="claim more bytes than the file"):
        load_model(tmp_path / "c.pt")


def test_text_becomes_bytes_once(tmp_path: Path) -> None:
    """`_codecs.encode` is how torch.save writes bytes; called again and again on one text it would fill the memory."""
    text = b"X" + struct.pack("<I", 1 << 16) + b"a" * (1 << 16) + b"q\x01"
    calls = b"c_codecs\nencode\nq\x02" + text + b"00" + b"h\x02h\x01X\x06\x00\x00\x00latin1\x86R" * 50
    with pytest.raises(PickleError, match="more bytes than it has"):
        read_pickle(io.BytesIO(calls + b"."))


@pytest.mark.parametrize("shape", [(0, 1 << 62), (0, 1 << 4000), (1 << 4000,) * 64, (1,) * 65, (-1, 0)])
def test_an_array_of_an_impossible_shape_is_none(shape: tuple[int, ...]) -> None:
    kind = Inert(Global("numpy", "dtype"), ("f4",), (3, "<"))
    origin = Global("numpy.core.multiarray", "_reconstruct")
    assert tensor_of_array(Inert(origin, (), (1, shape, kind, False, b""))) is None


@pytest.mark.parametrize("changed", [{"size": (1 << 4000,) * 64}, {"stride": (1 << 62, 1)}, {"offset": 1 << 4000}])
def test_numbers_of_a_tensor_that_no_memory_has_are_refused_before_they_are_multiplied(changed: dict[str, Any]) -> None:
    told = {"storage": StorageRef("0", "FloatStorage"), "offset": 0, "size": (2, 2), "stride": (2, 1), **changed}
    told["stride"] = (1,) * len(told["size"]) if "size" in changed else told["stride"]
    with pytest.raises(PickleError, match="impossible shape"):
        make(Global("torch._utils", "_rebuild_tensor_v2"), tuple(told.values()), Copies())
