"""`fairprune data cache`: the cache of decoded images, shown or emptied."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from fairprune_cli.commands.flags import Json
from fairprune_cli.commands.output import say_next, terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.terminal import Terminal


def cache_command(
    clear: Annotated[bool, typer.Option("--clear", help="remove everything in it")] = False, as_json: Json = False
) -> int:
    """Show or empty the cache of decoded images."""
    terminal = terminal_of()
    code = cache(clear, terminal, as_json)
    if not clear:
        say_next(terminal, as_json, "data", "cache", "--clear")
    return int(code)


def cache(clear: bool, terminal: Terminal, as_json: bool) -> ExitCode:
    """What the cache of decoded images holds, or, with `clear`, what was removed from it."""
    from fairprune_cli.data.images import cache_store

    limit = cache_store.cache_limit()
    entries = cache_store.clear_cache() if clear else cache_store.entries()
    total = sum(entry.bytes for entry in entries)
    document = {
        "folder": str(cache_store.root()), "limit": limit, "bytes": 0 if clear else total,
        "entries": [] if clear else [entry.document() for entry in entries],
        "removed": [entry.document() for entry in entries] if clear else [],
    }  # fmt: skip
    if as_json:
        terminal.json(json.dumps(document, indent=2, ensure_ascii=False))
        return ExitCode.OK
    if clear:
        terminal.result(f"{cache_store.root()}: {len(entries)} entries removed, {total / 1e6:,.1f} MB")
        return ExitCode.OK
    rows = [
        [entry.name or entry.folder.name, f"{entry.images:,}", "-" if entry.shape is None else entry.shape.pixels,
         f"{entry.bytes / 1e6:,.1f}",
         time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))]
        for entry in reversed(entries)
    ]  # fmt: skip
    if rows:
        terminal.table("decoded images, last used first", ["data set", "images", "pixels", "MB", "used"], rows)
    terminal.result(f"{cache_store.root()}: {total / 1e6:,.1f} MB of at most {limit / 1e6:,.0f} MB")
    return ExitCode.OK
