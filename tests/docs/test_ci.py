"""What docs/ says about pipelines and evidence: the YAML parses, the action runs, the fields exist."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from fairprune_cli.audit.policy import Policy
from fairprune_cli.commands.app import app
from fairprune_cli.core import plugins

DOCS = Path(__file__).parents[2] / "docs"
CI = (DOCS / "ci.md").read_text("utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", CI, re.DOTALL)]
ACTION = yaml.safe_load((DOCS / "ci" / "action.yml").read_text("utf-8"))
SCRIPT = next(step["run"] for step in ACTION["runs"]["steps"] if step.get("id") == "audit")
INSTALL = next(step["run"] for step in ACTION["runs"]["steps"] if step.get("name") == "Install")


def test_policies_of_the_documents_are_policies() -> None:
    shown = [block for block in BLOCKS if "rules" in block]
    assert len(shown) == 1
    assert len(Policy.parse(shown[0]).rules) == 5
    assert Policy.read(DOCS / "ci" / "policy.yaml").needs_dense(2)


def test_the_pipelines_call_what_there_is() -> None:
    github = next(block for block in BLOCKS if "jobs" in block)
    uses = next(s for s in github["jobs"]["audit"]["steps"] if s.get("id") == "fairness")
    assert set(uses["with"]) <= set(ACTION["inputs"])
    assert {name for name, entry in ACTION["inputs"].items() if entry.get("required")} <= set(uses["with"])
    gitlab = next(block for block in BLOCKS if "fairness" in block)
    assert gitlab["fairness"]["allow_failure"]["exit_codes"] == [4]
    assert all(isinstance(line, str) for line in gitlab["fairness"]["script"])


def test_no_input_of_the_action_is_pasted_into_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]


FAKE = """#!/bin/bash
printf '%s\\n' "$*" >> "$LOG"
if [ "$1" = audit ]; then
  mkdir -p "$OUT"
  [ "$CODE" = 2 ] || echo '{"verdict": "told"}' > "$OUT/report.json"
  exit "$CODE"
