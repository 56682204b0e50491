"""The adapter for kombu-pyamqp-threadsafe: one connection, a channel of its pool for each lease.

Used as its documentation says, and as its author's own broker for dramatiq uses it: channels come
from `default_channel_pool`, asked for through `ensure`, which connects again; one thread uses one
channel at a time. Two classes, for the two ways in which it reads its socket: lazily, in whichever
thread drains (with its application ticking the heartbeat once a second), and by a thread of its own
(`dedicated_drainer`, from 0.7.0 on).

Confirms are py-amqp's: a channel in confirm mode with listeners for acks, nacks and returns. Its
frames are dispatched only in the thread that owns the channel, so a lease waits for its open
confirms before it goes back: in other hands they would never be told.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing
from benchmarks.clients.loader import ClientError
from benchmarks.clients.requirements import KOMBU_THREADSAFE

DISTRIBUTION = "kombu-pyamqp-threadsafe"
#: What `ensure` is told: at once, then after 0.2, 0.4 and 0.5 s. Longer than a reset takes, and
#: well within the bound on recovery.
RETRIES = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
#: Seconds between two ticks: kombu's documentation asks for about one.
TICK = 1.0
#: Seconds of one wait for a channel, below any bound. A release of a dead channel wakes nobody,
#: and a pool that has forgotten its dead ones makes new ones only for who has waited in vain.
WAIT = 0.25


class ClosedError(Exception):
    """The client was closed; the library itself would connect again."""


class _Receipt:
    """What became of one publish, as the channel's listeners heard it."""

    def __init__(self, confirms: _Confirms) -> None:
        self._confirms = confirms
        self.state: str | None = None
        self.back: str | None = None

    def outcome(self) -> str | None:
        if self.state is None and not self._confirms.alive:
            return "unknown"
        return self.state

    def returned(self) -> str | None:
        return self.back


class _Confirms:
    """One channel in confirm mode; only the thread that owns the channel touches it."""

    def __init__(self, channel: Any) -> None:
        # Weak: these live as values of a table whose keys must be able to go.
        self._channel = weakref.ref(channel)
        self._connection = weakref.ref(channel.connection)
        self._sequence = 0
        self.pending: dict[int, _Receipt] = {}
        self._mandatory: dict[str, _Receipt] = {}
        self._left = False
        # A channel that the broker closed was opened again by py-amqp, with its listeners.
        for name in ("basic_ack", "basic_nack", "basic_return"):
            channel.events[name].clear()
        channel.events["basic_ack"].add(functools.partial(self._told, "ack"))
        channel.events["basic_nack"].add(functools.partial(self._told, "nack"))
        channel.events["basic_return"].add(self._returned)
        channel.confirm_select()

    @property
    def alive(self) -> bool:
        """Whether the broker's word can still come."""
        connection = getattr(self._channel(), "connection", None)
        return not self._left and connection is not None and connection is self._connection()

    def leave(self) -> None:
        """What is open is unknown from now on."""
        self._left = True

    def expect(self, message: Outgoing) -> _Receipt:
        receipt = _Receipt(self)
        self._sequence += 1
        self.pending[self._sequence] = receipt
        if message.mandatory:
            self._mandatory[message.identity] = receipt
        return receipt

    def _told(self, state: str, tag: int, multiple: bool) -> None:
        for known in [each for each in self.pending if each == tag or (multiple and each < tag)]:
            self.pending.pop(known).state = state

    def _returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        identity = message.properties["message_id"]
        self._mandatory.pop(identity).back = identity


class _Lease:
    """A channel of the pool in one owner's hands."""

    def __init__(self, channel: Any, confirms: _Confirms, key: Hashable) -> None:
        self.channel = channel
        self.confirms = confirms
        self.key = key


