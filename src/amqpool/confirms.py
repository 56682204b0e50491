"""Publisher confirms: what becomes of each message, told by its own tag.

Owns, for one channel in confirm mode, the confirms that are still outstanding and the mandatory
messages among them that may still come back. The I/O thread resolves them by setting state;
nobody is called back. py-amqp's `basic_publish_confirm` takes *any* ack for its own, so a late
ack is credited to the next message and one `multiple` ack satisfies a single waiter; here an ack
with `multiple`, or with tag 0 (all so far), is expanded in order.

A `basic.return` carries no tag. The broker sends it before the confirm of the same message
(RabbitMQ, "Publisher Confirms"), so it belongs to the first outstanding mandatory message of that
channel with the same exchange, routing key, message_id, correlation_id and body.

`ConfirmBook` is guarded by the channel lock (inbox.py); so is the state of a `Confirmation`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .errors import OperationTimeout
from .inbox import Inbox

#: Outstanding confirms per channel; then a publish waits. A broker that never confirms must not
#: grow a queue without limit, and 16,384 are far more than any broker lags behind.
MAX_OUTSTANDING: Final = 16_384

ReturnKey = tuple[str, str, str, str, bytes]


class ReturnedMessage(NamedTuple):
    """A mandatory message that the broker could not route: code, text, and the message itself."""

    reply_code: int
    reply_text: str
    exchange: str
    routing_key: str
    message: Any


class Confirmation:
    """The broker's word on one published message."""

    __slots__ = ("_default_timeout", "_inbox", "outcome", "returned", "tag")

    def __init__(self, tag: int, inbox: Inbox, default_timeout: float) -> None:
        #: The message's number on its channel, from 1.
        self.tag = tag
        #: None, "ack", "nack", or "unknown": the channel ended before the broker's word came.
        self.outcome: str | None = None
        #: Set, before the outcome is, when a mandatory message came back.
        self.returned: ReturnedMessage | None = None
        self._inbox = inbox
        self._default_timeout = default_timeout

    @property
    def done(self) -> bool:
        """Whether the outcome is known, or known to be unknowable."""
        return self.outcome is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome: True for an ack, False for a nack.

        `timeout` is in seconds; None means the connection's rpc_timeout. Raises OperationTimeout,
        and the channel's or the connection's error when the outcome will never be known. Any
        thread may wait, also after the lease was released.
        """
        if self.outcome is None:
            self._wait(self._default_timeout if timeout is None else timeout)
        if self.outcome == "unknown":
            # Written before the outcome was, and never taken back: no lock.
            ended = self._inbox.ended
            assert ended is not None
            raise ended()
        return self.outcome == "ack"

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        inbox = self._inbox
        with inbox.lock:
            while self.outcome is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise OperationTimeout(
                        f"the broker did not confirm message {self.tag} within {timeout:.2f} s"
                    )
                inbox.wait(remaining)

    def __repr__(self) -> str:
        back = " returned" if self.returned is not None else ""
        return f"<Confirmation {self.tag} {self.outcome or 'outstanding'}{back}>"


class ConfirmBook:
    """The outstanding confirms of one channel; everything here needs the channel lock."""

    def __init__(self) -> None:
        self.last_tag = 0
        #: By tag.
        self.open: dict[int, Confirmation] = {}
        # No tag below this one is outstanding, so each tag is walked over once in all.
        self._lowest = 1
        self._mandatory: deque[tuple[ReturnKey, Confirmation]] = deque()

    def __len__(self) -> int:
        return len(self.open)

    def add(self, confirmation: Confirmation, key: ReturnKey | None) -> None:
        """The message with the next tag was appended to the outbox, under this same lock."""
        self.last_tag = confirmation.tag
        self.open[confirmation.tag] = confirmation
        if key is not None:
            self._mandatory.append((key, confirmation))

    def resolve(self, tag: int, multiple: bool, outcome: str) -> int:
        """Book a basic.ack or basic.nack; returns how many messages it settled.

        A tag that is not outstanding settles nothing: it is the peer's mistake, and no message
        may be credited with it.
        """
        if not multiple and tag:
            confirmation = self.open.pop(tag, None)
            if confirmation is None:
                return 0
            confirmation.outcome = outcome
            settled = 1
        else:
            last = min(tag, self.last_tag) if tag else self.last_tag
            settled = 0
            for number in range(self._lowest, last + 1):
                confirmation = self.open.pop(number, None)
                if confirmation is not None:
                    confirmation.outcome = outcome
                    settled += 1
            self._lowest = max(self._lowest, last + 1)
        mandatory = self._mandatory
        while mandatory and mandatory[0][1].outcome is not None:
            mandatory.popleft()
        return settled

    def returned(self, key: ReturnKey, message: Callable[[], ReturnedMessage]) -> bool:
        """Book a basic.return; False when no outstanding mandatory message fits."""
        for candidate, confirmation in self._mandatory:
            fits = confirmation.outcome is None and confirmation.returned is None
            if fits and candidate == key:
                confirmation.returned = message()
                return True
        return False

    def end(self) -> None:
        """The channel ended: the broker's word on the rest will never come."""
        for confirmation in self.open.values():
            confirmation.outcome = "unknown"
        self.open.clear()
        self._mandatory.clear()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def return_key(
    exchange: str, routing_key: str, properties: dict[str, Any], body: bytes
) -> ReturnKey:
    """What a published message and its basic.return have in common."""
    return (
        exchange,
        routing_key,
        _text(properties.get("message_id")),
        _text(properties.get("correlation_id")),
        body,
    )
