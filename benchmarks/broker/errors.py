"""The protocol errors that a broker answers with, by AMQP 0-9-1 reply code.

A soft error closes the channel, a hard one the connection (specification section 1.5). The texts
are RabbitMQ's, because clients and their test suites match on them.
"""

from __future__ import annotations

REPLY_NAMES = {
    320: "CONNECTION_FORCED",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}

#: A reply text is a short string: its length is one octet.
_TEXT_LIMIT = 255


class ProtocolError(Exception):
    """What a peer did wrong: ``code``, and ``text`` as it goes into the Close method."""

    def __init__(self, code: int, detail: str) -> None:
        text = f"{REPLY_NAMES[code]} - {detail}"
        self.code = code
        self.text = text.encode()[:_TEXT_LIMIT].decode(errors="ignore")
        super().__init__(self.text)


class SoftError(ProtocolError):
    """Ends the channel it happened on."""


class HardError(ProtocolError):
    """Ends the connection."""


def not_found(kind: str, name: str) -> SoftError:
    """404: there is no such queue or exchange."""
    return SoftError(404, f"no {kind} '{name}' in vhost '/'")


def locked(queue: str) -> SoftError:
    """405: the queue belongs to another connection, or is not exclusive and was said to be."""
    return SoftError(
        405,
        f"cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be"
        " originally declared on another connection or the exclusive property value does not"
        " match that of the original declaration.",
    )
