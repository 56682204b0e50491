"""A proxy process for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proxy.stage import ProxyProcess, running


@pytest.fixture(name="proxy")
def _proxy() -> Iterator[ProxyProcess]:
    with running() as process:
        yield process
