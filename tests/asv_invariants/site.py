"""A site published from planted results by asv itself with the plugin, served on loopback."""

from __future__ import annotations

import functools
import http.server
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asv_invariants.publisher import CACHE
from tests.gate.planted import COMMITS, HISTORIES, Planted, keep_record, six_histories

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ".asv_invariants"
#: Seconds for one ``asv publish`` of twelve commits on busy cores.
SECONDS = 100
#: Seconds for the server to end.
STOP_SECONDS = 10.0


def asv_publish(planted: Planted, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``asv publish`` there; the plugin is the one of this checkout."""
    home = planted.folder.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "asv", "publish", "--no-pull"],
        cwd=planted.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def use_libraries(planted: Planted, packages: Path) -> None:
    """Give the scratch repository a filled cache, so that it needs no network."""
    cache = planted.folder / CACHE
    cache.mkdir(parents=True)
    shutil.copytree(packages.parent, cache / packages.parent.name, symlinks=True)


def recoveries(number: int) -> list[float]:
    """A thousand cycles with a slow one, in milliseconds."""
    chance = random.Random(number)
    return [round(chance.lognormvariate(1.4, 0.35), 3) for _ in range(999)] + [80.0 + number]


def all_six(folder: Path) -> Planted:
    """Twelve commits, six histories, a record for each violation and for the recoveries."""
    planted = six_histories(folder)
    planted.configure(PLUGIN)
    for history in HISTORIES.values():
        for number in range(COMMITS):
            if history.values[number] and history.name != "constant":
                keep_record(planted, number, history)
    for number in range(COMMITS):
        keep_record(planted, number, None, recoveries(number))
    return planted


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are the browser's to tell."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves a page breaks off what it had asked for: that is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the folder is served, on loopback alone."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, name="published-site", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(STOP_SECONDS)
        assert not thread.is_alive()
