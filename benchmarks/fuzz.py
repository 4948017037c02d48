"""Load mutated checkpoints and model files: nothing crashes, no code of a file runs, no memory beyond the limit.

Each file of each format is truncated, has bits flipped, bytes overwritten, numbers blown up, parts repeated or cut out,
zip members renamed or compressed, or code put into its pickle; then models are changed by their structure
(_fuzz_models.py), and what the readers of data read (_fuzz_data.py). Files are loaded in a process of their own whose
address space is limited; what each load needed is read from the kernel. Prints a table and writes results/fuzz.json.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pickle
import random
import resource
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from safetensors.torch import save_file

from benchmarks import _fuzz_data, _fuzz_models
from benchmarks._fuzz_child import Child, Lost, memory
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import load_model, save_checkpoint
from fairprune_cli.models.file import codec
from fairprune_cli.pruning.channels.removal import channel_spaces, remove_channels
from fairprune_cli.pruning.masks import ChannelMasks, WeightMasks

ARCHITECTURE = "resnet10-w16"
LIMIT = 256 << 20  # bytes that a load may need; the files are of one megabyte
SPACE = 1 << 30  # address space beyond what the process has at the start
CANARY = "code-has-run"
GOOD = ("loaded", "refused", "refused for its size")


def write_files(folder: Path, programs: bool = True) -> dict[str, Path]:
    """A sound file of every format that is read, by the format's name; exporting a program takes seconds."""
    torch.manual_seed(0)
    model = architectures.build(ARCHITECTURE, 2, seed=0).eval()
    files = {name: folder / f"{name}{end}" for name, end in (
        ("checkpoint", ".pt"), ("state-dict", ".pth"), ("legacy", ".pt"), ("whole-module", ".pt"), ("program", ".pt2"),
        ("safetensors", ".safetensors"), ("weight", ".safetensors"), ("gaps", ".safetensors"),
        ("channel", ".safetensors"),
    )}  # fmt: skip
    transform = {"size": 40, "mean": [0.5] * 3, "std": [0.25] * 3}
    save_checkpoint(
        files["checkpoint"], model, architecture=ARCHITECTURE, classes=["a", "b"], transform=transform, extra={}
    )
    torch.save(model.state_dict(), files["state-dict"])
    torch.save(model.state_dict(), files["legacy"], _use_new_zipfile_serialization=False)
    torch.save(model, files["whole-module"])
    if programs:
        torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 40, 40),)), files["program"])
    else:
        del files["program"]
    save_file(model.state_dict(), files["safetensors"])
    for name, granularity, sparsity in (
        ("weight", "weight", 0.8),
        ("gaps", "weight", 0.99),
        ("channel", "channel", 0.8),
    ):
        pruned = architectures.build(ARCHITECTURE, 2, seed=0).eval()
        header = codec.ModelHeader(ARCHITECTURE, ("a", "b"), transform, granularity, {})
        if granularity == "weight":
            masks = WeightMasks(pruned)
            masks.apply(masks.select(masks.magnitude(), sparsity))
            codec.save_model(files[name], pruned, header=header, masks=masks.entries(masks.keep))
        else:
            spaces = channel_spaces(pruned, 40)
            channels = ChannelMasks(pruned, spaces)
            remove_channels(pruned, spaces, channels.select(channels.magnitude(), sparsity))
            codec.save_model(files[name], pruned, header=header)
    return files


# --- mutations: bytes and a source of chance -> bytes ---------------------------------------------------------------


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: int(len(data) * chance.random() ** 2)]


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 8, 64))):
        changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwritten(data: bytes, chance: random.Random) -> bytes:
    start, length = _place(data, chance), chance.choice((1, 4, 64, 4096))
    filling = chance.choice((b"\x00", b"\xff", None))
    return data[:start] + (filling * length if filling else chance.randbytes(length)) + data[start + length :]


def blown_up(data: bytes, chance: random.Random) -> bytes:
    """A number of 4 or 8 bytes, or one in decimal digits, becomes very large: sizes, offsets, counts, shapes."""
    digits = [i for i in range(min(len(data), 200_000)) if 48 <= data[i] <= 57]
    if digits and chance.random() < 0.5:
        at = chance.choice(digits)
        return data[:at] + b"9" * chance.choice((1, 6, 12, 18)) + data[at + 1 :]
    number = struct.pack(*chance.choice((("<Q", 2**63 - 1), ("<Q", 2**40), ("<I", 2**32 - 1), ("<I", 2**31 - 1))))
    at = chance.choice((0, _place(data, chance)))
    return data[:at] + number + data[at + len(number) :]


def spliced(data: bytes, chance: random.Random) -> bytes:
    """A part is repeated or left out, so that whatever follows is shifted."""
    start, length = _place(data, chance), chance.choice((1, 8, 512, 50_000))
    return data[: start + length] + data[start:] if chance.random() < 0.5 else data[:start] + data[start + length :]


def armed(data: bytes, chance: random.Random) -> bytes:
    """A call of os.system is put into a pickle of the file, in front or somewhere in it."""
    bomb = pickle.dumps(_Bomb(), chance.choice((0, 2, 4)))
    inner = bomb[:-1] + b"0"  # without STOP, and the result popped

    def arm(member: bytes) -> bytes:
        at = chance.choice((2, 2, _place(member, chance)))
        return chance.choice((member[:at] + inner + member[at:], bomb))

    if data[:2] != b"PK":
        return arm(data)
    return _zip_again(data, chance, lambda name, content: arm(content) if name.endswith(".pkl") else content)


