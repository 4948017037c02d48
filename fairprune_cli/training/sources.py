"""Where a trainer takes its batches from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class BatchSource(Protocol):
    """Endless batches whose position can be saved."""

    def next(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
