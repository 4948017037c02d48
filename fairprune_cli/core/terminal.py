"""The streams of a command: results on stdout, the rest on stderr; a bar on a terminal, a heartbeat elsewhere."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from json import dumps
from typing import Any, TextIO

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.plain_characters import holds
from fairprune_cli.core.printable import UNPRINTABLE, one_line, without_commands
from fairprune_cli.core.progress import Heartbeat, Progress, ProgressBar
from fairprune_cli.core.signals import to_be_undone

SIGN_OF_LIFE_SECONDS = 2.0
_NARROWEST = 20  # columns of a terminal below which it is written as if it were so wide
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_TO_BE_COPIED = re.compile(r"\bfairprune(_cli)? [a-z-]")  # a command: a line break within it would be copied as well


def clean(text: str) -> str:
    """Text without characters that a group or file name could use to fool a terminal; tabs and line ends stay."""
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in "\t\n" else "�", text)


class Terminal:
    """Where a command writes.

    Args:
        out, err: text streams for results and for the rest.
        env: NO_COLOR, TERM and COLUMNS are read from it.
        quiet: no progress and no notes; warnings and errors stay.
        clock: seconds, monotonic; tests hand in their own.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        env: Mapping[str, str] | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.env = os.environ if env is None else env
        self.quiet = quiet
        self.clock = clock
        self.warnings: list[dict[str, str]] = []
        self._drawn_on: Any = None  # the console of the bar that is being drawn

    @property
    def live(self) -> bool:
        """Whether progress may be drawn in place: stderr is a terminal that is not dumb."""
        return self._redraws(self.err)

    def _redraws(self, stream: TextIO) -> bool:
        try:
            return stream.isatty() and self.env.get("TERM", "") != "dumb"
        except ValueError:  # it is closed
            return False

    def console_on(self, stream: TextIO, into: TextIO | None = None) -> Any:
        """A console that looks as `stream` wants it, and writes to `into` where that is given."""
        from rich.console import Console

        terminal = self._redraws(stream)
        width = None if terminal else 110
        return Console(
            file=into or stream, force_terminal=terminal, no_color=bool(self.env.get("NO_COLOR")), width=width,
            highlight=False, markup=False, emoji=False, legacy_windows=False,
            color_system="auto" if terminal else None,
        )  # fmt: skip

    @property
    def width(self) -> int:
        """Columns of a line of stdout."""
        return int(self.console_on(self.out).width)

    def result(self, text: str) -> None:
        """A line of the result, to stdout; a terminal gets it in lines that break between words."""
        lines = self._broken(one_line(text), self.out)
        self._deliver(without_commands("".join(f"{line}\n" for line in lines)))

    def document(self, text: str) -> None:
        """A document of many lines, to stdout as it is."""
        self._deliver(clean(text).rstrip("\n") + "\n")

    def json(self, text: str) -> None:
        """A JSON document of the result, to stdout.

        What cannot be printed, or what the stream's encoding lacks, is written as escapes of JSON.
        """
        text = UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else _escaped(found), text)
        self._deliver((text if holds(self.out, text) else _NOT_ASCII.sub(_escaped, text)) + "\n")

    def _broken(self, line: str, stream: TextIO) -> list[str]:
        """A line as those that a terminal can show, broken between words; anywhere else, and a command, as it is."""
        if not self._redraws(stream) or _TO_BE_COPIED.search(line):
            return [line]
        from fairprune_cli.core.table_layout import in_columns

        return in_columns(line, max(int(self.console_on(stream).width), _NARROWEST))

    def _deliver(self, text: str) -> None:
        """Write to stdout; a reader that has left (`| head`) does not change what the command does and returns."""
        try:
            self.out.write(text)
            self.out.flush()
        except BrokenPipeError:
            # The descriptor itself is turned away, or the interpreter would complain when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())
        except OSError as error:
            # What could not be written must not be tried again at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())
            raise FairpruneError(
                f"cannot write: {error.strerror or error}", where="stdout", hint="check that the disk has room",
                code=ExitCode.RUNTIME,
            ) from error  # fmt: skip

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of the result, to stdout; the first column is text, the others are right-aligned figures.

        No figure is ever broken: where the stream is too narrow for all, lines are longer than it.
        """
        from rich import box
        from rich.table import Table

        from fairprune_cli.core.table_layout import arranged

        text = io.StringIO()  # rich itself would end the process with code 1 at a broken pipe
        console = self.console_on(self.out, text)
        shown = [[one_line(cell) for cell in row] for row in (columns, *rows)]
        for line in self._broken(one_line(title), self.out) if title else ():
            console.print(line, style="bold", soft_wrap=True)
        for part in arranged(shown, console.width, several=self._redraws(self.out)):
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=part.edges)
            for i, (name, width) in enumerate(zip(part.rows[0], part.widths, strict=True)):
                table.add_column(name, justify="left" if i == 0 else "right", overflow="fold", width=width)
            for row in part.rows[1:]:
                table.add_row(*row)
            console.width = max(console.width, part.width)
            console.print(table)
        self._deliver(without_commands(text.getvalue()))

    def note(self, text: str) -> None:
        """A remark, to stderr unless quiet."""
        if not self.quiet:
            self._line(text)

    def warn(self, text: str, code: str = "warning") -> None:
        """A warning: to stderr, and kept for the report."""
        self.warnings.append({"code": code, "text": text})
        self._line(f"warning: {text}")

    def error(self, text: str) -> None:
        """An error message, to stderr; its lines are those of an error of ours, see there."""
        self._say([part for line in f"error: {text}".split("\n") for part in self._broken(one_line(line), self.err)])

    def command(self, text: str, result: bool = False) -> None:
        """A line for the program that runs the pipeline, never broken; to stdout where it is the result."""
        if result:
            self._deliver(one_line(text) + "\n")
        else:
            self._put([one_line(text)])

    def _line(self, text: str) -> None:
        self._say(self._broken(one_line(text), self.err))

    def _say(self, lines: Sequence[str]) -> None:
        self._put(list(map(without_commands, lines)))

    def _put(self, lines: Sequence[str]) -> None:
        """Lines to stderr; above the bar where there is one."""
        try:
            if self._drawn_on is not None:
                self._drawn_on.print("\n".join(lines), soft_wrap=True)
                return
            self.err.write("".join(f"{line}\n" for line in lines))
            self.err.flush()
        except (OSError, ValueError):
            pass  # nobody listens any more; the exit code still speaks

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Progress]:
        """Progress over `total` steps, shown as fits the stream; None where there are none, or not known yet."""
        what = one_line(what)
        display: Progress
        if self.quiet:
            display = Progress(what, total, self.clock)
        elif self.live:
            display = ProgressBar(what, total, self.clock, self.console_on(self.err))
            self._drawn_on = display.console
        else:
            display = Heartbeat(what, total, self.clock, self.note)
        with to_be_undone() if self.live else nullcontext():  # a bar hides the cursor
            display.start()
            try:
                yield display
            finally:
                display.stop()
                self._drawn_on = None

    @contextmanager
    def eventual_progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A function of (steps done, steps in all) that shows progress from two seconds on until all are done."""
        started = self.clock()
        display: Progress | None = None
        with ExitStack() as shown:

            def on_progress(done: int, total: int) -> None:
                nonlocal display
                if display is None and done < total and self.clock() - started >= SIGN_OF_LIFE_SECONDS:
                    display = shown.enter_context(self.progress(what, total))
                if display is not None:
                    display.update(done, total=total)
                if done >= total:  # there may be one display at a time
                    display = None
                    shown.close()

            yield on_progress


def _escaped(found: re.Match[str]) -> str:
    """A character as an escape of JSON."""
    return dumps(found[0])[1:-1]
