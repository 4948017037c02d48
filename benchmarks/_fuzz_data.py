"""The readers of data for benchmarks/fuzz.py: settings, policies, manifests, tables, predictions, reports, caches,
images and shards, each through the command that a user would give.

A sound file of every kind is accepted. Then it is mutated, and files made by hand are put in its place. None may end in
an internal error, take a minute or two gigabytes, start a program, or import a module that lies beside it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import _fuzz_data_files as made_by_hand
from benchmarks._fuzz_child import Child, Lost, memory
from fairprune_cli.__main__ import run as run_command
from tests.support import data_fuzz, reports, shards

SECONDS, LIMIT = 60, 2 << 30
SPACE = 6 << 30  # address space beyond what the process has at the start
CANARY, MODULE = "code-has-run", "lies_beside"
GOOD = ("accepted", "refused", "inconclusive", "gate failed")
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}), "jpeg-progressive": ("JPEG", {"progressive": True}), "png": ("PNG", {}),
    "png-16": ("PNG", {"mode": "I;16"}), "png-palette": ("PNG", {"mode": "P"}), "gif": ("GIF", {}),
    "tiff": ("TIFF", {}), "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}), "bmp": ("BMP", {}), "ico": ("ICO", {}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_deflate"}), "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "ppm": ("PPM", {}), "webp": ("WEBP", {}), "avif": ("AVIF", {}), "jpeg2000": ("JPEG2000", {}), "tga": ("TGA", {}),
    "tga-rle": ("TGA", {"compression": "tga_rle"}), "pcx": ("PCX", {}), "sgi": ("SGI", {}), "dib": ("DIB", {}),
    "qoi": ("QOI", {}),
}  # fmt: skip
_CODES = {0: "accepted", 1: "gate failed", 2: "refused", 4: "inconclusive"}
_RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn", "os.startfile")
_GATED = ("settings", "policy", "predictions")


@dataclass(frozen=True)
class Case:
    """A sound file, and the command that reads it."""

    path: Path
    command: tuple[str, ...]
    mutate: Callable[[bytes, random.Random], bytes]


def cases(folder: Path) -> dict[str, Case]:
    """A sound file of every kind in a folder, by the kind."""
    found: dict[str, Case] = {}
    for kind in data_fuzz.HEADS:
        root = folder / kind
        root.mkdir(parents=True)
        data_fuzz.make(kind, root)
        found[f"manifest-{kind}"] = Case(root / "manifest.yaml", ("data", "check", str(root)), text)
    table = folder / "table"
    found["csv"] = Case(table / "t.csv", ("data", "check", str(table)), text)
    predictions = table / "p.csv"
    rows = [line.split(",")[0] for line in (table / "t.csv").read_text().splitlines()[1:]]
    predictions.write_text("file,predicted\n" + "".join(f"{row},{('neutral', 'smiling')[i % 3 == 0]}\n"
                                                        for i, row in enumerate(rows)))  # fmt: skip
    audit = ("audit", "--data", str(table), "--predictions")
    found["predictions"] = Case(predictions, (*audit, str(predictions)), text)
    for name, content in (("settings", made_by_hand.SETTINGS), ("policy", made_by_hand.POLICY)):
        path = folder / f"{name}.yaml"
        path.write_text(content)
        flag = "--config" if name == "settings" else "--policy"
        found[name] = Case(path, (*audit, str(predictions), flag, str(path)), text)
    with contextlib.suppress(ImportError):
        _parquet(folder, found, audit)
    shards.sharded(folder / "shards")
    found["shard"] = Case(folder / "shards" / "train-0001.tar", ("data", "check", str(folder / "shards")), data_bytes)
    report = folder / "report.json"
    report.write_text(json.dumps(reports.full()))
    found["report"] = Case(report, ("report", str(report), "--to", "md"), text)
    entry = folder / "cache" / "images" / ("0" * 32)
    entry.mkdir(parents=True)
    (entry / "pixels.u8").write_bytes(bytes(3 * 8 * 8))
    (entry / "meta.json").write_text(json.dumps({"shape": [1, 3, 8, 8], "manifest": "m", "crc32": [0]}))
    found["cache"] = Case(entry / "meta.json", ("data", "cache"), text)
    for name, (kind, options) in FORMATS.items():
        found[f"image-{name}"] = _image(folder / name, kind, options)
    return found


def _parquet(folder: Path, found: dict[str, Case], audit: tuple[str, ...]) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    root = folder / "parquet"
    shutil.copytree(folder / "table", root)
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(root / "t.csv"), root / "t.parquet")
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(root / "p.csv"), root / "p.parquet")
    manifest = root / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("t.csv", "t.parquet"))
    found["parquet"] = Case(root / "t.parquet", ("data", "check", str(root)), data_bytes)
    found["predictions-parquet"] = Case(root / "p.parquet", (*audit, str(root / "p.parquet")), data_bytes)


def _image(root: Path, kind: str, options: dict[str, Any]) -> Case:
    """A data set of one image of a format among others, whose suffixes all say .png."""
    shards.write_manifest(root, [name for name, _ in shards.images(root)], "images: .")
    mode = options.get("mode", "RGB")
    noise = Image.effect_noise((40, 40), 90)
    image = noise.convert("I").convert(mode) if mode == "I;16" else noise.convert(mode)
    path = root / "faces" / "00003.png"
    with open(path, "wb") as stream:
        image.save(stream, kind, **{key: value for key, value in options.items() if key != "mode"})
    return Case(path, ("data", "check", str(root)), data_bytes)


def data_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes cut off, changed, repeated, left out, or a number that is blown up."""
    at = chance.randrange(min(len(data), chance.choice((64, 512, len(data)))))
    length = chance.choice((1, 2, 4, 16, 512))
    return chance.choice((
        data[:at], data[:at] + chance.randbytes(length) + data[at + length :], data[:at] + b"\xff" * length
        + data[at + length :], data[:at] + data[at : at + length] * 3 + data[at + length :],
        data[:at] + data[at + length :], data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :],
        data + chance.randbytes(length),
    ))  # fmt: skip


