"""Settings of exports."""

from __future__ import annotations

from dataclasses import dataclass

from fairprune_cli.core.settings import setting


@dataclass(frozen=True)
class ExportOptions:
    """Calibration of exports in 8-bit integers."""

    calibration_images: int = setting(
        256,
        "images of the val split that export --int8 is calibrated on, equally many of each group",
        low=1,
        high=1_000_000,
    )
