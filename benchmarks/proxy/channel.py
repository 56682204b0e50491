"""One incarnation of a channel: what of it the ledger books, and what is outstanding on it.

It owns the contents that are not complete yet, the publishes that wait for a confirm, the
deliveries that wait for an ack, and which consumers and gets are no_ack. All of that starts
anew with each Channel.Open, which is what an incarnation is. It never judges: a frame that makes
no sense here (a body without a header, content that another method cuts short) books nothing,
since answering it is the broker's business. It prevents a confirm or an ack from being credited
to the message of an earlier channel that happened to have the same number.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from benchmarks.proxy import fields as f

Fields = dict[str, Any]
#: message-id, and body identity (publishes) or consumer tag (deliveries).
Message = tuple[str | None, str | None]
#: By confirm sequence or delivery tag, in that order, so that `multiple` takes from the front.
Outstanding = OrderedDict[int, Message]
#: Takes kind and fields; the generation adds time, channel and incarnation.
Book = Callable[[str, Fields], None]

TO_BROKER: Final = 0
TO_CLIENT: Final = 1

#: A body's identity is its first line. Identities are ``run/producer/sequence``, far below this.
IDENTITY_LIMIT = 120


class Content:
    """A method that carries content, from its method frame to its last body frame."""

    __slots__ = ("checksum", "fields", "kind", "message_id", "missing", "prefix", "size")

    def __init__(self, kind: str, fields: Fields) -> None:
        self.kind = kind
        self.fields = fields
        self.message_id: str | None = None
        self.size: int | None = None
        self.missing = 0
        self.checksum = 0
        self.prefix = b""

    def add(self, body: bytes) -> None:
        """Take in the payload of one body frame; of the bytes only the first few are kept."""
        self.missing -= len(body)
        self.checksum = zlib.crc32(body, self.checksum)
        if not self.prefix:
            self.prefix = body[:IDENTITY_LIMIT]
        elif len(self.prefix) < IDENTITY_LIMIT:
            self.prefix += body[: IDENTITY_LIMIT - len(self.prefix)]

    @property
    def body_id(self) -> str | None:
        """The body's first line, None when no newline stands within the limit."""
        line, newline, _ = self.prefix.partition(b"\n")
        return line.decode("latin-1") if newline else None