fi
"""


@pytest.mark.parametrize(
    ("code", "allow", "ends"), [(0, "false", 0), (1, "true", 1), (4, "false", 4), (4, "true", 0), (2, "true", 2)]
)
def test_the_action_hands_the_exit_code_on(code: int, allow: str, ends: int, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "fairprune"
    tool.parent.mkdir()
    tool.write_text(FAKE)
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    env = {
        **os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "CODE": str(code),
        "MODELS": "a.pt runs/b", "DATA": "my data.yaml", "AGAINST": "dense.pt", "POLICY": "$(touch owned)",
        "ALLOW": allow, "OUT": str(tmp_path / "out"), "GITHUB_OUTPUT": str(tmp_path / "outputs"), "BASE": "absent.json",
    }  # fmt: skip
    done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", SCRIPT], cwd=tmp_path, env=env, check=False)
    assert done.returncode == ends
    calls = (tmp_path / "log").read_text().splitlines()
    assert calls[0].startswith("audit a.pt runs/b --data my data.yaml")
    assert "--policy $(touch owned)" in calls[0]
    assert not (tmp_path / "owned").exists()
    assert [call.split(" --to ")[1].split()[0] for call in calls[1:]] == (
        [] if code == 2 else ["github", "junit", "sarif", "comment"]
    )
    assert "--base" not in calls[-1]
    told = dict(line.split("=") for line in (tmp_path / "outputs").read_text().splitlines())
    assert told == {"verdict": "" if code == 2 else "told", "exit-code": str(code)}


def test_the_comment_has_the_bases_report_where_there_is_one(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "fairprune"
    tool.parent.mkdir()
    tool.write_text(FAKE)
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "base report.json").write_text("{}")
    env = {
        **os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "CODE": "0",
        "MODELS": "a.pt", "DATA": "data.yaml", "AGAINST": "", "POLICY": "", "ALLOW": "false", "OUT": str(tmp_path / "out"),
        "GITHUB_OUTPUT": str(tmp_path / "outputs"), "BASE": "base report.json",
    }  # fmt: skip
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", SCRIPT], cwd=tmp_path, env=env, check=True)
    assert "--to comment --base base report.json" in (tmp_path / "log").read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("package", "installs"),
    [("fairprune", False), ("fairprune==0.2.0", False), ("fairprune[onnx]", False), ("wheels/fairprune-0.2.0.whl", True),
     ("fairprune-0.2.0.whl", True), ("./checkout", True), ("git+https://host/repository@0123abc", True)],
)  # fmt: skip
def test_the_action_installs_no_bare_name(package: str, installs: bool, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/bash\nprintf '%s\\n' \"$*\" > {tmp_path}/log\n")
    python.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PACKAGE": package}
    done = subprocess.run(["bash", "-e", "-c", INSTALL], env=env, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == installs
    assert (tmp_path / "log").exists() == installs
    assert installs or "is a bare name" in done.stderr


def test_nothing_is_installed_by_a_name_that_may_be_anothers() -> None:
    root = DOCS.parent
    files = [root / "README.md", *DOCS.rglob("*.*"), *(root / "fairprune_cli").rglob("*.py")]
    named = re.compile(r"pip install[^\n#]*?\s['\"]?fairprune(?=[\s'\"`\[=<>]|$)", re.M)
    wrong = [str(f.relative_to(root)) for f in files if f.suffix != ".png" and named.search(f.read_text("utf-8"))]
    assert wrong == []
    assert named.search("    - pip install -q fairprune\n")
    assert named.search("pip install 'fairprune[onnx]'")


def _lines() -> list[str]:
    """Every line of the documents and the action that calls fairprune, without its redirections and conditions."""
    scripts = [SCRIPT, *re.findall(r"```sh\n(.*?)```", CI, re.DOTALL)]
    for block in BLOCKS:
        for job in (block.get("jobs") or {k: v for k, v in block.items() if isinstance(v, dict)}).values():
            scripts += [step["run"] for step in job.get("steps", ()) if "run" in step]
            scripts += [line for line in job.get("script", ()) if isinstance(line, str)]
    scripts += re.findall(r"`(fairprune [a-z].*?)`", " ".join(CI.split()))
    called = re.findall(r"(?:^|[;(&]|then )\s*(?:docker run .*? )?(fairprune (?:[a-z]+).*)", "\n".join(scripts), re.M)
    return [re.split(r"\s*(?:\|\||;|> )", line)[0] for line in called]


@pytest.mark.parametrize("line", sorted(set(_lines())))
def test_every_call_in_the_documents_is_one(line: str) -> None:
    _, *words = shlex.split(line.replace("${models[@]}", "a.pt").replace("${options[@]}", "--force").replace(
        '"${compared[@]}"', "--base b.json"))  # fmt: skip
    found = typer.main.get_command(app)
    while hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    words = words or ["--help"]
    with contextlib.suppress(typer.Exit):
        found.make_context(str(found.name), words)
    if "--to" in words:
        assert words[words.index("--to") + 1] in plugins.REPORT_WRITER.names()


def test_the_calls_are_found_and_wrong_ones_refused() -> None:
    assert {line.split()[1] for line in _lines()} >= {"audit", "report"}
    assert len(set(_lines())) > 8
    with pytest.raises(Exception, match="No such option"):
        test_every_call_in_the_documents_is_one("fairprune audit a.pt --polcy x")


def test_the_container_does_not_run_as_root() -> None:
    text = (DOCS / "ci" / "Dockerfile").read_text("utf-8")
    lines = text.splitlines()
    assert "TORCH_INDEX:+--index-url" in text
    assert text.index('"torch>=2.10" "torchvision>=0.25"') < text.index("pip install --no-cache-dir . ")
    users = [line for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] != "USER root"
    root = DOCS.parent
    for line in lines:
        if line.startswith("COPY "):
            assert all((root / name).exists() for name in line.split()[1:-1])


def _known(schema: dict[str, Any], node: Any, path: list[str]) -> bool:
    """Whether report.json can have something at the path; a star stands for any name."""
    while isinstance(node, dict) and "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    if not path or not isinstance(node, dict):
        return not path
    choices = [*node.get("allOf", ()), *node.get("anyOf", ())]
    if path[0] == "*":
        inner = [node[key] for key in ("additionalProperties", "items") if isinstance(node.get(key), dict)]
    else:
        inner = [node["properties"][path[0]]] if path[0] in node.get("properties", {}) else []
    return any(_known(schema, item, path[1:]) for item in inner) or any(_known(schema, c, path) for c in choices)


def test_the_fields_that_are_called_evidence_exist() -> None:
    text = (DOCS / "evidence.md").read_text("utf-8")
    schema = json.loads((DOCS / "report.schema.json").read_text("utf-8"))
    fields = set(re.findall(r"`([a-z_0-9*.]+)`", text)) - {"report.json", "a*b", "low", "high"}
    assert len(fields) > 15
    assert [name for name in sorted(fields) if not _known(schema, schema, name.split("."))] == []
    assert not re.search(r"(?<!no report makes a system )\bcompliant\b", text)
