"""Exit codes, and the one exception that becomes a clear message instead of a traceback."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class ExitCode(enum.IntEnum):
    """Process exit codes; pipelines depend on these numbers."""

    OK = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    RUNTIME = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130
    TERMINATED = 143


class FairpruneError(Exception):
    """An error with a message for the user: what is wrong, where, and how to mend it.

    Args:
        what: one sentence, or several lines when many problems are reported together.
        where: file, row, flag or tensor at fault; empty when `what` says it already.
        hint: how to mend it; empty when nothing useful can be said.
        code: exit code of the process, BAD_INPUT unless told otherwise.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "", code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  to mend: {self.hint}" if self.hint else text


class Problems:
    """Collects problems so that all of them are reported at once.

    Args:
        where: file that all the problems belong to.
        limit: most lines shown; the rest is counted, never dropped silently.
    """

    def __init__(self, where: str, limit: int = 20) -> None:
        self.where = where
        self.limit = limit
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        self.texts.append(text)

    def extend(self, texts: Iterable[str]) -> None:
        self.texts.extend(texts)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def raise_if_any(self, hint: str = "") -> None:
        """Raise one FairpruneError that lists every problem collected so far."""
        if not self.texts:
            return
        if len(self.texts) == 1:
            raise FairpruneError(self.texts[0], where=self.where, hint=hint)
        lines = [f"{len(self.texts)} problems"]
        lines += [f"  - {text}" for text in self.texts[: self.limit]]
        if len(self.texts) > self.limit:
            lines.append(f"  … and {len(self.texts) - self.limit} more")
        raise FairpruneError("\n".join(lines), where=self.where, hint=hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to `word`, or lists what is known."""
    import difflib

    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(options) if options else "none is known here"
