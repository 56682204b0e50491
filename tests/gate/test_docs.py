"""What the documentation says can be typed in can be typed in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from benchmarks.harness import digest
from benchmarks.harness.cli import _parser

ROOT = Path(__file__).resolve().parents[2]


def test_every_gate_command_of_the_documentation_is_one() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    text += (ROOT / "docs" / "example-workflow.yml").read_text().replace("\\\n", " ")
    commands = re.findall(r"-m benchmarks\.harness (gate [^\n[\]|>`]+)", text)
    assert len(commands) >= 2
    for command in commands:
        options = _parser().parse_args(shlex.split(command.split("||")[0]))
        assert (options.verb, options.commit) == ("gate", "HEAD")


def test_every_target_of_the_documentation_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("ci.md", "example-workflow.yml"):
        named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "docs" / name).read_text()))
        assert named
        assert named <= targets


def test_the_gate_is_no_part_of_the_instrument() -> None:
    """A change in what judges stored results must not measure the history again."""
    names = {path.name for path in (ROOT / "benchmarks" / "harness").glob("gate*.py")}
    assert names == {"gate.py", "gate_report.py", "gate_results.py", "gate_verb.py"}
    assert {f"harness/{name}" for name in names} <= digest._PRESENTATION
