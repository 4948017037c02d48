"""Memory of this process, as the system tells it."""

from __future__ import annotations

import sys


def peak_resident_bytes() -> int | None:
    """Largest resident memory so far, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
