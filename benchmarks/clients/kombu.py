"""The adapter for kombu: its pool of connections, one for each lease.

`Connection.Pool` as in its user guide (docs.celeryq.dev/projects/kombu, "Connection and Producer
Pools"): `acquire(block=True)`, work on a channel of the connection, `release()`. Confirms are the
`confirm_publish` transport option.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from benchmarks.clients.leased import ClosedError, Holding, Lease
from benchmarks.clients.pyamqp import PyamqpClient
from benchmarks.clients.requirements import KOMBU

#: How it connects again: at once, then after 0.2, 0.4 and 0.5 s, as kombu-pyamqp-threadsafe's.
RETRIES = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}


class KombuClient(PyamqpClient):
    name = "kombu, pool of connections"
    requirements = KOMBU

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        # What each connection of the pool was last used for, by its id; it is held in there.
        self._known: dict[int, Holding] = {}

    @property
    def version(self) -> str:
        return importlib.metadata.version("kombu")

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import OperationalError

        return (*super().recoverable, OperationalError)

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import ConnectionLimitExceeded

        return (TimeoutError, ConnectionLimitExceeded)

    def open(self) -> None:
        from kombu import Connection

        patience = 2 * self.heartbeat or self.bounds.operation
        self._pool = Connection(
            self.urls,
            heartbeat=self.heartbeat,
            connect_timeout=self.bounds.operation,
            transport_options={
                "confirm_publish": True,
                "read_timeout": patience,
                "write_timeout": patience,
            },
        ).Pool(limit=self.size)
        super().open()

    def acquire(self, timeout: float) -> Lease:
        if self._shut:
            raise ClosedError("the client was closed")
        connection = self._pool.acquire(block=True, timeout=timeout)
        try:
            return Lease(self._on_connection(connection))
        except BaseException:
            connection.release()
            raise

    def _on_connection(self, connection: Any) -> Holding:
        """The channel that it had when it was last released, or a new one."""
        with self._lock:
            held = self._known.get(id(connection))
        if held is None or held.spoiled or not self._alive(held):
            if not connection.connected:
                connection.collect()  # as its `ensure` does between two attempts
            connection.ensure_connection(**RETRIES)
            held = self._held(connection, connection.channel())
            with self._lock:
                self._known[id(connection)] = held
        return held

    def _alive(self, held: Holding) -> bool:
        under = held.channel.connection
        # Kombu's own `connection` would connect, where there is none.
        return under is not None and bool(under.connected)

    def release(self, handle: Any) -> bool:
        with self._lock:
            if handle.ended:
                return False
            handle.ended = True
        held = handle.held
        try:
            # What a consumer or an error has left behind goes with the channel.
            if held.spoiled and self._alive(held) and held.channel.is_open:
                held.channel.close()
        finally:
            held.connection.release()
        return True

    def connected(self) -> bool:
        return not self._shut

    def close(self, timeout: float) -> None:
        with self._lock:
            self._shut = True
            known, self._known = list(self._known.values()), {}
        gone: tuple[type[BaseException], ...] = (OSError, *self.recoverable)
        for held in known:
            try:
                held.connection.close()
            except gone:
                held.connection.collect()  # it was gone already
        self._pool.force_close_all()
