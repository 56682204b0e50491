"""A real ``asv run``: what it tells a benchmark, which is where a record finds its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gate.planted import new_repository

pytestmark = pytest.mark.asv

#: Seconds for one environment and one benchmark.
SECONDS = 300
BENCHMARK = """
import json, os

def track_environment():
    names = ("ASV_CONF_DIR", "ASV_COMMIT", "ASV_ENV_NAME")
    with open(os.path.join(os.environ["ASV_CONF_DIR"], "told.json"), "w") as file:
        json.dump([os.environ.get(name) for name in names], file)
    return 0
"""


@pytest.mark.timeout(SECONDS + 60)
def test_asv_tells_a_benchmark_commit_and_environment(tmp_path: Path) -> None:
    planted = new_repository(tmp_path / "scratch", commits=1)
    planted.configure()
    path = planted.folder / "asv.conf.json"
    text = path.read_text().replace(
        '"version": 1,', '"version": 1, "build_command": [], "install_command": [],'
    )
    path.write_text(text.replace('{"req": {"amqp": [""]}}', "{}"))
    (planted.folder / "benchmarks").mkdir()
    (planted.folder / "benchmarks" / "__init__.py").write_text(BENCHMARK)
    home = tmp_path / "home"
    home.mkdir()
    for arguments in (["machine", "--yes"], ["run", f"{planted.commits[0]}^!"]):
        done = subprocess.run(
            [sys.executable, "-m", "asv", *arguments],
            cwd=planted.folder,
            env={**os.environ, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    folder, commit, environment = json.loads((planted.folder / "told.json").read_text())
    assert (Path(folder), commit) == (planted.folder, planted.commits[0])
    [stored] = (planted.results).glob(f"*/{commit[:8]}-*.json")
    assert stored.stem == f"{commit[:8]}-{environment}"
