"""After each test here the process is as it was: nothing patched, no thread left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.schedules.patches import originals_in_place
from benchmarks.schedules.task import active


@pytest.fixture(autouse=True)
def _the_process_is_as_it_was() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert originals_in_place()
    assert active == []
    assert sys.gettrace() is None
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)  # polls, with the deadline above
    assert threading.active_count() <= before, threading.enumerate()
