"""TensorBoard: event files in the folder `tensorboard` of the run folder, without torch and without TensorFlow.

Where a run has no folder they go to runs/tensorboard/NAME. Names stay as they are; TensorBoard takes any.
"""

from __future__ import annotations

from pathlib import Path

from fairprune_cli.report.tracking import TrackedRun

PACKAGE = "tensorboard"
ENVIRONMENT: dict[str, str] = {}


def log(run: TrackedRun) -> str:
    """Figures and epochs as scalars, settings and what is known of the run as a table."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = run.folder / "tensorboard" if run.folder is not None else Path("runs", "tensorboard", run.name)
    for earlier in folder.glob("events.out.tfevents.*"):  # of the run that was here before, which would be drawn too
        earlier.unlink()
    writer = EventFileWriter(str(folder))
    try:
        for step, figures in [*run.epochs, (0, run.figures)]:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
            writer.add_event(Event(step=step, summary=Summary(value=values)))
        rows = [f"| {key} | {_in_a_cell(value)} |" for key, value in [*run.facts.items(), *run.settings.items()]]
        table = "\n".join(["| setting | value |", "|---|---|", *rows])
        writer.add_event(Event(step=0, summary=text_pb("settings", table)))
    finally:
        writer.close()
    return ""


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
