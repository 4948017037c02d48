"""What an interrupted run left in its folder, read again: its state and its log, held against their form."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import open_plain, read_document
from fairprune_cli.core.out_of_memory import is_out_of_memory


def events_of(path: Path, epochs: int) -> tuple[str, str]:
    """The text of events.jsonl, and what of it belongs to a state of `epochs` epochs.

    Raises:
        FairpruneError: a line is none that a run writes; the last one may be cut short.
    """
    text = read_document(path, "log of events", str, "events_bytes", "")
    kept: list[str] = []
    seen = 0
    # What stands behind the last line end was not written to its own.
    for number, line in enumerate(text.split("\n")[:-1], 1):
        seen += _event_of(line, f"{path}, line {number}") == "epoch"
        if seen <= epochs:
            kept.append(f"{line}\n")
    return text, "".join(kept)


def _event_of(line: str, where: str) -> str:
    """What a line of events.jsonl tells of.

    Raises:
        FairpruneError: it is none.
    """
    try:
        event = json.loads(line, parse_constant=_refuse_constant)
        if isinstance(event, dict) and isinstance(kind := event.get("event"), str):
            return kind
        text = "it has no event"
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
    raise FairpruneError(
        f"is no line that a run writes: {text}", where=where, hint="take the line out; the run does not need it"
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read_state(path: Path) -> dict[str, Any]:
    """A state whose every part has the checksum it was written with.

    Raises:
        FairpruneError: it is damaged, or of another form.
    """
    import torch

    again = f"remove {path.parent}, and --resume begins at the first step"
    try:
        # torch itself would take changed numbers for what was saved.
        with open_plain(path) as stream, zipfile.ZipFile(stream) as parts:
            if sum(part.file_size for part in parts.infolist()) > os.fstat(stream.fileno()).st_size:
                raise ValueError("its parts claim more bytes than it has")  # they are written as they are
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} has another checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Damaged files make both raise nearly anything.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise FairpruneError("the saved state is damaged", where=str(path), hint=again) from error
    if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in ("trainer", "origin")):
        raise FairpruneError("it is not a state of this version", where=str(path), hint=again)
    return state
