"""What libjpeg says on stderr while torchcodec decodes: without a file's name, and nothing else tells of the damage."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator

from PIL import Image

# libjpeg's warnings (jerror.h), those that tell of damage in the first group.
_LINE = re.compile(
    rb"(Corrupt JPEG data: |Premature end of JPEG file|Inconsistent progression sequence|Invalid SOS parameters)"
    rb"[^\n]*\n"
    rb"|(?:Warning: unknown JFIF revision number|Unknown Adobe color transform code)[^\n]*\n"
)
_TIMES = 3


class DecoderWords:
    """Words of libjpeg, out of everything that the process writes to stderr; the rest is passed on.

    For use as a context; several threads may decode in it, and one of them passes on.
    """

    def __enter__(self) -> DecoderWords:
        with contextlib.suppress(ValueError, OSError, AttributeError):
            sys.stderr.flush()
        self._stderr = os.dup(2)
        self._file = tempfile.TemporaryFile()
        self._passed = 0
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ValueError, OSError, AttributeError):
            sys.stderr.flush()
        os.dup2(self._stderr, 2)
        self.pass_on()
        os.close(self._stderr)
        self._file.close()

    @property
    def now(self) -> int:
        """A moment, for `since`."""
        return os.fstat(self._file.fileno()).st_size

    def since(self, moment: int) -> str:
        """The first words about damage since then, of whichever thread; "" without any."""
        found = (match for match in _LINE.finditer(self._read(moment)) if match[1])
        first = next(found, None)
        return "" if first is None else first[0].decode("ascii", "replace").strip()

    def about(self, work: Callable[[], object]) -> str:
        """What libjpeg says of a piece of work each time that it is done, so that it is not about that of another."""
        said = set()
        for _ in range(_TIMES):
            begun = self.now
            work()
            said.add(self.since(begun))
        return said.pop() if len(said) == 1 else ""

    def pass_on(self) -> None:
        """Write to stderr what others have written there meanwhile."""
        data = self._read(self._passed)
        self._passed += len(data)
        rest = _LINE.sub(b"", data)
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._stderr, rest) :]

    def _read(self, start: int) -> bytes:
        size = self.now - start
        return os.pread(self._file.fileno(), size, start) if size > 0 else b""


@contextlib.contextmanager
def decoder_words(decode: Callable[[bytes], object]) -> Iterator[DecoderWords | None]:
    """Listen to libjpeg, if it can be heard: None where it says nothing of a damaged image.

    Args:
        decode: the decoder that is going to be used.
    """
    if not hasattr(os, "pread"):
        yield None
        return
    try:
        words = DecoderWords().__enter__()
    except OSError:  # as without a stderr
        yield None
        return
    try:
        begun = words.now
        with contextlib.suppress(Exception):
            decode(_damaged())
        yield words if words.since(begun) else None
    finally:
        words.__exit__()


def _damaged() -> bytes:
    """A JPEG whose data ends early."""
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(stream, "JPEG")
    content = stream.getvalue()
    return content[: len(content) // 2] + content[-2:]
