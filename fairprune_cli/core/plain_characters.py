"""Plain twins of characters that the encoding of a stream does not have: never an error because of a dash.

Python's streams raise where they meet a character that a code page of Windows, say, cannot hold. What a command has
to say is worth more than how it looks, so there the character's twin in ASCII is written.
"""

from __future__ import annotations

import codecs
import unicodedata
from typing import Any

ERRORS = "fairprune-plain"
"""The name under which the replacement is known to `codecs`."""

_TWINS = {
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "×": "x", "±": "+-", "−": "-", "–": "-", "—": "-", "·": ".", "•": "*",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "µ": "u", "Δ": "d", "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"',
    "✅": "+", "✓": "+", "❌": "x", "✗": "x", "⚠": "!", "❔": "?", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE",
    "ł": "l", "Ł": "L",
}  # fmt: skip
_UNKNOWN = "?"


def ascii_twin(character: str) -> str:
    """A character in ASCII: its twin, its letter without accents, or a question mark."""
    if character in _TWINS:
        return _TWINS[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        flat, upright = (any(word in name for word in pair) for pair in (("HORIZONTAL", "LEFT", "RIGHT"),
                                                                         ("VERTICAL", "UP", "DOWN")))  # fmt: skip
        return "+" if flat and upright else "|" if upright else "-"
    if name.endswith("BLOCK") or "SHADE" in name:
        return "#"
    parts = unicodedata.normalize("NFKD", character).replace("\u2044", "/")  # of fractions
    letters = "".join(part for part in parts if part.isascii())
    # Marks and selectors that only change the character before them leave nothing.
    return letters or ("" if all(unicodedata.category(part) in ("Mn", "Me", "Cf") for part in parts) else _UNKNOWN)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(ascii_twin(character) for character in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _replaced)


def use_plain_characters(*streams: Any) -> None:
    """Have streams write the twins of what their encoding lacks; streams of other kinds than Python's own stay."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ERRORS)


def holds(stream: Any, text: str) -> bool:
    """Whether the encoding of a stream has every character of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
