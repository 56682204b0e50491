"""What one thread of a scenario does: the operations, each a few lines over the client protocol.

It owns the record of what happened (who held which channel, what was tried, confirmed, delivered)
and the rules by which an error is expected or is not. It knows no client library. An operation
raises `Violation` where it sees an invariant broken; what only shows at the end is for the check.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

from benchmarks.clients.base import UNDECLARABLE, Client, Delivery, Outgoing

from .brokering import BrokerTask
from .outcome import Violation, from_error

QUEUE: Final = "explored"
#: Virtual seconds of a call that must succeed: any waiting up to it is a wake-up that was lost.
PATIENT: Final = 5.0
#: Virtual seconds of an acquire or a drain that may well end empty-handed.
SHORT: Final = 0.5
#: Attempts after a fault; each one makes progress, or the client never recovers.
ATTEMPTS: Final = 5


class Record:
    """One run of a scenario: the client, the broker, and what happened so far."""

    def __init__(self, client: Client, broker: BrokerTask, *, early: bool) -> None:
        self.client = client
        #: Timers may run out early, so time says nothing about who was woken.
        self.early = early
        self.broker = broker
        self.faults = 0
        self.closing = False
        #: Who has which channel, and by which handle (kept alive, so that no other gets its id).
        self.held: dict[Hashable, str] = {}
        self._leases: dict[int, tuple[Any, Hashable]] = {}
        self.tried: list[str] = []
        self.sent: list[str] = []
        self.confirmed: list[str] = []
        self.delivered: list[str] = []
        self.acked: list[str] = []
        #: Leases that the body took before the threads started, for `release` to end in turn:
        #: when there are fewer leases than releases, one is released twice.
        self.leased: list[Any] = []
        self._releases = itertools.count()

    def judge(self, name: str, error: BaseException, *, may_time_out: bool = False) -> None:
        """Return when the error was to be expected. Raises Violation."""
        if isinstance(error, Violation):
            raise error
        client = self.client
        expected: tuple[type[BaseException], ...] = ()
        if self.faults or self.closing:
            expected += client.recoverable
        if self.closing:
            expected += client.closed
        if may_time_out:
            expected += client.timeouts
        if isinstance(error, expected) and type(error) not in UNDECLARABLE:
            return
        found = from_error(error, name)
        raise Violation(found.invariant, found.detail, found.kind) from error

    # -- leases ----------------------------------------------------------------------------------

    def acquire(self, name: str, timeout: float = PATIENT) -> Any:
        """Lease a channel that nobody else has."""
        handle = self.client.acquire(timeout)
        key = self.client.channel_key(handle)
        other = self.held.setdefault(key, name)
        if other != name:
            raise Violation("double_releases", f"channel {key} is {other}'s and was lent to {name}")
        self._leases[id(handle)] = handle, key
        return handle

    def release(self, handle: Any) -> None:
        """End a lease; whose it was is forgotten before, since it may be another's right after."""
        _handle, key = self._leases.pop(id(handle), (None, None))
        self.held.pop(key, None)
        self.client.release(handle)

    def next_lease(self) -> Any:
        """One of those that the body took, in turn."""
        return self.leased[next(self._releases) % len(self.leased)]

    def message(self, name: str) -> Outgoing:
        """The next message of a thread."""
        identity = f"{name}/{len(self.tried)}"
        self.tried.append(identity)
        return Outgoing(identity, f"{identity}\nbody".encode(), "", QUEUE, False)


Operation = Callable[[Record, str], None]


def _with_lease(work: Callable[[Record, str, Any], None]) -> Operation:
    def operation(record: Record, name: str) -> None:
        try:
            handle = record.acquire(name)
            try:
                work(record, name, handle)
            finally:
                record.release(handle)
        except Exception as error:  # noqa: BLE001 - every one is judged
            record.judge(name, error)

    return operation


def _nothing(record: Record, name: str, handle: Any) -> None:
    pass


def _publish(record: Record, name: str, handle: Any) -> None:
    message = record.message(name)
    record.client.publish(handle, message)
    record.sent.append(message.identity)


