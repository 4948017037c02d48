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
from fairprune_cli.core.printable import UNPRINTABLE
from fairprune_cli.core.signals import to_be_undone

HEARTBEAT_SECONDS = 20.0
SIGN_OF_LIFE_SECONDS = 2.0
_LONGEST_WORD = 24  # columns of the line that a word in a table takes at most before it is broken
BETWEEN_COLUMNS = 2  # columns of the line from one column of a table to the next
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


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

    @property
    def live(self) -> bool:
        """Whether progress may be drawn in place: stderr is a terminal that is not dumb."""
        return self.err.isatty() and self.env.get("TERM", "") != "dumb"

    def console_on(self, stream: TextIO, into: TextIO | None = None) -> Any:
        """A console that looks as `stream` wants it, and writes to `into` where that is given."""
        from rich.console import Console

        terminal = stream.isatty() and self.env.get("TERM", "") != "dumb"
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
        """A line of the result, to stdout."""
        self._deliver(text + "\n")

    def json(self, text: str) -> None:
        """A JSON document of the result, to stdout; what the stream's encoding lacks is written as escapes of JSON."""
        self.result(text if holds(self.out, text) else _NOT_ASCII.sub(lambda found: dumps(found[0])[1:-1], text))

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

        text = io.StringIO()  # rich itself would end the process with code 1 at a broken pipe
        console = self.console_on(self.out, text)
        shown = [[clean(cell) for cell in row] for row in (columns, *rows)]
        widths = _widths(shown, console.width)
        table = Table(title=clean(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                      pad_edge=False, collapse_padding=True, show_edge=widths[0] is None)  # fmt: skip
        for i, name in enumerate(shown[0]):
            table.add_column(name, justify="left" if i == 0 else "right", overflow="fold", width=widths[i])
        for row in shown[1:]:
            table.add_row(*row)
        console.width = max(console.width, sum(width + BETWEEN_COLUMNS for width in widths if width))
        console.print(table)
        self._deliver(text.getvalue())

    def note(self, text: str) -> None:
        """A remark, to stderr unless quiet."""
        if not self.quiet:
            self._line(clean(text))

    def warn(self, text: str, code: str = "warning") -> None:
        """A warning: to stderr, and kept for the report."""
        self.warnings.append({"code": code, "text": text})
        self._line(f"warning: {clean(text)}")

    def error(self, text: str) -> None:
        """An error message, to stderr."""
        self._line("error: " + "\n".join(clean(line) for line in text.splitlines()))

    def command(self, text: str, result: bool = False) -> None:
        """A line for the program that runs the pipeline, as it is; to stdout where it is the result."""
        self.result(text) if result else self._line(text)

    def _line(self, text: str) -> None:
        try:
            self.err.write(text + "\n")
            self.err.flush()
        except (OSError, ValueError):
            pass  # nobody listens any more; the exit code still speaks

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Progress]:
        """Progress over `total` steps, shown as fits the stream."""
        display: Progress
        if self.quiet:
            display = Progress(self, what, total)
        elif self.live:
            display = _Bar(self, what, total)
        else:
            display = _Heartbeat(self, what, total)
        with to_be_undone() if self.live else nullcontext():  # a bar hides the cursor
            display.start()
            try:
                yield display
            finally:
                display.stop()

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
                    display.update(done)
                if done >= total:  # there may be one display at a time
                    display = None
                    shown.close()

            yield on_progress


def _widths(table: Sequence[Sequence[str]], line: int) -> Sequence[int | None]:
    """Width of each column of a table with its heads; None for all where they fit the line as they are.

    Else the first column alone is broken, at its words, so that a figure stands beside its interval; where that is not
    enough, figures and words of the cells are not broken, and what the line has left goes to the longest.
    """
    from rich.cells import cell_len

    wanted = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    spare = line - sum(wanted) - BETWEEN_COLUMNS * len(wanted)
    if spare >= 0:
        return [None] * len(wanted)
    words = [[cell_len(word) for cell in column[1:] for word in cell.split()] for column in zip(*table, strict=True)]
    widths = [min(max(lengths, default=1), _LONGEST_WORD) for lengths in words]
    first = line - sum(wanted[1:]) - BETWEEN_COLUMNS * (len(wanted) - 1)  # without the edges of the table
    if first >= widths[0]:
        return [first, *wanted[1:]]
    for _ in range(line - sum(widths) - BETWEEN_COLUMNS * len(widths)):
        lacking = [want - width for want, width in zip(wanted, widths, strict=True)]
        widths[lacking.index(max(lacking))] += 1
    return widths


class Progress:
    """Counts steps and shows nothing; the base of the two displays."""

    def __init__(self, terminal: Terminal, what: str, total: int) -> None:
        self.terminal, self.what, self.total = terminal, what, total
        self.done = 0
        self.started = terminal.clock()

    def start(self) -> None:
        """Begin to show."""

    def stop(self) -> None:
        """Show the end state and give the line back."""

    def update(self, done: int, fields: Mapping[str, str] | None = None) -> None:
        """`done` of `total` steps are behind us; `fields` are figures to show, in order."""
        self.done = done

    def remaining(self) -> str:
        """Time left at the pace so far, as m:ss."""
        if not self.done:
            return "-:--"
        seconds = (self.terminal.clock() - self.started) / self.done * (self.total - self.done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class _Heartbeat(Progress):
    """One plain line at the start, every 20 s, and at the end."""

    _last = -1e9

    def start(self) -> None:
        self._last = self.started
        self.terminal.note(f"{self.what}: started, {self.total} steps")

    def update(self, done: int, fields: Mapping[str, str] | None = None) -> None:
        super().update(done, fields)
        now = self.terminal.clock()
        if now - self._last >= HEARTBEAT_SECONDS or done >= self.total:
            self._last = now
            share = f"{100 * done / max(self.total, 1):.0f} %"
            figures = " ".join(f"{k} {v}" for k, v in (fields or {}).items())
            left = "" if done >= self.total else f", {self.remaining()} left"
            self.terminal.note(f"{self.what}: {done}/{self.total} ({share}){left} {figures}".rstrip())


class _Bar(Progress):
    """A bar that is redrawn in place."""

    def start(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = self.terminal.console_on(self.terminal.err)
        self._rich = RichProgress(
            TextColumn("{task.description}"), BarColumn(bar_width=18), MofNCompleteColumn(),
            TimeRemainingColumn(compact=True), TextColumn("{task.fields[figures]}"), console=console,
            refresh_per_second=5, transient=False,
        )  # fmt: skip
        self._task = self._rich.add_task(clean(self.what), total=self.total, figures="")
        self._rich.start()

    def update(self, done: int, fields: Mapping[str, str] | None = None) -> None:
        super().update(done, fields)
        figures = " ".join(f"{k} {v}" for k, v in (fields or {}).items())
        self._rich.update(self._task, completed=done, figures=figures)

    def stop(self) -> None:
        self._rich.stop()