def text(data: bytes, chance: random.Random) -> bytes:
    """As bytes, or a value that becomes an odd one, or an odd line that is put in."""
    if chance.random() < 0.25:
        return data_bytes(data, chance)
    odd = chance.choice(made_by_hand.ODD).encode("utf-8", "surrogateescape")
    words = [match.span() for match in re.finditer(rb"[\w.+-]+|\[[^\[\]]*\]|\{[^{}]*\}", data)]
    start, end = chance.choice(words)
    if chance.random() < 0.2:
        line = data.rfind(b"\n", 0, start) + 1
        return data[:line] + odd + b"\n" + data[line:]
    return data[:start] + odd + data[end:]


def by_hand(found: dict[str, Case]) -> Iterator[tuple[str, str, bytes]]:
    """Kind, name and content of files made by hand, each in place of the sound one of its kind."""
    for kind, case in found.items():
        for name, content in made_by_hand.files(kind, case.path):
            yield kind, name, content


def read_files(pipe: Connection, folder: str) -> None:
    """Run commands until told to stop; for each: its exit code, what it said, the memory beyond the start, seconds."""
    os.chdir(folder)
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in _RUNS else None)
    sys.path.insert(0, folder)
    space = memory("VmSize") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (command := pipe.recv()) is not None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, begun = memory("VmRSS"), time.monotonic()
        ran.clear()
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                code = int(run_command(list(command)))
        except BaseException as error:
            code, said = -1, io.StringIO(f"{type(error).__name__}: {error}")
        pipe.send((code, said.getvalue()[-300:], memory("VmHWM") - before, time.monotonic() - begun, list(ran)))


class Reader:
    """Runs commands in a process of its own."""

    def __init__(self, folder: Path) -> None:
        # The machine may be shared: seconds are counted by the process's own clock.
        self.folder, self.child = folder, Child(read_files, folder, 2 * SECONDS)

    def read(self, kind: str, case: Case) -> tuple[str, str, int]:
        """What came of the file, what was said, and the bytes needed."""
        try:
            code, said, needed, seconds, ran = self.child.ask(case.command)
        except Lost as lost:
            return lost.outcome, lost.said, 0
        if ran or (self.folder / CANARY).exists():
            (self.folder / CANARY).unlink(missing_ok=True)
            return "something ran", f"{ran} {said}", needed
        if seconds > SECONDS:
            return "over a minute", said, needed
        if needed > LIMIT:
            return "over the limit", said, needed
        outcome = _CODES.get(code, f"exit code {code}")
        return ("exit code 1" if code == 1 and not kind.startswith(_GATED) else outcome), said, needed


def run(count: int, seed: int, folder: Path) -> Iterator[tuple[str, str, str, str, int]]:
    """(kind, mutation, outcome, what it said, bytes needed) of sound files, those by hand, and `count` mutated ones."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["FAIRPRUNE_CACHE"] = str(folder / "cache")
    (folder / f"{MODULE}.py").write_text(f"open({str(folder / CANARY)!r}, 'w')\n")
    found = cases(folder)
    reader = Reader(folder)
    for kind, case in found.items():
        outcome, said, needed = reader.read(kind, case)
        yield kind, "none", outcome if outcome != "refused" else "a sound file is refused", said, needed
    chosen = list(found)
    mutated = (
        (kind, "mutated", found[kind].mutate(found[kind].path.read_bytes(), random.Random(f"{seed} {i}")))
        for i in range(count) for kind in [chosen[i % len(chosen)]]
    )  # fmt: skip
    for kind, name, content in itertools.chain(by_hand(found), mutated):
        case = found[kind]
        sound = case.path.read_bytes()
        case.path.write_bytes(content)
        try:
            yield kind, name, *reader.read(kind, case)
        finally:
            case.path.write_bytes(sound)
    reader.child.end()