def repacked(data: bytes, chance: random.Random) -> bytes:
    """Zip tricks: names that leave the folder, compressed zeros, members twice; other formats get junk at the end."""
    if data[:2] != b"PK":
        return data + chance.randbytes(chance.choice((1, 100, 10_000)))
    return _zip_again(data, chance, lambda name, content: content, tricks=True)


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def _place(data: bytes, chance: random.Random) -> int:
    """A position; half the time among the first bytes, where headers are, or the last, where zips have theirs."""
    if not data:
        return 0
    span = min(len(data), chance.choice((64, 4096, len(data))))
    return chance.randrange(span) if chance.random() < 0.7 else len(data) - 1 - chance.randrange(span)


def _zip_again(
    data: bytes, chance: random.Random, change: Callable[[str, bytes], bytes], tricks: bool = False
) -> bytes:
    result = io.BytesIO()
    victim = chance.randrange(1000)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        members = old.infolist()
        for i, member in enumerate(members):
            name, content, how = member.filename, change(member.filename, old.read(member)), zipfile.ZIP_STORED
            if tricks and i == victim % len(members):
                trick = chance.randrange(4)
                if trick == 0:
                    name = chance.choice(("../../outside", "/etc/outside", f"..\\{name}", name + "\x00", "a/" * 500))
                elif trick == 1:
                    content, how = bytes(64 << 20), zipfile.ZIP_DEFLATED  # 64 kB that unpack to a thousand times that
                elif trick == 2:
                    new.writestr(name, b"first")
            new.writestr(name, content, how)
    return result.getvalue()


MUTATIONS = (truncated, flipped, overwritten, blown_up, spliced, armed, repacked)


# --- loading in a process of its own --------------------------------------------------------------------------------


def load_files(pipe: Connection, folder: str) -> None:
    """Load each path that comes through the pipe; answer with (outcome, what it said, bytes needed)."""
    os.chdir(folder)
    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * os.sysconf("SC_PAGE_SIZE") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (path := pipe.recv()) is not None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
        try:
            load_model(Path(path))
            outcome, said = "loaded", ""
        except FairpruneError as error:
            outcome = "refused" if error.code == ExitCode.BAD_INPUT else "refused for its size"
            said = error.what
        except BaseException as error:
            outcome, said = "another exception", f"{type(error).__name__}: {error}"
        pipe.send((outcome, said[:200], memory("VmHWM") - before))


class Loader:
    """Loads files in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.child = folder, Child(load_files, folder, 60)

    def load(self, path: Path) -> tuple[str, str, int]:
        """What came of the file, what was said, and the bytes needed."""
        try:
            answer: tuple[str, str, int] = self.child.ask(str(path))
        except Lost as lost:
            return lost.outcome, lost.said, 0
        if (self.folder / CANARY).exists():
            (self.folder / CANARY).unlink()
            return "code of the file ran", answer[1], answer[2]
        return ("over the limit", *answer[1:]) if answer[2] > LIMIT else answer


def run(count: int, seed: int, folder: Path, programs: bool = True) -> Iterator[tuple[str, str, str, str, int]]:
    """(format, mutation, outcome, what it said, bytes needed) of `count` mutated files."""
    loader = Loader(folder)
    contents = {name: (path, path.read_bytes()) for name, path in write_files(folder, programs).items()}
    for name, (path, _) in contents.items():
        yield (name, "none", *loader.load(path))
    pairs = [(name, mutation) for name in contents for mutation in MUTATIONS]
    for i in range(count):
        name, mutation = pairs[i % len(pairs)]
        path, data = contents[name]
        mutated = path.with_stem("mutated")
        mutated.write_bytes(mutation(data, random.Random(f"{seed} {i}")))
        yield (name, mutation.__name__, *loader.load(mutated))
    loader.child.end()


PARTS = ("all", "bytes", "models", "data")


def rows_of(part: str, count: int, seed: int, folder: Path) -> Iterator[tuple[str, str, str, str, int]]:
    """The rows of `run`, of every part that is asked for: `count` mutations each."""
    if part in ("all", "bytes"):
        yield from run(count, seed, folder)
    if part in ("all", "models"):
        yield from _fuzz_models.run(count, seed, folder, write_files(folder))
    if part in ("all", "data"):
        yield from _fuzz_data.run(count, seed, folder / "data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="mutated files of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, default="all")
    args = parser.parse_args()
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    bad, most = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, mutation, outcome, said, needed in rows_of(args.part, args.count, args.seed, Path(temporary)):
            counts[name, mutation.partition(":")[0]][outcome] += 1
            most = max(most, needed)
            if outcome not in (*GOOD, *_fuzz_data.GOOD):
                bad.append({"format": name, "mutation": mutation, "outcome": outcome, "said": said, "bytes": needed})
    outcomes = sorted({outcome for counter in counts.values() for outcome in counter})
    print(f"{'format':14} {'mutation':12}" + "".join(f" {outcome:>20}" for outcome in outcomes))
    for (name, mutation), counter in counts.items():
        print(f"{name:14} {mutation:12}" + "".join(f" {counter[outcome]:20}" for outcome in outcomes))
    print(f"most memory of one load: {most / 1e6:.0f} MB")
    for fault in bad[:20]:
        print(fault)
    rows = [{"format": f, "mutation": m, **c} for (f, m), c in counts.items()]
    document = {
        "part": args.part,
        "count": args.count,
        "seed": args.seed,
        "most_bytes": most,
        "limit_bytes": {"bytes": LIMIT, "models": _fuzz_models.LIMIT, "data": _fuzz_data.LIMIT},
        "rows": rows,
        "bad": bad,
    }
    target = Path(__file__).parent / "results" / "fuzz.json"
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if bad:
        raise SystemExit(f"{len(bad)} files did harm")


if __name__ == "__main__":
    main()
