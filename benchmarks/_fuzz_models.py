"""The readers of models for benchmarks/fuzz.py: checkpoints of all forms, the model file by all granularities, graphs,
and the settings of a run folder, mutated by structure: the file stays a valid zip, pickle, JSON or protobuf, and one
value in it is odd.

Each is read as `inspect`, `audit` and `--resume` read it, in a process that notes what it imports and starts.
None may end in an internal error, take a minute or two gigabytes, start a program, or import what the file names.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from benchmarks._fuzz_child import Child, Lost, memory
from benchmarks._fuzz_models_by_hand import by_hand
from benchmarks._fuzz_models_mutations import STRUCTURED
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.pruning.masks import TwoOfFourMasks

SECONDS, LIMIT = 60, 2 << 30
_OWN = "fairprune_cli.models.graphs.onnx_served"  # runs what shapes do not bound
SPACE = 6 << 30  # address space beyond what the process has at the start
ARCHITECTURE = "resnet10-w16"
_RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn", "os.startfile", "socket.connect")
TRANSFORM = {"size": 40, "mean": [0.5] * 3, "std": [0.25] * 3}


def write_files(folder: Path, sound: dict[str, Path]) -> dict[str, Path]:
    """The sound files of benchmarks/fuzz.py and more: wrapped, 2:4, ONNX, and a run's config.yaml."""
    model = architectures.build(ARCHITECTURE, 2, seed=0).eval()
    files = dict(sound)
    files["wrapped"] = folder / "wrapped.pt"
    parallel = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict()
    classes = {"idx_to_class": {0: "a", 1: "b"}, "args": {"lr": 0.1, "arch": ARCHITECTURE}, "epoch": 3}
    torch.save({"state_dict": parallel, "optimizer": optimiser, "ema": parallel, **classes}, files["wrapped"])
    pattern = architectures.build(ARCHITECTURE, 2, seed=0).eval()
    masks = TwoOfFourMasks(pattern)
    masks.apply(masks.select(masks.magnitude(), 0.5))
    files["2:4"] = folder / "pattern.safetensors"
    header = codec.ModelHeader(ARCHITECTURE, ("a", "b"), TRANSFORM, "2:4", {})
    codec.save_model(files["2:4"], pattern, header=header, masks=masks.entries(masks.keep))
    with contextlib.suppress(ImportError):
        files["onnx"] = _onnx(folder / "graph.onnx", model)
    files["config"] = _run_folder(folder / "run") / "config.yaml"
    return files


def _onnx(path: Path, model: nn.Module) -> Path:
    import onnx  # noqa: F401

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 40, 40),), str(path), dynamo=False, opset_version=17)
    return path


def _run_folder(folder: Path) -> Path:
    from fairprune_cli.run.options import resolve

    folder.mkdir()
    inputs = {"model": "m.pt", "model_sha256": "0", "manifest": "m.yaml", "manifest_sha256": "0", "trust": "False"}
    document = {"inputs": inputs, "settings": resolve({}, {}, None).document()}
    (folder / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


# --- reading in a process of its own --------------------------------------------------------------------------------


def read(kind: str, path: Path) -> None:
    """Read a file as the commands do."""
    from fairprune_cli.commands.inspect import inspected
    from fairprune_cli.data.manifest.transform import Transform
    from fairprune_cli.models import measure
    from fairprune_cli.models.graphs.load import is_graph, load_graph
    from fairprune_cli.run.config_file import read_config_of
    from fairprune_cli.run.folder import RunFolder

    if kind == "config":
        RunFolder.resume(path.parent, {})
        read_config_of(path.parent)
    elif kind == "onnx" or (kind == "program" and is_graph(path)):
        loaded = load_graph(path, torch.device("cpu"))
        transform = Transform.from_dict(loaded.transform or TRANSFORM, str(path))
        loaded.model.accept(transform, str(path))  # type: ignore[operator]
        measure.macs(loaded.model, transform.shape)
        loaded.model(torch.ones(4, transform.shape.channels, transform.shape.height, transform.shape.width))
    else:
        inspected(path, None, False, None, None)


def answer_paths(pipe: Connection, folder: str) -> None:
    """Read each (kind, path) that comes through the pipe; answer with (outcome, what it said, bytes needed)."""
    os.chdir(folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if (event.startswith(_RUNS) and _OWN not in str(arguments)) or (
            event == "import" and "evil" in str(arguments[0])
        ):
            seen.append(f"{event} {arguments[:1]}")

    sys.addaudithook(hook)
    # importlib's own import is not audited: a module that notes it lies where one of the user's would be found.
    Path("evil.py").write_text("import os\nos.system('true')\ndef make(n): pass\n")
    sys.path.insert(0, folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * os.sysconf("SC_PAGE_SIZE") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while (asked := pipe.recv()) is not None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
        try:
            read(*asked)
            outcome, said = "loaded", ""
        except FairpruneError as error:
            outcome = "refused" if error.code == ExitCode.BAD_INPUT else f"exit code {int(error.code)}"
            said = str(error)
        except BaseException as error:
            outcome, said = "another exception", f"{type(error).__name__}: {error}"
        needed = memory("VmHWM") - before
        if seen:
            outcome, said = "code of the file ran", seen.pop()
        elif outcome == "refused" and needed > LIMIT:
            outcome = "over the limit"
        pipe.send((outcome, said[:300], needed))


def run(
    count: int, seed: int, folder: Path, sound: dict[str, Path], hand: bool = True
) -> Iterator[tuple[str, str, str, str, int]]:
    """(kind, mutation, outcome, what it said, bytes needed) of the files made by hand and `count` mutated ones.

    Args:
        sound: files by kind; more are written into the folder.
        hand: whether those made by hand are read too.
    """
    files = write_files(folder, sound)
    contents = {name: path.read_bytes() for name, path in files.items()}
    child = Child(answer_paths, folder, SECONDS)
    for name, path in files.items():
        yield (name, "none", *_read(child, name, path))
    for name, what, data in by_hand(contents) if hand else ():
        yield (name, f"by hand: {what}", *_read(child, name, _put(files[name], data)))
    kinds = [(name, mutate) for name in files for mutate in STRUCTURED[name]]
    for i in range(count):
        name, mutate = kinds[i % len(kinds)]
        data = mutate(contents[name], random.Random(f"{seed} {i}"))
        yield (name, "by structure", *_read(child, name, _put(files[name], data)))
    child.end()


def _read(child: Child, kind: str, path: Path) -> tuple[str, str, int]:
    """What came of the file, what was said, and the bytes needed."""
    try:
        outcome, said, needed = child.ask((kind, path))
    except Lost as lost:
        return lost.outcome, lost.said, 0
    return outcome, said, needed


def _put(path: Path, data: bytes) -> Path:
    target = path if path.name == "config.yaml" else path.with_stem("mutated")
    target.write_bytes(data)
    return target
