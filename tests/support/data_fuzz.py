"""Mutated manifests and tables: never a traceback, never a silent change of a count.

    python -m tests.support.data_fuzz [--count 1000] [--seed 0] [--out FILE]

Each mutation changes a manifest or a table of one of the layouts: bytes, cells, lines, quotes, delimiters, encodings,
the end of the file. Then `data check` looks at it, and either there is an error, or the counts are the former ones, or
a warning that was not there before says what changed. A cell that turned into another valid value is no fault that
anybody could see; it moves at most one image for each changed cell.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.checks.check import Checked, check_data
from fairprune_cli.data.manifest.load import Manifest, examine_manifest
from tests.support import datasets as made

HEADS = {
    "celeba": "format: celeba\nroot: .\nlabel: Blond_Hair\nattributes: {gender: {column: Male}}\n",
    "lfw": "format: lfw\nroot: .\nlabel: Smiling\nattributes: {gender: {column: gender}}\n",
    "utkface": "format: utkface\nroot: .\nlabel: gender\nattributes: {race: {column: race}}\n",
    "fairface": "format: fairface\nroot: .\nlabel: gender\nattributes: {race: {column: race, missing: unknown}}\n",
    "table": (
        "table: t.csv\nimages: images\ncolumns: {image: file, split: part, person: who}\n"
        "label: {column: y, names: {n: neutral, s: smiling}}\n"
        "attributes:\n  sex: {column: sex, values: [man, woman]}\n  age: {column: age, bins: [0, 30, 60, 120]}\n"
    ),
    "folder": (
        "format: folder\nroot: images\nattributes_table: a.csv\n"
        "attributes: {sex: {column: sex, values: [man, woman]}}\n"
    ),
}
# Warnings that repeat counts: they change with every count, and would make any change a told one.
COUNTING = ("small-cell", "empty-cell", "association")
# Files that count as the layout's tables, beside manifest.yaml.
TABLES = (".csv", ".txt")


def table(root: Path) -> None:
    lines = ["file,y,sex,age,part,who"]
    for i in range(36):
        made.draw(root / "images" / f"{i:02d}.png", i, side=8)
        part = ("train", "val", "test")[i // 12]
        lines.append(f"{i:02d}.png,{'ns'[i % 2]},{('man', 'woman')[i // 2 % 2]},{(20, 40, 80)[i % 3]},{part},p{i}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")


def folder(root: Path) -> None:
    lines = ["file,sex"]
    for i in range(24):
        name = f"{('train', 'val', 'test')[i // 8]}/{('cat', 'dog')[i % 2]}/{i}.png"
        made.draw(root / "images" / name, i, side=8)
        lines.append(f"{name},{('man', 'woman')[i // 2 % 2]}")
    (root / "a.csv").write_text("\n".join(lines) + "\n")


def make(kind: str, root: Path) -> None:
    {"table": table, "folder": folder}.get(kind, lambda r: getattr(made, kind)(r))(root)
    text = f"version: 1\nname: fuzz\n{HEADS[kind]}transform: {{size: 8, mean: [0, 0, 0], std: [1, 1, 1]}}\n"
    (root / "manifest.yaml").write_text(text)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(result) or 1)
        kind = rng.choice("rid")
        if kind == "i" or not result:
            result.insert(at, rng.randrange(256))
        elif kind == "d":
            del result[at]
        else:
            result[at] = rng.randrange(256)
    return bytes(result)


def _line(change: Callable[[list[bytes], int, random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(content: bytes, rng: random.Random) -> bytes:
        lines = content.split(b"\n")
        change(lines, rng.randrange(len(lines)), rng)
        return b"\n".join(lines)

    return mutate


def _cell(lines: list[bytes], at: int, rng: random.Random) -> None:
    for mark in (b",", b"\t", b" ", b":"):
        cells = lines[at].split(mark)
        if len(cells) > 1:
            odd = (
                b"",
                b"nan",
                b"NULL",
                b"-1",
                b"1e999",
                b'"',
                b"..",
                b"/etc/passwd",
                b"0",
                b"\xe2\x80\xae",
                b"9" * 400,
            )
            cells[rng.randrange(len(cells))] = rng.choice(odd)
            lines[at] = mark.join(cells)
            return


def _swap(lines: list[bytes], at: int, rng: random.Random) -> None:
    other = rng.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _bytes,
    "cell": _line(_cell),
    "line removed": _line(lambda lines, at, rng: lines.__delitem__(at)),
    "line doubled": _line(lambda lines, at, rng: lines.insert(at, lines[at])),
    "lines swapped": _line(_swap),
    "quote": lambda content, rng: content[: (at := rng.randrange(len(content) + 1))] + b'"' + content[at:],
    "delimiters": lambda content, rng: content.replace(b",", rng.choice((b";", b"\t", b", ", b"|"))),
    "line ends": lambda content, rng: content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n"))),
    "bom": lambda content, rng: rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb\xbf\xef\xbb\xbf")) + content,
    "encoding": lambda content, rng: content.decode().encode(rng.choice(("utf-16", "utf-32", "cp500"))),
    "cut": lambda content, rng: content[: rng.randrange(len(content))],
    "case": lambda content, rng: content.swapcase(),
}


@dataclass
class Outcome:
    """What came of the mutations, by name of the mutation; `faults` are what must not be."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def moved(plain: Manifest, changed: Manifest) -> int:
    """Images by which any count of splits, labels or groups differs; the whole where their names do."""
    if sorted(plain.files) != sorted(changed.files):
        return len(plain) + len(changed)
    differences = [0]
    for one, other in ((plain.counts(), changed.counts()), (changed.counts(), plain.counts())):
        for split, entry in one.items():
            differences.append(abs(entry["n"] - other[split]["n"]))
            for attribute, groups in entry["attributes"].items():
                there = other[split]["attributes"].get(attribute, {})
                differences += [abs(g["n"] - there.get(name, {"n": 0})["n"]) for name, g in groups.items()]
            for name, n in entry["labels"].items():
                differences.append(abs(n - other[split]["labels"].get(name, 0)))
    return max(differences)


