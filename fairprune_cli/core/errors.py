"""Exit codes, and the one exception that becomes a clear message instead of a traceback."""

from __future__ import annotations

import enum
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fairprune_cli.core.printable import one_line


class ExitCode(enum.IntEnum):
    """Process exit codes; pipelines depend on these numbers."""

    OK = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    RUNTIME = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130
    TERMINATED = 143


class _Lines(str):
    """Lines that each are one, whatever they were made from: no line break in them but those between them."""


_LONG = re.compile(r"\S{400,}")


def _shown(line: str) -> str:
    """A line of a message, in which a value without end is cut, as a number of 5,000 digits in a file."""
    return one_line(_LONG.sub(lambda word: cut_text(word[0], 200), line))


class FairpruneError(Exception):
    """An error with a message for the user: what is wrong, where, and how to mend it.

    Args:
        what: one sentence, or several lines when many problems are reported together; a line break within one of them
            came with a name or the words of another library, and is shown as white space.
        where: file, row, flag or tensor at fault; empty when `what` says it already.
        hint: how to mend it; empty when nothing useful can be said.
        code: exit code of the process, BAD_INPUT unless told otherwise.
    """

    def __init__(
        self, what: str | Sequence[str], *, where: str = "", hint: str = "", code: ExitCode = ExitCode.BAD_INPUT
    ) -> None:
        lines = [what] if isinstance(what, str) else what
        self.what: str = what if isinstance(what, _Lines) else _Lines("\n".join(map(_shown, lines)))
        super().__init__(self.what)
        self.where = where
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        text = f"{one_line(self.where)}: {self.what}" if self.where else str(self.what)
        return f"{text}\n  to mend: {one_line(self.hint)}" if self.hint else text


@contextmanager
def named(where: str) -> Iterator[None]:
    """Say which file an error is about, where it does not say so itself."""
    try:
        yield
    except FairpruneError as error:
        error.where = error.where or where
        raise


class FairpruneWarning(UserWarning):
    """What the commands print as a warning, where they are called from Python."""


class OwnFault(FairpruneError):
    """Of one of several processes alone: the first one does not know of it, so this one says it itself."""


_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f]+")


def said_by(error: BaseException) -> str:
    """The first line of what an error of other code says, without control characters; of its first cause if it has one.

    Exporters wrap what went wrong in several errors that say how to report it, in colours.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in map(str.strip, _CONTROL.sub("\n", str(error)).splitlines()) if line]
    return lines[0] if lines else type(error).__name__


def cut_text(text: str, most: int = 300) -> str:
    """A text for a message, cut where it is longer: a file's own values stand in it, and may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True)
class Problem:
    """One fault: in words, a code for programs, and the file and row (from 1; 0 for none) it stands in."""

    text: str
    code: str = "manifest"
    file: str = ""
    row: int = 0


MOST_SHOWN = 20


class Problems:
    """Collects problems so that all of them are reported at once.

    Args:
        where: file that all the problems belong to.
        limit: most lines shown; the rest is counted, never dropped silently.
        every: keep each problem of a kind (`data check`), instead of a few and their number.
    """

    def __init__(self, where: str, limit: int = MOST_SHOWN, every: bool = False) -> None:
        self.where = where
        self.limit = limit
        self.every = every
        self.found: list[Problem] = []
        self.notes: list[Problem] = []  # what is odd and does no harm; nothing is raised for them

    @property
    def texts(self) -> list[str]:
        return [problem.text for problem in self.found]

    def add(self, text: str, code: str = "manifest", file: str = "", row: int = 0) -> None:
        self.found.append(Problem(text, code, file, row))

    @property
    def full(self) -> bool:
        """Whether further problems would be counted alone, so that no hint is worth its time."""
        return not self.every and len(self.found) >= self.limit

    def extend(self, texts: Iterable[str], code: str = "manifest") -> None:
        self.found.extend(Problem(text, code) for text in texts)

    def add_some(self, problems: Sequence[Problem], most: int, more: str, before: str = "") -> None:
        """The first `most` problems of a kind, then "[before] N more [more]"; all of them where `every` is set."""
        shown = problems if self.every else problems[:most]
        self.found.extend(shown)
        if len(problems) > len(shown):
            self.add(f"{before}{len(problems) - len(shown):,} more {more}", problems[0].code)

    def __bool__(self) -> bool:
        return bool(self.found)

    def raise_if_any(self, hint: str = "") -> None:
        """Raise one FairpruneError that lists every problem collected so far."""
        texts = self.texts
        if not texts:
            return
        if len(texts) == 1:
            raise FairpruneError(texts[0], where=self.where, hint=hint)
        lines = [f"{len(texts)} problems"]
        lines += [f"  - {text}" for text in texts[: self.limit]]
        if len(texts) > self.limit:
            lines.append(f"  … and {len(texts) - self.limit} more")
        raise FairpruneError(lines, where=self.where, hint=hint)


_LISTED = 40
_ALIKE, _CLEARLY = 0.6, 0.2  # of a ratio from 0 to 1: what counts as close, and closer by so much as what was meant


def nearest(
    word: str, known: Iterable[str], also: Mapping[str, str] | None = None, preferred: Container[str] = ()
) -> str:
    """A hint that names the known word closest to `word`, whatever its case, or lists what is known.

    Args:
        also: other words for the known ones, as people know them from elsewhere.
        preferred: known words that are named in place of another that is hardly closer.
    """
    import difflib

    options = sorted(known)
    meant = {**{_folded(other): name for other, name in (also or {}).items()}, **{_folded(one): one for one in options}}
    wanted = _folded(word)
    wanted = {one.replace("-", ""): one for one in meant}.get(wanted.replace("-", ""), wanted)
    close = [wanted] if wanted in meant else difflib.get_close_matches(wanted, meant, n=5, cutoff=_ALIKE)
    if close:
        best = _ratio(wanted, close[0]) - _CLEARLY
        instead = [one for one in close if meant[one] in preferred and _ratio(wanted, one) >= best]
        return f"did you mean {meant[(instead or close)[0]]!r}?"
    if not options:
        return "none is known here"
    more = f" and {len(options) - _LISTED} more" if len(options) > _LISTED else ""
    return "known: " + ", ".join(options[:_LISTED]) + more


def _ratio(one: str, other: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, other, one).ratio()


def _folded(word: str) -> str:
    """A word as it is compared: small, with hyphens, in American spelling."""
    return re.sub(r"[\s_-]+", "-", word.strip().casefold()).replace("ised", "ized").replace("isation", "ization")
