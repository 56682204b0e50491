"""The errors of amqpool: few, typed, and each says in one line when it is raised.

A class that stands for a broken connection or channel also inherits py-amqp's class for it, so
that code written for py-amqp keeps working: `except amqp.RecoverableConnectionError` catches
`ConnectionLost`. What the broker itself refuses on a channel is raised as py-amqp's own class
(`amqp.NotFound`, `amqp.PreconditionFailed`, …).

Every raise makes a new instance. An instance shared by two threads, or kept from an earlier
failure, would collect foreign tracebacks and report a cause that is not this one. No text of an
error ever holds a password.
"""

from __future__ import annotations

from amqp import exceptions as amqp_errors


class PoolError(Exception):
    """The base of all errors that amqpool itself defines."""


class _AmqpShaped(PoolError):
    """Arguments as py-amqp's errors have them, in their order."""

    reply_code: int
    reply_text: str | None
    method_sig: tuple[int, int] | None

    def __init__(
        self,
        reply_text: str | None = None,
        method_sig: tuple[int, int] | None = None,
        method_name: str | None = None,
        reply_code: int | None = None,
    ) -> None:
        super().__init__(reply_text, method_sig, method_name, reply_code)


class ConnectionLost(_AmqpShaped, amqp_errors.RecoverableConnectionError):  # type: ignore[misc]
    """The physical connection is gone; acquire again and the pool recovers it."""


class FrameError(ConnectionLost):
    """The peer broke the protocol (malformed, oversized or unexpected frame)."""


class RecoveryFailed(ConnectionLost):
    """No connection could be made within the recovery deadline."""


class LoginRefused(_AmqpShaped, amqp_errors.IrrecoverableConnectionError):  # type: ignore[misc]
    """The broker refused the user or the virtual host (403, 530); retrying would not help."""


class AcquireTimeout(PoolError, TimeoutError):
    """No channel became free within the time allowed."""


class OperationTimeout(PoolError, TimeoutError):
    """The reply to a synchronous call, or a confirm, did not come in time.

    After a call without reply its channel is dead: a late reply could be taken for the next one's.
    """


class DrainTimeout(PoolError, TimeoutError):
    """Nothing was there to dispatch within the time allowed."""


class PublishTimeout(PoolError, TimeoutError):
    """A publish was held back too long: the outbox is full, or the broker blocks publishers."""


class PoolClosed(PoolError):
    """The pool was closed; nothing can be acquired from it any more."""


class LeaseEnded(PoolError):
    """A lease's channel was used after the lease had been released."""


class InboxOverflow(_AmqpShaped, amqp_errors.RecoverableChannelError):  # type: ignore[misc]
    """A channel's inbox passed its bound in bytes; the channel was closed."""
