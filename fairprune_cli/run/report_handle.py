"""What `prune` and `audit` give in Python: the document of report.json with its parts, formats and displays."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairprune_cli import report as formats
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.printable import one_line
from fairprune_cli.report import compose, notebook, words
from fairprune_cli.report.plain import plain
from fairprune_cli.report.read import contradiction, read_report
from fairprune_cli.report.sections.verdict import findings, gate_name, verdict_sentence
from fairprune_cli.report.view import View

if TYPE_CHECKING:
    from torch import nn

_CODES = {"pass": ExitCode.OK, "none": ExitCode.OK, "fail": ExitCode.GATE_FAILED}


class Report:
    """The report of a run or an audit.

    It is neither true nor false, so that `assert audit(...)` cannot pass for a verdict: ask `passed`, or have `check`
    raise.

    Args:
        document: as report.json holds it.
        folder: of the run, or that the report was written into; None where nothing was.
        network: what the pruned model was built from, where the caller had that in memory.
    """

    def __init__(
        self, document: Mapping[str, Any], folder: Path | None = None, network: nn.Module | None = None
    ) -> None:
        self.document: dict[str, Any] = plain(document)
        self.folder = folder
        self._network = network

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Report:
        """The report of a run folder, or of a report.json.

        Raises:
            FairpruneError: there is none, or it is none that this version reads.
        """
        path = Path(path)
        return cls(read_report(path), path if path.is_dir() else path.parent)

    @property
    def verdict(self) -> str:
        """ "pass", "fail", "inconclusive", or "none" where no gate was asked for."""
        return View(self.document).verdict

    @property
    def passed(self) -> bool:
        """Whether gates were asked for and every one passed."""
        return self.verdict == "pass" and bool(self.gates) and all(gate.get("verdict") == "pass" for gate in self.gates)

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with: 0, 1 where a gate failed, 4 where it is inconclusive."""
        return _CODES.get(self.verdict, ExitCode.INCONCLUSIVE)

    @property
    def gates(self) -> list[dict[str, Any]]:
        """name, bound, value, low, high, verdict and reason of each."""
        found: list[dict[str, Any]] = self.document.get("gates") or []
        return found

    @property
    def results(self) -> dict[str, Any]:
        """By model ("dense", "pruned"): accuracy with interval, and the groups of each attribute."""
        return self._part("results")

    @property
    def degradation(self) -> dict[str, Any]:
        """By attribute: how each group's accuracy changed against the dense model; {} without one."""
        return self._part("degradation")

    @property
    def warnings(self) -> list[dict[str, str]]:
        """code and text of each."""
        found: list[dict[str, str]] = self.document.get("warnings") or []
        return found

    def _part(self, name: str) -> dict[str, Any]:
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}

    def check(self) -> Report:
        """This report, if it passed.

        Raises:
            FairpruneError: with the gates that did not pass and why; its code is that of the command. Where no gate
                was asked for, nothing passed (code 2), nor where the document says pass against its own figures.
        """
        if fault := contradiction(self.document):
            raise FairpruneError(f"the report contradicts itself: {fault}", hint="audit again: it was changed since")
        if self.passed:
            return self
        view = View(self.document)
        if not view.gates:
            raise FairpruneError("no gate was asked for, so nothing passed", hint="give max_gap=0.05, say, or a policy")
        reasons = [f"{gate_name(gate)}: {gate.reason or gate.verdict}" for gate in view.gates if gate.verdict != "pass"]
        code = self.exit_code if self.exit_code != ExitCode.OK else ExitCode.INCONCLUSIVE
        raise FairpruneError([verdict_sentence(view), *(f"  {reason}" for reason in reasons)], code=code)

    def to(self, format: str, base: Report | None = None) -> str:
        """The report in a format of `fairprune report --to`: html, md, json, junit, sarif, github, comment, card.

        Args:
            base: the report that a comment shows the change against.

        Raises:
            FairpruneError: there is no such format; the message names the nearest.
        """
        return formats.render(self.document, format, None if base is None else base.document)

    def save(self, folder: str | PathLike[str], force: bool = False) -> Path:
        """Write report.json, report.html and report.md into a folder, which is given back.

        Raises:
            FairpruneError: it has a report already and `force` is not set, or cannot be written (code 3).
        """
        folder = Path(folder)
        refuse_no_room(folder)
        if (folder / "report.json").exists() and not force:
            raise FairpruneError("already exists", where=str(folder / "report.json"), hint="force=True overwrites it")
        formats.write(self.document, folder)
        return folder

    def model(self, arch: str | nn.Module | None = None) -> nn.Module:
        """The pruned network, read from its file, in float32 and eval mode on the CPU.

        Args:
            arch: as for `fairprune_cli.load`; a network that was given to `prune` in memory need not be given again.

        Raises:
            FairpruneError: the report is of an audit, which writes no model; or as `fairprune_cli.load`.
        """
        name = View(self.document).text("model", "output")
        if not name or self.folder is None:
            raise FairpruneError(
                "an audit writes no model", where="Report.model", hint="load the file that was audited"
            )
        from fairprune_cli.models.file.codec import load_network, read_header

        file = self.folder / Path(name).name
        if arch is None and ":" in read_header(file).architecture:
            arch = self._network
        return load_network(file, arch).float()

    load = model

    def __bool__(self) -> bool:
        raise TypeError("a report is neither true nor false: ask report.passed, or call report.check()")

    def __repr__(self) -> str:
        view, gates = View(self.document), len(self.gates)
        told = f"{words.plural(gates, 'gate')}" if gates else "no gate"
        return f"<Report {compose.build_document(self.document).title}: {view.verdict}, {told}>"

    def __str__(self) -> str:
        view, document = View(self.document), compose.build_document(self.document)
        lines = [document.title, " · ".join(document.facts), verdict_sentence(view), *findings(view)]
        lines += [f"warning: {text}" for text in view.warnings]
        lines += [f"in {self.folder}"] if self.folder is not None else []
        return "\n".join(one_line(line) for line in lines if line)

    def _repr_html_(self) -> str:
        return notebook.notebook_card(self.document)
