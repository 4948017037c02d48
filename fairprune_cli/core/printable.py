"""Names as they are kept and shown: trimmed, in one form of Unicode, and of characters that can be printed."""

from __future__ import annotations

import re
import unicodedata

# Marks that turn the direction of writing around let a name show as another one.
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
UNPRINTABLE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_DIRECTIONS}]")
"""Control characters, line breaks of any kind, halves of characters, and marks that turn the direction of writing.

Not among them, unlike in `str.isprintable`: spaces of other widths, and joiners, without which some scripts cannot be
written.
"""


_BREAK = re.compile(r"[\t\n\r]+")


def one_line(text: str) -> str:
    """Text that came from elsewhere, as part of one line: white space for its line breaks, � for what UNPRINTABLE is.

    A name, a path or the message of another library can then neither begin a line of its own, which a pipeline's runner
    might take for a command, nor move the cursor of a terminal.
    """
    return UNPRINTABLE.sub("�", _BREAK.sub(" ", text))


# How lines begin, or what they hold, that the runners of GitHub and Azure take for commands to them.
_COMMAND = re.compile(r"^([ ]*)(?=::)|(?<=#)(?=#\w*\[)", re.MULTILINE)


def without_commands(text: str) -> str:
    """Lines of which no runner takes one for a command, although a name in them is written so: `\\::error::`."""
    return _COMMAND.sub(r"\1\\", text) if "::" in text or "##" in text else text


def is_printable(text: str) -> bool:
    """Whether a name can be shown on one line, as what it is."""
    return text.isprintable() or UNPRINTABLE.search(text) is None  # the former is quick, and stricter


def tidy(text: str) -> str:
    """A name without white space around it, its letters composed (Unicode's NFC): what looks alike is alike."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text).strip()
