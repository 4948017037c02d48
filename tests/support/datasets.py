"""Small data sets in the layout of the published ones: the same file names, headers and codes, drawn images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16
CELEBA_COLUMNS = ("5_o_Clock_Shadow", "Blond_Hair", "Male", "Smiling", "Young")
LFW_COLUMNS = ("Male", "Asian", "Youth", "Blond Hair", "Smiling")
TRANSFORM = f"transform: {{size: {SIDE}, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}\n"


def draw(path: Path, seed: int, side: int = SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side + 4, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def celeba(root: Path, count: int = 48, archive: bool = False) -> list[dict[str, str]]:
    """CelebA as in the authors' archive; `archive` puts the tables into Anno/ and Eval/. Returns the rows."""
    rows = []
    for i in range(count):
        bits = {
            "Blond_Hair": i % 2, "Male": i // 2 % 2, "Young": i // 4 % 2, "Smiling": i % 3 == 0, "5_o_Clock_Shadow": 0
        }  # fmt: skip
        row = {name: "1" if bits[name] else "-1" for name in CELEBA_COLUMNS}
        row |= {
            "image": f"{i + 1:06d}.jpg",
            "part": str(0 if i < count // 2 else 1 + i % 8 // 4),
            "person": str(i // 2),
        }
        rows.append(row)
        folder = root / ("Img/img_align_celeba" if archive else "img_align_celeba")
        draw(folder / row["image"], i)
    # The authors pad the values to two characters, so that columns are parted by one or two spaces.
    lines = [f"{r['image']} " + " ".join(f"{r[c]:>2}" for c in CELEBA_COLUMNS) for r in rows]
    anno, partition = (root / "Anno", root / "Eval") if archive else (root, root)
    for folder in (anno, partition):
        folder.mkdir(exist_ok=True)
    (anno / "list_attr_celeba.txt").write_text(f"{count}\n{' '.join(CELEBA_COLUMNS)} \n" + "\n".join(lines) + "\n")
    (partition / "list_eval_partition.txt").write_text("".join(f"{r['image']} {r['part']}\n" for r in rows))
    (anno / "identity_CelebA.txt").write_text("".join(f"{r['image']} {r['person']}\n" for r in rows))
    return rows


def lfw(root: Path, people: int = 24, attributes: bool = True, lists: bool = True) -> list[tuple[str, int]]:
    """LFW: lfw/Some_Name/Some_Name_0001.jpg with a table of scores and the gender lists. Returns (person, number)."""
    images = []
    for p in range(people):
        person = f"{'Ann' if p % 2 else 'Bob'}_Person-{p:02d}"
        images += [(person, n + 1) for n in range(1 + p % 3)]
    for i, (person, number) in enumerate(images):
        draw(root / "lfw" / person / f"{person}_{number:04d}.jpg", i)
    if attributes:
        # As in the published file: a comment, a header behind a hash, and spaces in the names.
        lines = ["# lfw_attributes.txt", "\t".join(("#", "person", "imagenum", *LFW_COLUMNS)).replace("#\t", "# ", 1)]
        for i, (person, number) in enumerate(images):
            signs = (person.startswith("Bob"), i % 5 == 0, i % 3 == 0, i % 4 == 0, i % 2 == 0)
            scores = [f"{(1 if yes else -1) * (0.1 + 0.01 * i):.6f}" for yes in signs]
            lines.append("\t".join((person.replace("_", " "), str(number), *scores)))
        (root / "lfw_attributes.txt").write_text("\n".join(lines) + "\n")
    if lists:
        for gender, first in (("male", "Bob"), ("female", "Ann")):
            names = [f"{person}_{number:04d}.jpg\n" for person, number in images if person.startswith(first)]
            (root / f"{gender}_names.txt").write_text("".join(names))
    return images


def utkface(root: Path, count: int = 60) -> list[tuple[int, int, int]]:
    """UTKFace: the aligned and cropped faces, and one of the published names that lack a field."""
    rows = [((7 * i) % 95 + 1, i % 2, i // 2 % 5) for i in range(count)]
    for i, (age, gender, race) in enumerate(rows):
        draw(root / "UTKFace" / f"{age}_{gender}_{race}_201701161744{i:05d}.jpg.chip.jpg", i)
    draw(root / "UTKFace" / "61_1_20170109142408075.jpg.chip.jpg", 999)
    return rows


def fairface(root: Path, train: int = 60, val: int = 24) -> None:
    """FairFace: two tables and the folders train/ and val/."""
    races = ("East Asian", "Indian", "Black", "White", "Middle Eastern", "Latino_Hispanic", "Southeast Asian")
    ages = ("0-2", "3-9", "10-19", "20-29", "more than 70")
    for split, count in (("train", train), ("val", val)):
        lines = ["file,age,gender,race,service_test"]
        for i in range(count):
            draw(root / split / f"{i + 1}.jpg", i + (1000 if split == "val" else 0))
            gender = ("Male", "Female")[i % 2]
            lines.append(f"{split}/{i + 1}.jpg,{ages[i % 5]},{gender},{races[i % 3]},{i % 2 == 0}")
        (root / f"fairface_label_{split}.csv").write_text("\n".join(lines) + "\n")
