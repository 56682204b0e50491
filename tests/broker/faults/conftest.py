"""What the tests of the broker's faults share: clients in confirm mode, and controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pamqp import commands

from benchmarks.broker.session import EXEMPT_PRODUCT
from tests.broker.wire_peer import WirePeer


@pytest.fixture
def publisher(peer: Any) -> Any:
    """A client whose channel 1 is in confirm mode, and a queue."""
    peer(1, commands.Queue.Declare(queue="q"), commands.Confirm.Select())
    return peer


@pytest.fixture
def exempt(connect: Callable[..., Any]) -> Any:
    """The harness's own client, as the broker sees it, in confirm mode."""
    peer = connect(product=EXEMPT_PRODUCT)
    peer(1, commands.Confirm.Select())
    return peer


@pytest.fixture
def fire(broker: Any) -> Callable[..., None]:
    """Commit a fault that must hit something."""

    def fire(kind: str, **options: object) -> None:
        assert broker.faults.fire(kind, options) == {"fired": True, "t": broker.now}

    return fire


@pytest.fixture
def live(controlled: Any) -> tuple[WirePeer, Any]:
    """A client of a broker process, in confirm mode, with a queue; and the control session."""
    process, control = controlled
    peer = process.connect()
    peer(1, commands.Queue.Declare(queue="q"), commands.Confirm.Select())
    assert [event[1] for event in peer.get(2)] == ["Queue.DeclareOk", "Confirm.SelectOk"]
    return peer, control
