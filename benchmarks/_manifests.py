"""Manifests that are written anew beside others: the same images, another transform, table, or treatment of copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fairprune_cli.core.files import atomic_write_text


def with_absolute_paths(path: Path) -> dict[str, Any]:
    """The content of a manifest, its table and images named from the root, so that it can stand in another folder."""
    # All scalars stay the text they are: a class called `no` must not become a truth value.
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    base = path.parent.absolute()
    table, images = ("attributes_table", "root") if "root" in content or "format" in content else ("table", "images")
    content[images] = str(base / content.get(images, "."))
    if table in content:
        content[table] = str(base / content[table])
    return content


def write_manifest(content: dict[str, Any], target: Path) -> Path:
    """Write it where it is not the same already."""
    text = yaml.safe_dump(_kept(content), sort_keys=False, allow_unicode=True)
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        atomic_write_text(target, text)
    return target


def _kept(value: Any) -> Any:
    """The content with a key that has no value still without one; the base loader gives it an empty text."""
    if isinstance(value, dict):
        return {key: _kept(inner) for key, inner in value.items()}
    return [_kept(inner) for inner in value] if isinstance(value, list) else value or None