def _confirmed(record: Record, name: str, handle: Any) -> None:
    message = record.message(name)
    receipt = record.client.publish_confirmed(handle, message, PATIENT)
    if receipt.outcome() == "ack":
        record.confirmed.append(message.identity)
    elif not record.faults:
        raise Violation("unexpected_errors", f"{name}: a confirm of {receipt.outcome()!r}")


def _rpc(record: Record, name: str, handle: Any) -> None:
    answered = record.client.declare(handle, f"{QUEUE}.{name}", False)
    if answered != f"{QUEUE}.{name}":
        raise Violation("phantoms", f"{name} declared {QUEUE}.{name} and was told {answered}")


def _consume(record: Record, name: str, handle: Any) -> None:
    client = record.client
    came: list[Delivery] = []
    client.consume(handle, QUEUE, f"tag-{name}", 1, came.append)
    deadline = time.monotonic() + SHORT
    while not came and time.monotonic() < deadline:
        try:
            client.drain_lease(handle, SHORT)
        except client.timeouts:
            break
    for delivery in came[:1]:
        if delivery.body.partition(b"\n")[0].decode() != delivery.identity:
            raise Violation("phantoms", f"{name} got a body that is not {delivery.identity}'s")
        record.delivered.append(delivery.identity or "")
        client.ack(handle, delivery.delivery_tag)
        record.acked.append(delivery.identity or "")
    client.cancel(handle, f"tag-{name}")


def _release(record: Record, name: str) -> None:
    try:
        record.release(record.next_lease())
    except record.client.refused:
        return
    except Exception as error:  # noqa: BLE001 - every one is judged
        record.judge(name, error)


def _timeout(record: Record, name: str) -> None:
    try:
        record.release(record.acquire(name, SHORT))
    except Exception as error:  # noqa: BLE001 - every one is judged
        record.judge(name, error, may_time_out=True)


def _drain(record: Record, name: str) -> None:
    try:
        record.client.drain(SHORT)
    except Exception as error:  # noqa: BLE001 - every one is judged
        record.judge(name, error, may_time_out=True)


def _kill(record: Record, name: str) -> None:
    record.faults += 1
    record.broker.kill()


def _end(record: Record, name: str) -> None:
    record.faults += 1
    record.broker.end()


def _stall(record: Record, name: str) -> None:
    # No fault: whoever waits for longer than this must not notice more than a delay.
    record.broker.stall(True)
    time.sleep(SHORT)
    record.broker.stall(False)


def _outage(record: Record, name: str) -> None:
    record.faults += 1
    record.broker.refuse(True)
    record.broker.kill()
    time.sleep(SHORT)
    record.broker.refuse(False)


def _reconnect(record: Record, name: str) -> None:
    _kill(record, name)
    publish_until_confirmed(record, name)


def _close(record: Record, name: str) -> None:
    record.closing = True
    before = time.monotonic()
    record.client.close(PATIENT)
    if time.monotonic() - before > PATIENT + 1:
        raise Violation("unavailable", f"{name}: close took {time.monotonic() - before:.1f} s")


def publish_until_confirmed(record: Record, name: str) -> None:
    """Whatever happened before: one message more is confirmed, in a few attempts."""
    last: BaseException | None = None
    for _ in range(ATTEMPTS):
        try:
            handle = record.acquire(name)
            try:
                before = len(record.confirmed)
                _confirmed(record, name, handle)
            finally:
                record.release(handle)
            if len(record.confirmed) > before:
                return
        except Exception as error:  # noqa: BLE001 - every one is judged
            record.judge(name, error, may_time_out=bool(record.faults))
            last = error
        if record.closing:
            return
    raise Violation("unavailable", f"{name}: {ATTEMPTS} attempts to publish failed, last: {last!r}")


OPERATIONS: Final[dict[str, Operation]] = {
    "acquire": _with_lease(_nothing),
    "release": _release,
    "publish": _with_lease(_publish),
    "confirmed": _with_lease(_confirmed),
    "rpc": _with_lease(_rpc),
    "consume": _with_lease(_consume),
    "drain": _drain,
    "kill": _kill,
    "end": _end,
    "stall": _stall,
    "outage": _outage,
    "reconnect": _reconnect,
    "close": _close,
    "timeout": _timeout,
}