class KombuThreadsafe(Client):
    """The default: whoever drains reads the socket, for everybody."""

    name = DISTRIBUTION
    requirements = KOMBU_THREADSAFE
    #: A channel object is the same in everybody's hands, and kombu's documentation says never to
    #: use it again after its release: so a second release is the next owner's loss.
    cannot = frozenset({"release_twice"})
    bounds = Bounds(operation=5.0, recovery=5.0, close=5.0)
    #: What a search of its thread schedules interrupts.
    packages: ClassVar[tuple[str, ...]] = ("kombu_pyamqp_threadsafe",)
    #: Whether it has a thread that reads the socket.
    dedicated: ClassVar[bool] = False

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self.connection: Any = None
        self._shut = threading.Event()
        self._ticker: threading.Thread | None = None
        # Guards the three below: numbers, which are never used twice, the one of each py-amqp
        # connection, and the confirms of each channel.
        self._lock = threading.Lock()
        self._counter = itertools.count(1)
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._confirms: weakref.WeakKeyDictionary[Any, _Confirms] = weakref.WeakKeyDictionary()

    @property
    def version(self) -> str:
        _library()
        return importlib.metadata.version(DISTRIBUTION)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        # What the transport calls so; and what kombu raises when its attempts to connect are over.
        declared = _library().SharedPyamqpTransport.recoverable_connection_errors
        return tuple(dict.fromkeys((*declared, _exceptions().OperationalError)))

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        return (TimeoutError, _exceptions().ChannelLimitExceeded)

    @property
    def closed(self) -> tuple[type[BaseException], ...]:
        intentionally = getattr(_library(), "ConnectionClosedIntentionally", None)
        return (ClosedError,) if intentionally is None else (ClosedError, intentionally)

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        import amqp.exceptions

        return (amqp.exceptions.ConsumerCancelled,)

    def idle_channels(self) -> int:
        # `ensure` opens a default channel beside those of the pool.
        return self.size + 1

    # -- the connection ----------------------------------------------------------------------

    def open(self) -> None:
        # A silent peer is noticed after two heartbeats, or where one waits for its answer.
        patience = 2 * self.heartbeat or self.bounds.operation
        options: dict[str, Any] = {"read_timeout": patience, "write_timeout": patience}
        if self.dedicated:
            options["dedicated_drainer"] = True
        self.connection = _library().KombuConnection(
            self.urls,
            heartbeat=self.heartbeat,
            connect_timeout=self.bounds.operation,
            transport_options=options,
            default_channel_pool_size=self.size,
        )
        self.connection.connect()
        if self.heartbeat and not self.dedicated:
            self._ticker = threading.Thread(target=self._tick, name="kombu-heartbeat", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._shut.wait(TICK):
            try:
                self.connection.heartbeat_check()
            except self.recoverable:
                # As `ensure` does with such an error; the next acquire connects again.
                self.connection.collect()

    def connected(self) -> bool:
        return bool(self.connection.connected)

    def drain(self, timeout: float) -> None:
        self._check_open()
        self.connection.drain_events(timeout=timeout)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        # Its own connection, not the one that has taken its place meanwhile.
        connection = handle.channel.connection
        if connection is None:
            raise _gone()
        connection.drain_events(timeout=timeout)

    def close(self, timeout: float) -> None:
        self._shut.set()
        self.connection.close()
        if self._ticker is not None:
            self._ticker.join(timeout)

    def _check_open(self) -> None:
        if self._shut.is_set():
            raise ClosedError("the client was closed")

    # -- leases ------------------------------------------------------------------------------

    def acquire(self, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            self._check_open()
            wait = min(WAIT, max(0.0, deadline - time.monotonic()))
            try:
                channel = self._take(wait)
                break
            except _exceptions().ChannelLimitExceeded:
                if time.monotonic() >= deadline:
                    raise
        try:
            return self._leased(channel)
        except BaseException:
            channel.release()
            raise

    def _take(self, wait: float) -> Any:
        connection = self.connection

        def take() -> Any:
            return connection.default_channel_pool.acquire(block=True, timeout=wait)

        try:
            return connection.ensure(connection, take, **RETRIES)()
        except RuntimeError as error:
            if self._shut.is_set():  # kombu's words for a pool that was closed meanwhile
                raise ClosedError("the client was closed") from error
            raise

    def _leased(self, channel: Any) -> _Lease:
        connection = channel.connection
        if connection is None:
            raise _gone()
        with self._lock:
            confirms = self._confirms.get(channel)
            number = self._numbers.get(connection)
            if number is None:
                number = self._numbers[connection] = next(self._counter)
        if confirms is None or not confirms.alive:
            confirms = self._guarded(channel, lambda: _Confirms(channel))
            with self._lock:
                self._confirms[channel] = confirms
        return _Lease(channel, confirms, (number, channel.channel_id))

    def release(self, handle: Any) -> Any:
        try:
            self._await_confirms(handle, lambda: not handle.confirms.pending)
        finally:
            if handle.confirms.pending:
                handle.confirms.leave()
            handle.channel.release()

    def channel_key(self, handle: Any) -> Hashable:
        key: Hashable = handle.key
        return key

    def _await_confirms(self, handle: Any, done: Callable[[], bool]) -> None:
        """As py-amqp's own confirmed publish waits: without a limit but the socket's."""
        from amqp import spec

        channel = handle.channel
        while not done() and handle.confirms.alive:
            self._guarded(channel, lambda: channel.wait([spec.Basic.Ack, spec.Basic.Nack]))

    def _on(self, handle: Any, work: Callable[[Any], Any]) -> Any:
        """One call on the lease's channel, which does not survive its own error."""
        channel = handle.channel
        try:
            return self._guarded(channel, lambda: work(channel))
        except self.connection.channel_errors:
            # py-amqp opened it again behind the broker's Close, without confirms: no use.
            handle.confirms.leave()
            if channel.is_usable():
                channel.force_close()
            raise

    def _guarded(self, channel: Any, work: Callable[[], Any]) -> Any:
        """One call; after an error of the connection that it saw, the connection is put away.

        As `ensure` does between two attempts: the next acquire connects again.
        """
        seen = channel.connection
        if seen is None:
            raise _gone()
        try:
            return work()
        except self.cancelled:
            raise  # to py-amqp an error of the connection, which is as good as before
        except self.connection.recoverable_connection_errors:
            if self.connection._connection is seen:
                self.connection.collect()
            raise

    # -- calls -------------------------------------------------------------------------------

    def publish(self, handle: Any, message: Outgoing) -> _Receipt:
        import amqp

        receipt = handle.confirms.expect(message)
        self._on(
            handle,
            lambda channel: channel.basic_publish(
                amqp.Message(message.body, message_id=message.identity, delivery_mode=2),
                exchange=message.exchange,
                routing_key=message.routing_key,
                mandatory=message.mandatory,
            ),
        )
        return receipt  # type: ignore[no-any-return]

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> _Receipt:
        receipt = self.publish(handle, message)
        self._await_confirms(handle, lambda: receipt.outcome() is not None)
        return receipt

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        def start(channel: Any) -> str:
            channel.basic_qos(0, prefetch, False)
            tag = channel.basic_consume(
                queue,
                consumer_tag=consumer_tag,
                no_ack=no_ack,
                callback=lambda message: callback(_delivery(message)),
            )
            return str(tag)

        return str(self._on(handle, start))

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._on(handle, lambda channel: channel.basic_cancel(consumer_tag))

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._on(handle, lambda channel: channel.basic_ack(delivery_tag))

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        message = self._on(handle, lambda channel: channel.basic_get(queue, no_ack=no_ack))
        return None if message is None else _delivery(message)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = self._on(
            handle,
            lambda channel: channel.queue_declare(
                queue,
                passive=passive,
                durable=durable,
                auto_delete=False,
                arguments=dict(self.queue_arguments),
            ),
        )
        return str(declared.queue)


class KombuThreadsafeDrainer(KombuThreadsafe):
    """With a thread that reads the socket, and ticks the heartbeat."""

    name = f"{DISTRIBUTION} dedicated_drainer"
    dedicated = True

    @property
    def version(self) -> str:
        if not hasattr(_library(), "ConnectionDrainer"):
            # An unknown option is no error to it: it would be the other class once more.
            raise ClientError(
                f"{DISTRIBUTION} {super().version} has no dedicated drainer; try: "
                f"pip install '{DISTRIBUTION}>=0.7'"
            )
        return super().version

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        _ = self.version
        return super().recoverable


def _library() -> Any:
    """The package. Raises ClientError."""
    return _imported("kombu_pyamqp_threadsafe")


def _exceptions() -> Any:
    """kombu's errors. Raises ClientError."""
    return _imported("kombu.exceptions")


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ClientError(
            f"client {DISTRIBUTION!r} is not installed: {error}; try: pip install {DISTRIBUTION}"
        ) from error


def _gone() -> Exception:
    import amqp

    error: Exception = amqp.RecoverableConnectionError("the channel's connection is gone")
    return error


def _delivery(message: Any) -> Delivery:
    info = message.delivery_info
    return Delivery(
        identity=message.properties.get("message_id"),
        body=message.body if isinstance(message.body, bytes) else message.body.encode(),
        consumer_tag=info.get("consumer_tag"),
        delivery_tag=message.delivery_tag,
        redelivered=bool(info.get("redelivered")),
    )
