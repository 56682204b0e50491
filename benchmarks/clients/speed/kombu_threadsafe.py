"""kombu-pyamqp-threadsafe: one connection, a channel of its pool for each thread.

Its README: "use `default_channel_pool` and acquire channel for each thread". Confirmed publishes
are kombu's `confirm_publish` transport option. The second class sets `dedicated_drainer`.
"""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any, ClassVar

from benchmarks.clients.requirements import KOMBU_THREADSAFE
from benchmarks.clients.speed.base import PATIENCE, Session, Speed
from benchmarks.clients.speed.pyamqp import ChannelSession

#: What `ensure` is told, as in the adapter for the trials.
RETRIES = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
#: Seconds of one wait for a channel, as in the adapter for the trials: the release of a dead
#: channel wakes nobody.
WAIT = 0.25


class _Pooled(ChannelSession):
    def abandon(self) -> None:
        self._channel.release()

    def close(self) -> None:
        self._channel.release()


class KombuThreadsafeSpeed(Speed):
    name = "kombu-pyamqp-threadsafe"
    requirements = KOMBU_THREADSAFE
    options: ClassVar[dict[str, Any]] = {}

    @property
    def version(self) -> str:
        return importlib.metadata.version("kombu-pyamqp-threadsafe")

    def open(self) -> None:
        import kombu_pyamqp_threadsafe
        from amqp import Message
        from kombu.exceptions import ChannelLimitExceeded

        self._message = Message
        self._none_free = ChannelLimitExceeded
        self._connection = kombu_pyamqp_threadsafe.KombuConnection(
            self.endpoint.url,
            heartbeat=0,
            connect_timeout=PATIENCE,
            transport_options={"confirm_publish": self.confirms, **self.options},
            default_channel_pool_size=self.size,
        )
        self._connection.connect()

    def session(self) -> Session:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                channel = self._connection.ensure(self._connection, self._take, **RETRIES)()
                return _Pooled(channel.connection, channel, self._message)
            except self._none_free:
                if time.monotonic() > deadline:
                    raise

    def _take(self) -> Any:
        return self._connection.default_channel_pool.acquire(block=True, timeout=WAIT)

    def connected(self) -> bool:
        return bool(self._connection.connected)

    def drain(self, timeout: float) -> None:
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            pass  # nothing came

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        return tuple(self._connection.recoverable_connection_errors)

    def reconnect(self) -> None:
        # As `ensure` does between two attempts; the next acquire connects again.
        self._connection.collect()

    def close(self) -> None:
        self._connection.close()


class KombuThreadsafeDrainerSpeed(KombuThreadsafeSpeed):
    name = "kombu-pyamqp-threadsafe, dedicated drainer"
    options: ClassVar[dict[str, Any]] = {"dedicated_drainer": True}
