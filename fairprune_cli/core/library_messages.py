"""What libraries warn of and log, told in one line each, whatever names and bytes it quotes."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TextIO

from fairprune_cli.core.printable import one_line
from fairprune_cli.core.terminal import Terminal


def tell_in_one_line() -> None:
    """From now on in this process."""
    warnings.showwarning = _show_warning
    if logging.lastResort is not None:  # where a library's log goes that nobody has asked for
        logging.lastResort.setFormatter(_OneLine())


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    place = f"{os.path.basename(filename)}:{lineno}"
    Terminal().command(f"{category.__name__} ({place}): {' '.join(str(message).split())}")


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))