class Channel:
    """The books of one channel incarnation. Feed it frames in the order they were forwarded."""

    # Slots and lists keep it small: a hostile client may open 65,535 channels in one breath.
    __slots__ = (
        "_book",
        "_confirming",
        "_consumes",
        "_content",
        "_gets",
        "_no_ack_of",
        "_published",
        "_unacked",
        "_unconfirmed",
    )

    def __init__(self, book: Book) -> None:
        self._book = book
        self._content: list[Content | None] = [None, None]
        self._confirming = False
        self._published = 0
        self._unconfirmed: Outstanding = OrderedDict()
        self._unacked: Outstanding = OrderedDict()
        self._no_ack_of: dict[str, bool] = {}
        # no_ack of the consumes and gets that wait for their answer, oldest first; rarely two.
        self._consumes: list[bool] = []
        self._gets: list[bool] = []

    def method(self, direction: int, key: int, payload: bytes) -> None:
        """Book the method with this key, or begin its content. Unknown methods book nothing.

        Raises Malformed (or struct.error) when the payload ends early.
        """
        self._content[direction] = None
        handler = _METHODS[direction].get(key)
        if handler is not None:
            handler(self, payload)

    def header(self, direction: int, payload: bytes) -> None:
        """Take a content header. Raises Malformed when the payload ends early."""
        content = self._content[direction]
        if content is None or content.size is not None:
            self._content[direction] = None
            return
        content.size, content.message_id = f.header(payload)
        content.missing = content.size
        if not content.missing:
            self._complete(direction, content)

    def body(self, direction: int, payload: bytes) -> None:
        """Take one body frame; the last one completes the content and books it.

        Content that turns out longer than its header said never completes.
        """
        content = self._content[direction]
        if content is None or content.size is None:
            return
        content.add(payload)
        if content.missing == 0:
            self._complete(direction, content)

    def _complete(self, direction: int, content: Content) -> None:
        self._content[direction] = None
        _CONTENTS[content.kind](self, content)

    # -- contents -------------------------------------------------------------------------------

    def _publish(self, content: Content) -> None:
        seq = None
        body_id = content.body_id
        if self._confirming:
            self._published = seq = self._published + 1
            self._unconfirmed[seq] = content.message_id, body_id
        self._book(
            "publish",
            {
                "seq": seq,
                "id": content.message_id,
                "body_id": body_id,
                "size": content.size,
                "crc": content.checksum,
                **content.fields,
            },
        )

    def _return(self, content: Content) -> None:
        self._book(
            "return", {"id": content.message_id, "body_id": content.body_id, **content.fields}
        )

    def _deliver(self, content: Content) -> None:
        tag, consumer = content.fields["tag"], content.fields["consumer"]
        no_ack = self._no_ack_of.get(consumer, False)
        if not no_ack:
            self._unacked[tag] = content.message_id, consumer
        self._message("deliver", content, {"no_ack": no_ack})

    def _get_ok(self, content: Content) -> None:
        if not (self._gets and self._gets.pop(0)):
            self._unacked[content.fields["tag"]] = content.message_id, None
        self._message("get_ok", content, {})

    def _message(self, kind: str, content: Content, more: Fields) -> None:
        self._book(
            kind,
            {
                **content.fields,
                "id": content.message_id,
                "body_id": content.body_id,
                "size": content.size,
                "crc": content.checksum,
                **more,
            },
        )

    # -- methods from the client ----------------------------------------------------------------

    def _on_publish(self, payload: bytes) -> None:
        exchange, at = f.short_string(payload, 6)
        routing_key, at = f.short_string(payload, at)
        (bits,) = f.OCTET.unpack_from(payload, at)
        fields: Fields = {
            "exchange": exchange,
            "routing_key": routing_key,
            "mandatory": bool(bits & 1),
        }
        self._content[TO_BROKER] = Content("publish", fields)

    def _on_close(self, payload: bytes) -> None:
        self._book("close", {"code": f.SHORT.unpack_from(payload, 4)[0]})

    def _on_closed_ok(self, _payload: bytes) -> None:
        self._book("closed_ok", {})

    def _on_confirm_select(self, _payload: bytes) -> None:
        self._confirming = True  # a second select does not restart the count
        self._book("confirm_select", {})

    def _on_declare(self, payload: bytes) -> None:
        queue, at = f.short_string(payload, 6)
        passive = bool(f.OCTET.unpack_from(payload, at)[0] & 1)
        self._book("declare", {"queue": queue, "passive": passive})

    def _on_consume(self, payload: bytes) -> None:
        queue, at = f.short_string(payload, 6)
        tag, at = f.short_string(payload, at)
        (bits,) = f.OCTET.unpack_from(payload, at)
        no_ack, nowait = bool(bits & 2), bool(bits & 8)
        if tag:
            self._no_ack_of[tag] = no_ack
        if not nowait:
            self._consumes.append(no_ack)
        self._book("consume", {"tag": tag, "queue": queue, "no_ack": no_ack})

    def _on_cancel(self, payload: bytes) -> None:
        self._book("cancel", {"tag": f.short_string(payload, 4)[0]})

    def _on_get(self, payload: bytes) -> None:
        queue, at = f.short_string(payload, 6)
        no_ack = bool(f.OCTET.unpack_from(payload, at)[0] & 1)
        self._gets.append(no_ack)
        self._book("get", {"queue": queue, "no_ack": no_ack})

    def _on_ack(self, payload: bytes) -> None:
        tag, bits = f.LONGLONG.unpack_from(payload, 4)[0], f.OCTET.unpack_from(payload, 12)[0]
        self._settle("ack", tag, {"multiple": bool(bits & 1)})

    def _on_nack(self, payload: bytes) -> None:
        tag, bits = f.LONGLONG.unpack_from(payload, 4)[0], f.OCTET.unpack_from(payload, 12)[0]
        self._settle("nack", tag, {"multiple": bool(bits & 1), "requeue": bool(bits & 2)})

    def _on_reject(self, payload: bytes) -> None:
        tag, bits = f.LONGLONG.unpack_from(payload, 4)[0], f.OCTET.unpack_from(payload, 12)[0]
        self._settle("reject", tag, {"multiple": False, "requeue": bool(bits & 1)})

    def _on_recover(self, _payload: bytes) -> None:
        self._unacked.clear()  # all of it comes again, under new tags

    def _settle(self, kind: str, tag: int, more: Fields) -> None:
        taken = _take(self._unacked, tag, multiple=more["multiple"] is True)
        for one, (message_id, consumer) in taken:
            self._book(kind, {"tag": one, "id": message_id, "consumer": consumer, **more})
        if not taken:
            self._book(kind, {"tag": tag, "id": None, "consumer": None, **more, "unknown": True})

    # -- methods from the broker ----------------------------------------------------------------

    def _on_open_ok(self, _payload: bytes) -> None:
        self._book("open_ok", {})

    def _on_close_ok(self, _payload: bytes) -> None:
        self._book("close_ok", {})

    def _on_server_close(self, payload: bytes) -> None:
        code, text = f.SHORT.unpack_from(payload, 4)[0], f.short_string(payload, 6)[0]
        self._book("server_close", {"code": code, "text": text})

    def _on_confirm(self, payload: bytes, *, ack: bool = True) -> None:
        tag, bits = f.LONGLONG.unpack_from(payload, 4)[0], f.OCTET.unpack_from(payload, 12)[0]
        taken = _take(self._unconfirmed, tag, multiple=bool(bits & 1))
        for seq, (message_id, body_id) in taken:
            self._book("confirm", {"seq": seq, "id": message_id, "body_id": body_id, "ack": ack})
        if not taken:
            fields: Fields = {"seq": tag, "id": None, "body_id": None, "ack": ack, "unknown": True}
            self._book("confirm", fields)

    def _on_confirm_nack(self, payload: bytes) -> None:
        self._on_confirm(payload, ack=False)

    def _on_return(self, payload: bytes) -> None:
        self._content[TO_CLIENT] = Content("return", {"code": f.SHORT.unpack_from(payload, 4)[0]})

    def _on_deliver(self, payload: bytes) -> None:
        consumer, at = f.short_string(payload, 4)
        fields: Fields = {
            "consumer": consumer,
            "tag": f.LONGLONG.unpack_from(payload, at)[0],
            "redelivered": bool(f.OCTET.unpack_from(payload, at + 8)[0] & 1),
        }
        self._content[TO_CLIENT] = Content("deliver", fields)

    def _on_get_ok(self, payload: bytes) -> None:
        tag, bits = f.LONGLONG.unpack_from(payload, 4)[0], f.OCTET.unpack_from(payload, 12)[0]
        self._content[TO_CLIENT] = Content("get_ok", {"tag": tag, "redelivered": bool(bits & 1)})

    def _on_get_empty(self, _payload: bytes) -> None:
        if self._gets:
            self._gets.pop(0)
        self._book("get_empty", {})

    def _on_consume_ok(self, payload: bytes) -> None:
        tag = f.short_string(payload, 4)[0]
        if self._consumes:
            self._no_ack_of[tag] = self._consumes.pop(0)
        self._book("consume_ok", {"tag": tag})

    def _on_cancel_ok(self, payload: bytes) -> None:
        self._book("cancel_ok", {"tag": f.short_string(payload, 4)[0]})

    def _on_server_cancel(self, payload: bytes) -> None:
        self._book("server_cancel", {"tag": f.short_string(payload, 4)[0]})

    def _on_declare_ok(self, payload: bytes) -> None:
        self._book("declare_ok", {"queue": f.short_string(payload, 4)[0]})


