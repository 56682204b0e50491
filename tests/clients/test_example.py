"""The README's own words on adapters: its command, run on a copy that lies outside of the tree."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.clients.base import Client

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECTION = README.partition("## Put your own client on trial")[2].partition("\n## ")[0]
COMMAND = re.search(
    r"^\$ python (-m benchmarks\.harness run \S+ --client (\S+):(\w+))$", SECTION, re.M
)
#: Seconds: a trial of a client behind one lock takes some seconds, on a busy machine several times
#: that.
DEADLINE = 150


def test_the_readme_names_all_of_the_protocol_and_no_more() -> None:
    protocol = {name for name, _ in inspect.getmembers(Client) if not name.startswith("_")} | {
        "name"
    }
    words = {
        word for code in re.findall(r"`([^`]+)`", SECTION) for word in re.findall(r"\w+", code)
    }
    assert protocol - words == set()
    called = {
        name for code in re.findall(r"`([^`]+)`", SECTION) for name in re.findall(r"(\w+)\(", code)
    }
    assert called - protocol == {"Adapter", "outcome", "returned"}


@pytest.mark.parametrize(
    "scenario", ["chaos_no_deadlock", "chaos_with_connection_kills", "consumers_under_kills"]
)
def test_the_readmes_command_on_a_copy_outside_of_the_tree(tmp_path: Path, scenario: str) -> None:
    assert COMMAND is not None
    words, path, name = COMMAND.groups()
    copy = tmp_path / "mine.py"
    shutil.copy(ROOT / path, copy)
    command = words.replace(f"{path}:{name}", f"{copy}:{name}").split()
    assert command[3] == "chaos_no_deadlock"
    command[3] = scenario
    file = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, *command, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    document = json.loads(file.read_text())
    assert (done.returncode, document["verdict"]) == (0, "valid"), done.stdout + done.stderr
    assert document["client"] == "locked-pyamqp"
    assert set(document["violations"].values()) == {0}
    assert (
        document["metrics"]["operations"]
        == document["params"]["threads"] * (document["params"]["iterations"])
    )
    assert document["compared"]["deliver"] > 0
