"""Silence around torch's exporters, which print graphs, progress and advice for their own developers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """A block that writes nothing to stdout and stderr, logs and warns of nothing; what it raises says what failed.

    A trace that fails has its half of a graph printed, and stdout belongs to the command's result.
    """
    before, nowhere = logging.root.manager.disable, io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.ERROR))
        try:
            yield
        finally:
            logging.disable(before)