def _take(outstanding: Outstanding, tag: int, *, multiple: bool) -> list[tuple[int, Message]]:
    """Take out what a (negative) acknowledgement covers, in the order of the tags.

    With ``multiple``, all up to and including ``tag``, and 0 is all there is (section 1.8.3.13).
    Without, the tag alone; 0 is then no tag, as RabbitMQ has it.
    """
    if not multiple:
        return [(tag, outstanding.pop(tag))] if tag in outstanding else []
    taken = []
    while outstanding and (not tag or next(iter(outstanding)) <= tag):
        taken.append(outstanding.popitem(last=False))
    return taken


_METHODS: Final[tuple[dict[int, Callable[[Channel, bytes], None]], ...]] = (
    {
        f.CHANNEL_CLOSE: Channel._on_close,
        f.CHANNEL_CLOSE_OK: Channel._on_closed_ok,
        f.CONFIRM_SELECT: Channel._on_confirm_select,
        f.QUEUE_DECLARE: Channel._on_declare,
        f.BASIC_PUBLISH: Channel._on_publish,
        f.BASIC_CONSUME: Channel._on_consume,
        f.BASIC_CANCEL: Channel._on_cancel,
        f.BASIC_GET: Channel._on_get,
        f.BASIC_ACK: Channel._on_ack,
        f.BASIC_NACK: Channel._on_nack,
        f.BASIC_REJECT: Channel._on_reject,
        f.BASIC_RECOVER: Channel._on_recover,
        f.BASIC_RECOVER_ASYNC: Channel._on_recover,
    },
    {
        f.CHANNEL_OPEN_OK: Channel._on_open_ok,
        f.CHANNEL_CLOSE: Channel._on_server_close,
        f.CHANNEL_CLOSE_OK: Channel._on_close_ok,
        f.QUEUE_DECLARE_OK: Channel._on_declare_ok,
        f.BASIC_CONSUME_OK: Channel._on_consume_ok,
        f.BASIC_CANCEL: Channel._on_server_cancel,
        f.BASIC_CANCEL_OK: Channel._on_cancel_ok,
        f.BASIC_RETURN: Channel._on_return,
        f.BASIC_DELIVER: Channel._on_deliver,
        f.BASIC_GET_OK: Channel._on_get_ok,
        f.BASIC_GET_EMPTY: Channel._on_get_empty,
        f.BASIC_ACK: Channel._on_confirm,
        f.BASIC_NACK: Channel._on_confirm_nack,
    },
)

_CONTENTS: Final[dict[str, Callable[[Channel, Content], None]]] = {
    "publish": Channel._publish,
    "return": Channel._return,
    "deliver": Channel._deliver,
    "get_ok": Channel._get_ok,
}
