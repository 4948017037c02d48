"""Which library decodes small JPEGs fastest, to the bit, and how each of them is kept.

    python benchmarks/decoders.py [--out benchmarks/results/decoders.json]

Needs beside the package, where they are to be measured: simplejpeg, opencv-python-headless, PyTurboJPEG (with a
libturbojpeg of the system), imagecodecs. A library that is absent, or does not load, is named with its reason.

`decoded` is images per second and core to pixels as the library gives them; `scaled` to what the cache stores, the
centre square at 64 pixels in uint8 [3, 64, 64], by the same kernel for all. Rates are of processor time of one thread,
best of several rounds in turn. Differences are of the pixels, against Pillow's, in levels of 0 to 255.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import drawn
from PIL import Image

from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.images.decode import centred, decode
from fairprune_cli.data.images.pillow import open_image
from fairprune_cli.data.tables.image_names import image_formats

SIZE, IMAGES, DRAWN, ROUNDS = 64, 2000, 100, 5
SHAPES = ((178, 218), (64, 64), (100, 130))
QUALITIES = (85, 95)
# Of the release that was measured: its date, and the systems that the index lists wheels for on Python 3.11.
KEPT = {
    "Pillow": ("2026-10-16", "Linux, macOS, Windows, also musl and PyPy"),
    "torchvision": ("2026-09-29", "Linux, macOS on ARM, Windows; decoding deprecated since 0.29"),
    "torchcodec": ("2026-09-30", "Linux, macOS on ARM, Windows; since 0.12 beside any torch from 2.11 on"),
    "simplejpeg": ("2025-10-10", "Linux, macOS, Windows"),
    "opencv-python-headless": ("2026-07-02", "Linux, macOS, Windows"),
    "PyTurboJPEG": ("2026-10-24", "pure Python; needs a libturbojpeg that the system brings"),
    "imagecodecs": ("2026-03-06", "Linux, macOS, Windows; later releases for Python 3.12 on only"),
}

Decoder = Callable[[bytes], np.ndarray]


def _pillow() -> Decoder:
    return lambda data: np.asarray(Image.open(io.BytesIO(data), formats=image_formats()).convert("RGB"))


def _pillow_draft() -> Decoder:
    return lambda data: np.asarray(open_image(io.BytesIO(data), wanted=SIZE))


def _torchvision() -> Decoder:
    from torchvision.io import ImageReadMode, decode_jpeg

    def work(data: bytes) -> np.ndarray:
        source = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return decode_jpeg(source, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()

    return work


def _torchcodec() -> Decoder:
    from torchcodec.decoders import decode_jpeg

    def work(data: bytes) -> np.ndarray:
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)).permute(1, 2, 0).numpy()

    return work


def _simplejpeg() -> Decoder:
    from simplejpeg import decode_jpeg

    return lambda data: decode_jpeg(data, "RGB")


def _opencv() -> Decoder:
    import cv2

    cv2.setNumThreads(1)
    return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def _turbojpeg() -> Decoder:
    from turbojpeg import TJPF_RGB, TurboJPEG

    library = TurboJPEG()
    return lambda data: library.decode(data, pixel_format=TJPF_RGB)


def _imagecodecs() -> Decoder:
    from imagecodecs import jpeg8_decode

    return lambda data: jpeg8_decode(data)


MAKERS: dict[str, tuple[str, Callable[[], Decoder]]] = {
    "Pillow": ("Pillow", _pillow),
    "Pillow, draft mode": ("Pillow", _pillow_draft),
    "torchvision": ("torchvision", _torchvision),
    "torchcodec": ("torchcodec", _torchcodec),
    "simplejpeg": ("simplejpeg", _simplejpeg),
    "OpenCV": ("opencv-python-headless", _opencv),
    "PyTurboJPEG": ("PyTurboJPEG", _turbojpeg),
    "imagecodecs": ("imagecodecs", _imagecodecs),
}


def scaled(pixels: np.ndarray) -> np.ndarray:
    tensor = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
    return centred(tensor, SIZE).contiguous().numpy()


def rates(works: dict[str, Callable[[bytes], Any]], items: list[bytes]) -> dict[str, float]:
    """Images per second of processor time, best of the rounds, the libraries taking turns."""
    best = dict.fromkeys(works, 0.0)
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.process_time()
            for item in items:
                work(item)
            best[name] = max(best[name], len(items) / (time.process_time() - start))
    return {name: round(rate, 1) for name, rate in best.items()}


def measured(decoders: dict[str, Decoder], width: int, height: int, quality: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    some = [drawn(rng, width, height, quality) for _ in range(DRAWN)]
    items = some * (IMAGES // DRAWN)
    works = {name: (lambda data, work=work: scaled(work(data))) for name, work in decoders.items()}
    whole = rates({**works, "fairprune": lambda data: decode(data, SIZE)}, items)
    plain = rates(dict(decoders), items)
    rows = {}
    for name, work in decoders.items():
        gaps = [
            np.abs(work(data).astype(int) - reference.astype(int))
            for data in some
            if (reference := decoders["Pillow"](data)).shape == work(data).shape
        ]
        rows[name] = {
            "decoded": plain[name],
            "scaled": whole[name],
            "max_difference": int(max(gap.max() for gap in gaps)) if gaps else None,
            "mean_difference": float(np.mean([gap.mean() for gap in gaps])) if gaps else None,
        }
    rows["fairprune"] = {"scaled": whole["fairprune"]}
    return {"image": f"{width}x{height}", "quality": quality, "decoders": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "decoders.json")
    out = parser.parse_args().out
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.set_num_threads(1)
    decoders: dict[str, Decoder] = {}
    libraries: dict[str, dict[str, str]] = {}
    for name, (package, make) in MAKERS.items():
        about = libraries.setdefault(package, dict(zip(("released", "wheels"), KEPT[package], strict=True)))
        try:
            about["version"] = importlib.metadata.version(package)
            decoder = make()
            decoder(drawn(np.random.default_rng(0), 64, 64, 90))
        except Exception as error:  # each library fails in its own way
            about["not_measured"] = str(error).splitlines()[0] if str(error) else type(error).__name__
            continue
        decoders[name] = decoder
    rows = [measured(decoders, *shape, quality) for shape in SHAPES for quality in QUALITIES]
    document = {
        "what": __doc__.splitlines()[0],
        "machine": {"processor": platform.machine(), "python": platform.python_version(), "torch": torch.__version__},
        "images": IMAGES,
        "size": SIZE,
        "libraries": libraries,
        "rows": rows,
    }
    atomic_write_text(out, json.dumps(document, indent=1) + "\n")
    for row in rows:
        print(row["image"], row["quality"])
        for name, figures in row["decoders"].items():
            print(f"  {name:20} {figures}")


if __name__ == "__main__":
    main()
