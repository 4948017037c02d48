"""Files that appear whole or not at all, content hashes, whether a file has changed, and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.limits import refuse_above
from fairprune_cli.core.signals import to_be_undone, uncut

if TYPE_CHECKING:
    import numpy as np

# A file changed within the clock's tick after it was read looks unchanged: only older ones are believed (as git does).
TICK = 100_000_000
_SPECIAL = "is a pipe, device or socket, and no plain file"


def unchanged(known: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Which files still hold what was read of them, bool [...].

    Args:
        known: int64 [..., 4]: size in bytes, times of change of content and of entry and time of reading, in ns, when
            they were read.
        now: int64 [..., 3], their sizes and times of change.
    """
    return (known[..., :3] == now).all(-1) & (known[..., 1:3].max(-1) + TICK < known[..., 3])


@contextlib.contextmanager
def atomic_path(path: Path, lasting: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an exception.

    Args:
        lasting: whether it is to outlive a loss of power, for which the disk is waited for.

    Raises:
        FairpruneError: the folder is read-only, missing or full (exit code 3); `path` is untouched then.
    """
    with to_be_undone():
        yield from _atomic_path(Path(path), lasting)


def _atomic_path(path: Path, lasting: bool) -> Iterator[Path]:
    temporary: Path | None = None
    try:
        if _is_special(path):
            raise OSError(errno.EINVAL, _SPECIAL, str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with uncut():  # else a signal could come between the file and its name
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            os.close(handle)
            temporary = Path(name)
        yield temporary
        # mkstemp makes the file private; a result should have the permissions any new file gets.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        if lasting:
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, path)
        temporary = None
        if lasting:
            _sync_folder(path.parent)
    except OSError as error:
        raise FairpruneError(
            f"cannot write: {error.strerror or error}",
            where=str(path),
            hint="check that the folder can be written and that the disk has room",
            code=ExitCode.RUNTIME,
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_no_room(path: Path) -> None:
    """Refuse a file or folder that could not be made, before the work whose result it is to hold.

    Whether something can be written is tried: permissions do not tell of file systems that take nothing.

    Raises:
        FairpruneError: what is to hold it is a file, or takes no files, or not of such a name.
    """
    path = Path(path)
    hint = "give another --out"
    if _is_special(path):
        raise FairpruneError(_SPECIAL, where=str(path), hint=hint)
    place = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    if place != path and not place.is_dir():
        raise FairpruneError(f"cannot be made: {place} is a file", where=str(path), hint=hint)
    folder = place if place.is_dir() else place.parent
    try:
        longest = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
        for name in path.absolute().parts[len(folder.absolute().parts) :]:
            if len(os.fsencode(name)) > longest:
                raise FairpruneError(
                    f"cannot be made: a name of {len(os.fsencode(name))} bytes is too long", where=str(path), hint=hint
                )
        os.rmdir(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=folder))
    except OSError as error:
        raise FairpruneError(
            f"cannot be made: {folder} is not writable ({error.strerror or error})", where=str(path), hint=hint
        ) from error


def _is_special(path: Path) -> bool:
    """Whether there is something that a rename would take away from all who use it, such as /dev/null."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_taken(path: Path, force: bool) -> None:
    """Refuse to write a file where there is one, unless `force` is set, or where none can be."""
    if path.is_dir():
        raise FairpruneError("is a folder", where=str(path), hint="give a file name to --out")
    if path.exists() and not force:
        raise FairpruneError("already exists", where=str(path), hint="--force overwrites it, --out writes elsewhere")
    refuse_no_room(path)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a loss of power, where the system lets folders be synchronised."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_plain(path: str | Path) -> IO[bytes]:
    """A file for reading. What is no plain file is refused: a pipe is waited for, and a device may never end.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, device or socket.
    """
    # Without O_NONBLOCK the opening itself would wait for whoever writes to a pipe.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return open(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, _SPECIAL, str(path))


def refuse_no_file(path: Path, hint: str) -> None:
    """Refuse a path that is no plain file.

    Raises:
        FairpruneError: there is nothing, or a folder, pipe, device or socket.
    """
    if path.is_file():
        return
    special = "is a folder" if path.is_dir() else _SPECIAL if path.exists() else "no such file"
    raise FairpruneError(special, where=str(path), hint=hint)


def refuse_large(stream: IO[bytes], path: str | Path, most: str) -> None:
    """Refuse a file before it is read: one with holes takes no place on a disk, and as many bytes of memory as it says.

    Args:
        most: name of the limit of its size.

    Raises:
        FairpruneError: it is larger.
    """
    refuse_above(os.fstat(stream.fileno()).st_size, most, str(path), "the file")


def read_plain(path: str | Path, most: str) -> bytes:
    """The bytes of a plain file.

    Args:
        most: name of the limit of its size.

    Raises:
        OSError: as `open_plain`, or it waits for what is to come, as some files of the kernel do.
        FairpruneError: it is larger than the limit.
    """
    with open_plain(path) as stream:
        refuse_large(stream, path, most)
        data: bytes | None = stream.read()
        if data is None:
            raise OSError(errno.EINVAL, _SPECIAL, str(path))
        return data


def read_document(
    path: Path, kind: str, parse: Callable[[str], Any], most: str, hint: str, faults: type[Exception] = ValueError
) -> Any:
    """What `parse` makes of a text file that stays within a size.

    Args:
        kind: what the file should be, in one word, for messages.
        most: name of the limit of its size; hint: what to do where there is no such file; faults: what `parse` raises
            beside ValueError.

    Raises:
        FairpruneError: it is absent, no regular file, larger than that, or cannot be read as such.
    """
    try:
        return parse(read_plain(path, most).decode("utf-8"))
    except FileNotFoundError:
        raise FairpruneError(f"no such {kind}", where=str(path), hint=hint) from None
    except (OSError, ValueError, RecursionError, faults) as error:
        text = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise FairpruneError(f"cannot be read as a {kind}: {text}", where=str(path)) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` that a killed process left in `folder`."""
    for left in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()


_IN_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def file_name(text: str) -> str:
    """`text` as the name of a file or folder that every system takes, and every store of a pipeline's files.

    The colon of 2:4 is one that Windows and GitHub's artifacts refuse.
    """
    return _IN_NO_NAME.sub("-", text).rstrip(". ") or "-"


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """As `atomic_write_bytes`, for UTF-8 text with Unix line ends."""
    atomic_write_bytes(path, text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces of 1 MiB.

    Raises:
        FairpruneError: what is no regular file cannot be read so.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        try:
            while piece := stream.read(1 << 20):
                digest.update(piece)
        except OSError as error:
            if error.errno != errno.EIO or os.fstat(stream.fileno()).st_size:
                raise  # a disk that fails
            raise FairpruneError(f"cannot be read: {_SPECIAL}", where=str(path)) from error
    return digest.hexdigest()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in the cache that is gone afterwards."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with to_be_undone(), tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        yield Path(folder)


def cache_dir() -> Path:
    """FAIRPRUNE_CACHE, or `fairprune` in XDG_CACHE_HOME, or ~/.cache/fairprune."""
    if explicit := os.environ.get("FAIRPRUNE_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fairprune"


def kept_of(folder: Path, path: str) -> Path:
    """The .npz in a folder of the cache for what was read of a file or folder, whatever links lead to it."""
    name = hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder / f"{name}.npz"
