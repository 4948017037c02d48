"""How far long work is: a bar that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

HEARTBEAT_SECONDS = 20.0
_LONG_BAR, _SHORT_BAR = 18, 10  # columns
_WIDE_LINE = 100  # columns from which on the long bar is drawn
_SHORTEST_NAME = 16  # columns to which the name of the work is cut before a figure is left out


class Progress:
    """Counts steps and shows nothing; the base of the two displays.

    Args:
        what: what is being done.
        total: steps in all; None while that is not known, or where the work has no steps.
        clock: seconds, monotonic.
    """

    def __init__(self, what: str, total: int | None, clock: Callable[[], float]) -> None:
        self.what, self.total, self.clock = what, total, clock
        self.done = 0
        self.started = clock()
        self._first: tuple[float, int] | None = None  # when the first steps were reported, and how many they were

    def start(self) -> None:
        """Begin to show."""

    def stop(self) -> None:
        """Show the end state and give the line back."""

    def update(self, done: int, fields: Mapping[str, str] | None = None, *, total: int | None = None) -> None:
        """`done` steps are behind us; `fields` are figures to show, in order; `total` where it shows only now."""
        if total is not None:
            self.total = total
        self.done = done
        if done and self._first is None:
            self._first = self.clock(), done

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.total is not None and self.done >= self.total

    def remaining(self) -> str:
        """Time left at the pace so far, as m:ss; dashes while nothing is known of it."""
        if self._first is None or self.total is None:
            return "-:--"
        since, done = self._first  # what an earlier process did, and the start of this one, say nothing of the pace
        if self.done <= done:
            since, done = self.started, 0
        return in_minutes((self.clock() - since) / (self.done - done) * max(self.total - self.done, 0))

    def counted(self) -> str:
        """The steps done, of those in all where they are known."""
        return f"{self.done}" if self.total is None else f"{self.done}/{self.total}"


def in_minutes(seconds: float) -> str:
    """A duration as m:ss, or h:mm:ss from an hour on."""
    hours, rest = divmod(int(seconds), 3600)
    minutes = f"{rest // 60:02d}" if hours else f"{rest // 60}"
    return f"{f'{hours}:' if hours else ''}{minutes}:{rest % 60:02d}"


class Heartbeat(Progress):
    """One plain line at the start, every 20 s whatever the length of a step, and at the end.

    Args:
        say: writes a line.
    """

    def __init__(self, what: str, total: int | None, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        super().__init__(what, total, clock)
        self._say = say
        self._last = self.started
        self._figures: Mapping[str, str] = {}
        self._ended = threading.Event()
        self._turn = threading.RLock()  # a signal's handler may end in here again

    def start(self) -> None:
        steps = "" if self.total is None else f", {self.total} step{'s' * (self.total != 1)}"
        self._say(f"{self.what}: started{steps}")
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def update(self, done: int, fields: Mapping[str, str] | None = None, *, total: int | None = None) -> None:
        with self._turn:
            ended = self.complete
            super().update(done, fields, total=total)
            self._figures = fields or {}
            if self.clock() - self._last >= HEARTBEAT_SECONDS or (self.complete and not ended):
                self._tell()

    def _beat(self) -> None:
        """Speak up while a single step takes longer than the time between two lines."""
        while not self._ended.wait(HEARTBEAT_SECONDS / 4):
            with self._turn:
                if self.clock() - self._last >= HEARTBEAT_SECONDS and not self._ended.is_set():
                    self._tell()

    def _tell(self) -> None:
        self._last = self.clock()
        if self.total is None:
            self._say(f"{self.what}: {in_minutes(self._last - self.started)} so far")
            return
        share = f"{100 * self.done / max(self.total, 1):.0f} %"
        figures = " ".join(f"{name} {value}" for name, value in self._figures.items())
        left = "" if self.complete else f", {self.remaining()} left"
        self._say(f"{self.what}: {self.counted()} ({share}){left}{'; ' * bool(figures)}{figures}")


class ProgressBar(Progress):
    """A bar that is redrawn in place: bar, count and time left first, then what is done, then figures that fit.

    Args:
        console: rich's, on the stream.
    """

    def __init__(self, what: str, total: int | None, clock: Callable[[], float], console: Any) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        super().__init__(what, total, clock)
        self.console = console
        self._bar_width = _LONG_BAR if console.width >= _WIDE_LINE else _SHORT_BAR
        self._rich = RichProgress(
            BarColumn(bar_width=self._bar_width), TextColumn("{task.fields[words]}", markup=False), console=console,
            refresh_per_second=5, transient=False,
        )  # fmt: skip
        self._task = self._rich.add_task("", total=total, words=self._words({}))

    def start(self) -> None:
        self._rich.start()

    def update(self, done: int, fields: Mapping[str, str] | None = None, *, total: int | None = None) -> None:
        super().update(done, fields, total=total)
        self._rich.update(self._task, completed=done, total=self.total, words=self._words(fields or {}))

    def stop(self) -> None:
        self._rich.stop()

    def _words(self, fields: Mapping[str, str]) -> str:
        """The line behind the bar: names are cut before figures, and figures are left out from the last one on."""
        from rich.cells import cell_len, set_cell_size

        taken = in_minutes(self.clock() - self.started)
        time = f"{taken} so far" if self.total is None else f"in {taken}" if self.complete else self._left()
        count = [] if self.total is None and not self.done else [self.counted()]
        words = " ".join([*count, time])
        room = self.console.width - self._bar_width - 2 - cell_len(words)
        figures = [f"{name} {value}" for name, value in fields.items()]
        room_of_name = max(room - sum(cell_len(figure) + 1 for figure in figures) - 1, min(_SHORTEST_NAME, room - 1))
        what = self.what if cell_len(self.what) <= room_of_name else set_cell_size(self.what, room_of_name - 1) + "…"
        words += f" {what}"
        for figure in figures:
            if self._bar_width + 2 + cell_len(words) + cell_len(figure) > self.console.width:
                break
            words += f" {figure}"
        return words

    def _left(self) -> str:
        return f"{self.remaining()} left"
