"""Commands over images in shards give what they give over the same images as files."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.support.commands import Ran, Work, fairprune
from tests.support.shards import write_shard


def in_shards(work: Work, folder: Path) -> Path:
    """The data of the fixture in four shards, not in the order of the table."""
    with open(work.folder / "table.csv", newline="") as table:
        files = [row["file"] for row in csv.DictReader(table)]
    order = sorted(range(len(files)), key=lambda n: n * 7919 % len(files))
    for shard in range(4):
        named = [files[n] for n in order[shard::4]]
        write_shard(
            folder / f"faces-{shard}.tar", [(name, (work.folder / "images" / name).read_bytes()) for name in named]
        )
    (folder / "table.csv").write_bytes((work.folder / "table.csv").read_bytes())
    text = (work.folder / "manifest.yaml").read_text()
    assert "images: images\n" in text
    (folder / "manifest.yaml").write_text(text.replace("images: images\n", "shards: faces-{0..3}.tar\n"))
    return folder / "manifest.yaml"


def test_an_audit_of_shards_is_that_of_the_files(work: Work, tmp_path: Path) -> None:
    manifest = in_shards(work, tmp_path)
    cache = {"FAIRPRUNE_CACHE": str(tmp_path / "cache")}  # so that the shards are decoded

    def audit(*more: str, **env: str) -> Ran:
        return fairprune("audit", "model.pt", "--attr", "gender", "--json", *more, cwd=work.folder, env=env)

    files, shards = audit(), audit("--data", str(manifest), **cache)
    assert (files.code, shards.code) == (0, 0), shards.err
    one, other = (json.loads(ran.out) for ran in (files, shards))
    assert one["results"] == other["results"]
    again = audit("--data", str(manifest), **cache)
    assert json.loads(again.out)["results"] == one["results"]


def test_an_audit_of_shards_decodes_its_split_alone_and_refuses_copies_of_its_own(work: Work, tmp_path: Path) -> None:
    manifest = in_shards(work, tmp_path)
    with open(work.folder / "table.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    train, test = (next(row["file"] for row in rows if row["split"] == name) for name in ("train", "test"))

    def audit(data: Path, replaced: dict[str, bytes]) -> Ran:
        for shard in sorted(tmp_path.glob("*.tar")):
            with tarfile.open(shard) as archive:
                files = [(one.name, archive.extractfile(one).read()) for one in archive]  # type: ignore[union-attr]
            write_shard(shard, [(name, replaced.get(name, content)) for name, content in files])
        env = {"FAIRPRUNE_CACHE": str(tmp_path / "cache")}
        return fairprune(
            "audit", "model.pt", "--attr", "gender", "--json", "--data", str(data), cwd=work.folder, env=env
        )

    whole = fairprune("audit", "model.pt", "--attr", "gender", "--json", cwd=work.folder)
    ran = audit(manifest, {train: b"no image"})
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["results"] == json.loads(whole.out)["results"]
    copy = (work.folder / "images" / test).read_bytes()
    refused = audit(manifest, {train: copy})
    assert refused.code == 2
    assert f"image {train!r} (train) has the same bytes as {test!r} (test, table.csv row" in refused.err
    manifest.write_text(manifest.read_text() + "\nduplicates: drop\n")
    dropped = audit(manifest, {})
    assert dropped.code == 0, dropped.err
    document = json.loads(dropped.out)
    assert document["data"]["duplicates"] == {"rule": "drop", "images": 1}
    assert document["results"] == json.loads(whole.out)["results"]


def test_counts_and_checks_of_shards_are_those_of_the_files(work: Work, tmp_path: Path) -> None:
    manifest = in_shards(work, tmp_path)

    def said(what: str, data: Path) -> dict[str, Any]:
        ran = fairprune("data", what, "--json", "--data", str(data), cwd=tmp_path)
        assert ran.code == 0, ran.err
        return {key: value for key, value in json.loads(ran.out).items() if key != "manifest"}

    for what in ("stats", "check"):
        assert said(what, manifest) == said(what, work.folder / "manifest.yaml")
