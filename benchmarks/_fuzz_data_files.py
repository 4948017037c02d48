"""Files made by hand for benchmarks/_fuzz_data.py, and the values that its mutations put in place of sound ones."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

SETTINGS = """seed: 3
max_gap: 0.4
min_group: 5
confidence: 0.9
attr: [sex]
split: test
notion: accuracy
min_accuracy: 0.3
epochs: 2
lr: 1.0e-3
augment: true
policy: null
"""
POLICY = """version: 1
confidence: 0.9
min_group: 2
rules:
  - {attribute: sex, max_gap: 0.5}
  - {attribute: [sex], min_accuracy: 0.1, name: all of them, confidence: 0.8}
"""
ODD = (
    "", "null", "~", "[]", "{}", "[[]]", "-1", "0", "1e999", ".nan", "-.inf", "9" * 400, "9" * 5000, "!!float abc",
    "!!int ''", "!!bool x", "!!timestamp abc", "2001-99-99", "2001-01-01T25:61:61", "!!binary aGVsbG8=", "!!set {a, b}",
    "!!omap [a: b]", "!!python/object/apply:os.system ['touch code-has-run']", "!!python/name:os.system", "&a [*a]",
    "*b", "<<: *a", "? [a, b]\n: 1", "190:20:30", "1:" + ":59" * 300, "0x" + "f" * 400, "lies_beside:make", "=cmd()",
    "[" * 60, "{a: " * 60, "'\\ud800'", '"\\UFFFFFFFF"', "\x00", "\udcff", "'", '"', "%YAML 9.9\n---", "---\n---", "..",
    "/dev/zero", "../../etc/passwd", "|\n  x", "true", "no", "1_000", "0o17", "\u202e", "a" * 5000, "-", ",", ";", "\t",
)  # fmt: skip


def laughs(leaf: str = "x", levels: int = 10) -> str:
    """Aliases of aliases, ten of each."""
    lines = [f"a0: &a0 [{','.join([leaf] * 10)}]"]
    lines += [f"a{i + 1}: &a{i + 1} [{','.join([f'*a{i}'] * 10)}]" for i in range(levels)]
    return "\n".join(lines) + "\n"


def _yaml() -> Iterator[tuple[str, str]]:
    yield "laughs", laughs()
    yield (
        "laughs in merges",
        "a0: &a0 {k: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{','.join([f'*a{i}'] * 9)}]}}\n" for i in range(8)),
    )
    yield "deep flow", "a: " + "[" * 200_000
    yield "deep block", "\n".join(" " * i + "a:" for i in range(2000))
    yield "deep dashes", "- " * 100_000 + "a"
    yield "a long number", "seed: " + "9" * 1_000_000
    yield "base sixty", "seed: 1" + ":59" * 600_000
    yield "many keys", "".join(f"key{i}: 1\n" for i in range(50_000))
    yield "many tasks", "tasks: {" + ", ".join(f"t{i}: {{label: x}}" for i in range(10_000)) + "}\n"
    yield "many attributes", "attributes: {" + ", ".join(f"t{i}: {{column: x}}" for i in range(20_000)) + "}\n"
    yield "many rules", "rules:\n" + "- {max_gap: 0.1}\n" * 30_000
    for tag in ("python/name:os.system", "python/object/apply:os.system", "python/tuple", "python/module:os"):
        yield f"tag {tag}", f"seed: !!{tag} []\n"
    yield "nine megabytes", "#" * (9 << 20)
    yield "a long text", "seed: '" + "x" * 1_900_000 + "'\n"
    for i, value in enumerate(ODD):
        yield f"odd value {i}", f"seed: {value}\n"


def _nested() -> Iterator[tuple[str, str]]:
    yield "nested lists", "[" * 100_000 + "]" * 100_000
    yield "nested objects", '{"schema_version": 1, "config": ' + '{"a":' * 900 + "1" + "}" * 901
    yield "nested shape", '{"manifest": "m", "crc32": [0], "shape": ' + "[" * 900 + "]" * 900 + "}"
    yield "many values", '{"schema_version": 1, "gates": [' + "[]," * 3_000_000 + "[]]}"
    yield "a long number", '{"schema_version": ' + "9" * 5000 + "}"
    yield "a list", "[]"
    yield "numbers of no size", json.dumps({"schema_version": 1, "shape": [10**300, 1, 1, 1], "crc32": [1e308]})


def png(width: int, height: int, bits: int, colour: int, rows: int) -> bytes:
    """A PNG that says it has so many pixels, and holds so many rows."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = -(-width * bits * channels // 8)
    work = zlib.compressobj()
    data = b"".join(work.compress(b"\0" + b"\x7f" * row) for _ in range(rows)) + work.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _images() -> Iterator[tuple[str, bytes]]:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n(code-has-run) (w) file closefile\nshowpage\n%%EOF\n"
    yield "eps", eps
    yield "wmf", b"\xd7\xcd\xc6\x9a" + bytes(200)
    yield "pixels", png(13_000, 13_000, 16, 0, 13_000)
    yield "pixels within", png(9_990, 9_990, 16, 0, 9_990)
    yield "3 rows of 9,000", png(64, 9_000, 8, 2, 3)
    yield from _bombs()
    yield "65,000 x 65,000", png(65_000, 65_000, 1, 0, 100)


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Pictures of far more pixels than bytes, of many frames and of many pages, in each format that can be written."""
    wide = Image.new("L", (9_900, 9_900), 7)
    for kind, options in (
        ("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_deflate"}), ("JPEG2000", {}),
        ("JPEG", {"progressive": True}), ("PNG", {}), ("AVIF", {}), ("TGA", {"compression": "tga_rle"}), ("QOI", {}),
    ):  # fmt: skip
        with contextlib.suppress(OSError, KeyError, ValueError):
            large = wide.convert("RGB") if kind in ("WEBP", "AVIF", "QOI", "JPEG2000") else wide
            yield (
                f"large {kind}",
                _saved(large.crop((0, 0, 3000, 3000)) if kind in ("AVIF", "QOI") else large, kind, **options),
            )
    yield "large 16-bit TIFF", _saved(Image.new("I;16", (9_900, 9_900), 999), "TIFF", compression="tiff_deflate")
    small = [Image.new("L", (1000, 1000), n % 251) for n in range(300)]
    for kind, options in (("GIF", {}), ("TIFF", {"compression": "tiff_deflate"}), ("WEBP", {"lossless": True})):
        yield f"frames {kind}", _saved(small[0], kind, save_all=True, append_images=small[1:], **options)
    for kind, at, form in (("BMP", 18, "<ii"), ("GIF", 6, "<HH"), ("QOI", 4, ">II"), ("TGA", 12, "<HH")):
        data = bytearray(_saved(Image.new("RGB", (40, 40), (1, 2, 3)), kind))
        data[at : at + struct.calcsize(form)] = struct.pack(
            form, *((65_000, 65_000) if "H" in form else (1 << 30,) * 2)
        )
        yield f"claims of {kind}", bytes(data)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _tables() -> Iterator[tuple[str, bytes]]:
    yield "wide", ",".join(f"c{i}" for i in range(100_000)).encode() + b"\n" + b"1," * 99_999 + b"1\n"
    yield "commas", b"file,y\n" + b"," * 9_000_000
    yield "quotes", b'file,y\n"' + b'""' * 4_000_000
    yield "nothing", b""
    yield "doubled", b"file,file,y,sex,age,part,who,predicted\n"
    yield "header alone", b"file,y,sex,age,part,who,predicted\n"
    yield "zeros", bytes(1_000_000)


def _parquet() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    import pyarrow as arrow
    import pyarrow.parquet

    def packed(columns: dict[str, object], **options: object) -> bytes:
        stream = io.BytesIO()
        pyarrow.parquet.write_table(arrow.table(columns), stream, **options)
        return stream.getvalue()

    names = ("file", "y", "sex", "age", "part", "who", "predicted")
    yield "a page", packed({"file": ["x" * (400 << 20)], "predicted": ["a"]}, compression="zstd", use_dictionary=False)
    places = arrow.array(np.zeros(60_000_000, np.int32))
    constant = arrow.DictionaryArray.from_arrays(places, arrow.array(["x"]))
    yield "rows", packed(dict.fromkeys(names, constant), compression="zstd", store_schema=False)
    count = 8_000_000
    thousand = arrow.array([f"train/{i}.png" for i in range(1000)])
    of_thousand = arrow.array(np.arange(count, dtype=np.int32) % 1000)
    same = arrow.DictionaryArray.from_arrays(arrow.array(np.zeros(count, np.int32)), arrow.array(["a"]))
    coded = {**dict.fromkeys(names, same), "file": arrow.DictionaryArray.from_arrays(of_thousand, thousand)}
    for some in (3_000_000, count):
        part = {name: column[:some] for name, column in coded.items()}
        yield f"{some:,} coded rows", packed(part, compression="zstd", store_schema=False)
    yield "columns", packed({f"c{i}": ["x"] for i in range(20_000)})


def _shards() -> Iterator[tuple[str, bytes]]:
    def archive(kind: bytes, size: int, body: bytes) -> bytes:
        member = tarfile.TarInfo("long")
        member.type, member.size = kind, size
        return member.tobuf(tarfile.GNU_FORMAT) + body

    yield "a long name", archive(tarfile.GNUTYPE_LONGNAME, 8 << 20, b"x" * (8 << 20))
    yield "a header that lies", archive(tarfile.XHDTYPE, 1 << 60, bytes(2048))
    yield "a file that lies", archive(tarfile.REGTYPE, 1 << 60, bytes(2048))
    yield "headers of headers", archive(tarfile.XHDTYPE, 512, b"27 path=x" + bytes(503)) * 9000
    for kind, name in (
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "hard"),
        (tarfile.REGTYPE, "../../up"),
        (tarfile.REGTYPE, "/etc/x.png"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.CHRTYPE, "device"),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        yield f"member {name}", member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    yield "a sparse member", archive(tarfile.GNUTYPE_SPARSE, 512, bytes(2048))
    yield "compressed", b"\x1f\x8b" + bytes(1000)


def files(kind: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file for a kind of benchmarks/_fuzz_data.py; path: of the sound one."""
    if kind in ("settings", "policy") or kind.startswith("manifest-"):
        sound = path.read_text() if kind.startswith("manifest-") else ""
        yield from ((name, (sound + text).encode("utf-8", "surrogateescape")) for name, text in _yaml())
    elif kind in ("report", "cache"):
        yield from ((name, text.encode()) for name, text in _nested())
    elif kind in ("csv", "predictions"):
        yield from _tables()
    elif kind in ("parquet", "predictions-parquet"):
        yield from _parquet()
    elif kind == "shard":
        yield from _shards()
    elif kind == "image-png":
        yield from _images()
