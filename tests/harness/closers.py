"""Clients whose close is wrong in one way each."""

from __future__ import annotations

import socket
import threading
from typing import ClassVar

from benchmarks.clients.amqpool import AmqpoolClient
from benchmarks.clients.base import Bounds

#: What was left behind must not be tidied up by the garbage collector.
_KEPT: list[object] = []


class LeavesAThreadAndASocket(AmqpoolClient):
    #: For so long one waits, after each close, for what is left to go.
    bounds: ClassVar[Bounds] = Bounds(close=2.0)

    def close(self, timeout: float) -> None:
        super().close(timeout)
        _KEPT.append(socket.socketpair())
        thread = threading.Thread(target=threading.Event().wait, name="left-behind", daemon=True)
        thread.start()


class CloseRaises(AmqpoolClient):
    def close(self, timeout: float) -> None:
        super().close(timeout)
        raise RuntimeError("closed, and yet not content")


class CloseHangs(AmqpoolClient):
    #: Short ones: the stall window lies above the longest.
    bounds: ClassVar[Bounds] = Bounds(operation=1.0, recovery=1.0, close=1.0)

    def close(self, timeout: float) -> None:
        super().close(timeout)
        threading.Event().wait()
