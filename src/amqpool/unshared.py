"""What of py-amqp's `Connection` must not be used when threads share it.

py-amqp reads, writes and beats from whichever thread calls in. Here one I/O thread reads and beats,
and the outbox writes, so these ways in are closed: what would be harmless does nothing, what would
corrupt the stream raises NotImplementedError and says who does that work.
"""

from __future__ import annotations

from typing import NoReturn

import amqp


class OneReader(amqp.Connection):  # type: ignore[misc]
    """py-amqp's connection without its own reading and writing."""

    def heartbeat_tick(self, rate: int = 2) -> None:
        """Nothing to do: the I/O thread sends and watches heartbeats."""

    def send_heartbeat(self) -> None:
        """Nothing to do: the I/O thread sends heartbeats."""

    def collect(self) -> None:
        """Nothing to do: py-amqp's clean-up would set channels, ids and itself to None."""

    def blocking_read(self, timeout: float | None = None) -> NoReturn:
        """Only the I/O thread reads."""
        raise NotImplementedError("a shared connection is read by its I/O thread alone")

    @property
    def frame_writer(self) -> NoReturn:
        """Only the outbox writes."""
        raise NotImplementedError("a shared connection is written by its outbox alone")

    @property
    def on_inbound_frame(self) -> NoReturn:
        """Only the I/O thread reads."""
        raise NotImplementedError("a shared connection is read by its I/O thread alone")