def run(count: int, seed: int, place: Path) -> Outcome:
    """`count` mutations over all layouts and files, from the seed."""
    outcome = Outcome()
    rng = random.Random(seed)
    for k, kind in enumerate(HEADS):
        root = place / kind
        root.mkdir(parents=True)
        make(kind, root)
        plain = examine_manifest(root, Problems(""))
        assert plain is not None
        before = _warnings(check_data(root))
        names = sorted(p for p in root.iterdir() if p.suffix in TABLES or p.name == "manifest.yaml")
        for _ in range(count // len(HEADS) + (k < count % len(HEADS))):
            file, (name, mutate) = rng.choice(names), rng.choice(list(MUTATIONS.items()))
            content = file.read_bytes()
            file.write_bytes(mutate(content, rng))
            told = f"{kind}, {file.name}, {name}, seed {seed}"
            try:
                result = _judge(
                    root, plain, before, 3 if name in ("bytes", "quote") else 1, file.name == "manifest.yaml"
                )
            except Exception as error:  # what this looks for
                result = "traceback"
                outcome.faults.append(f"{told}: {type(error).__name__}: {error}")
            if result == "silent":
                outcome.faults.append(f"{told}: counts changed and nothing was said")
            outcome.counts.setdefault(name, Counter())[result] += 1
            file.write_bytes(content)
        shutil.rmtree(root)
    return outcome


def _warnings(checked: Checked) -> set[str]:
    return {f.text for f in checked.findings if f.severity == "warning" and f.code not in COUNTING}


def _judge(root: Path, plain: Manifest, before: set[str], most: int, manifest_changed: bool) -> str:
    try:
        checked = check_data(root)
    except FairpruneError:
        return "error"
    if checked.count("error"):
        return "error"
    changed = examine_manifest(root, Problems(""))
    assert changed is not None
    if _warnings(checked) - before:
        return "warning"
    difference = moved(plain, changed)
    # What a manifest says in other words, as other bins or another column, is not its fault: but no image may go.
    allowed = difference if manifest_changed and len(changed) == len(plain) else most
    return "same" if not difference else "another value" if difference <= allowed else "silent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        outcome = run(args.count, args.seed, Path(place))
    kinds = ("error", "warning", "same", "another value", "silent", "traceback")
    print(f"{'mutation':16}" + "".join(f"{kind:>15}" for kind in kinds))
    for name, counts in outcome.counts.items():
        print(f"{name:16}" + "".join(f"{counts[kind]:>15}" for kind in kinds))
    print("\n".join(outcome.faults) or "no fault")
    if args.out:
        document = {"count": args.count, "seed": args.seed, "faults": outcome.faults,
                    "outcomes": {name: dict(counts) for name, counts in outcome.counts.items()}}  # fmt: skip
        args.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
