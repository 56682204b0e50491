"""Sequences by hand: what chance seldom puts together, above all which of several errors wins."""

from __future__ import annotations

from typing import Any

from .malformed import BROKEN, KINDS, LOGINS
from .steps import LOGIN, PUBLISH, RAW, Step


class On:
    """Writes steps of one connection and channel."""

    def __init__(self, connection: int = 0, channel: int = 1, bare: bool = False) -> None:
        self._where = (connection, channel)
        self._bare = bare

    def __call__(self, what: str, **fields: Any) -> Step:
        return Step(what, *self._where, fields, self._bare)

    def declare(self, queue: str, **fields: Any) -> Step:
        return self("Queue.Declare", queue=queue, **fields)

    def exchange(self, exchange: str, kind: str, **fields: Any) -> Step:
        return self("Exchange.Declare", exchange=exchange, exchange_type=kind, **fields)

    def bind(self, queue: str, exchange: str, key: str = "", **fields: Any) -> Step:
        return self("Queue.Bind", queue=queue, exchange=exchange, routing_key=key, **fields)

    def publish(self, exchange: str, key: str, **fields: Any) -> Step:
        return self(PUBLISH, exchange=exchange, routing_key=key, **fields)

    def get(self, queue: str, **fields: Any) -> Step:
        return self("Basic.Get", queue=queue, **fields)

    def consume(self, queue: str, tag: str = "c1", **fields: Any) -> Step:
        return self("Basic.Consume", queue=queue, consumer_tag=tag, **fields)

    def ack(self, tag: int, **fields: Any) -> Step:
        return self("Basic.Ack", delivery_tag=tag, **fields)

    def nack(self, tag: int, **fields: Any) -> Step:
        return self("Basic.Nack", delivery_tag=tag, **fields)

    def reject(self, tag: int, **fields: Any) -> Step:
        return self("Basic.Reject", delivery_tag=tag, **fields)

    def close(self) -> Step:
        return self("Channel.Close", reply_code=200, reply_text="", class_id=0, method_id=0)


a, a2, b, b2 = On(0, 1), On(0, 2), On(1, 1), On(1, 2)
bare = On(0, 1, bare=True)
q1 = a.declare("q1")
q2 = a.declare("q2")
HANG_UP = On(0, 0, bare=True)(
    "Connection.Close", reply_code=200, reply_text="", class_id=0, method_id=0
)


def _each(name: str, before: list[Step], *last: Step) -> dict[str, list[Step]]:
    """One sequence for each of the last steps."""
    return {f"{name}, {number}": [*before, step] for number, step in enumerate(last, 1)}


#: After these RabbitMQ says nothing for three seconds.
SLOW = frozenset(
    (
        *BROKEN,
        "payload above frame_max",
        "response that is no PLAIN",
        "unknown mechanism",
        "frame_max too small",
        "frame_max too large",
        "frame_max zero",
        "channel_max zero",
        "channel_max too large",
    )
)
_ODD = {
    **{f"frames: {kind}": [q1, Step(RAW, fields={"kind": kind})] for kind in KINDS},
    **{f"login: {kind}": [Step(LOGIN, fields={"kind": kind})] for kind in LOGINS},
}
SLOW_CORPUS = {name: steps for name, steps in _ODD.items() if steps[-1].fields["kind"] in SLOW}
CORPUS: dict[str, list[Step]] = {
    **{name: steps for name, steps in _ODD.items() if name not in SLOW_CORPUS},
    # -- which error wins ------------------------------------------------------------------
    **_each(
        "another's exclusive queue",
        [a.declare("q1", exclusive=True), a.publish("", "q1")],
        b.declare("q1"),
        b.declare("q1", exclusive=True),
        b.declare("q1", passive=True),
        b.declare("q1", durable=True, auto_delete=True),
        b("Queue.Purge", queue="q1"),
        b("Queue.Delete", queue="q1", if_empty=True),
        b.bind("q1", "amq.direct"),
        b.bind("q1", "none"),
        b.bind("q1", ""),
        b("Queue.Unbind", queue="q1", exchange="amq.direct", routing_key=""),
        b.get("q1"),
        b.consume("q1", exclusive=True),
        b.publish("", "q1", mandatory=True),
        a2.declare("q1", exclusive=True),
        a2.declare("q1"),
    ),
    **_each(
        "declared otherwise",
        [a.declare("q1", durable=True), a.exchange("e1", "topic", durable=True)],
        a.declare("q1"),
        a.declare("q1", exclusive=True),
        a.declare("q1", durable=True, auto_delete=True),
        a.declare("q1", exclusive=True, auto_delete=True),
        a.declare("q1", passive=True, exclusive=True),
        a.declare("q1", durable=True, arguments={"x-odd": 1}),
        a.declare("q1", durable=True, nowait=True),
        a.declare("q1", nowait=True),
        a.exchange("e1", "topic"),
        a.exchange("e1", "fanout"),
        a.exchange("e1", "odd", durable=True),
        a.exchange("e1", "odd", passive=True),
        a.exchange("e1", "topic", durable=True, auto_delete=True, internal=True),
        a.exchange("e1", "topic", durable=True, internal=True),
        a.exchange("e1", "fanout", nowait=True),
    ),
    **_each(
        "reserved and unknown names",
        [q1, a.exchange("e1", "direct")],
        a2.declare("amq.odd"),
        a2.declare("amq.odd", passive=True),
        a2.declare("", passive=True),
        a2.declare("none", passive=True, exclusive=True),
        a2("Queue.Delete", queue="amq.odd"),
        a2("Queue.Delete", queue="none", if_empty=True),
        a2("Queue.Delete", queue=""),
        a2("Queue.Purge", queue=""),
        a2("Queue.Purge", queue="none"),
        a2.bind("none", "none"),
        a2.bind("q1", "none"),
        a2.bind("none", "amq.direct"),
        a2.bind("none", ""),
        a2.bind("", ""),
        a2("Queue.Unbind", queue="none", exchange="none", routing_key=""),
        a2("Queue.Unbind", queue="none", exchange="", routing_key=""),
        a2("Queue.Unbind", queue="q1", exchange="e1", routing_key="none"),
        a2("Exchange.Bind", destination="none", source="none", routing_key=""),
        a2("Exchange.Bind", destination="none", source="e1", routing_key=""),
        a2("Exchange.Bind", destination="e1", source="none", routing_key=""),
        a2("Exchange.Bind", destination="none", source="", routing_key=""),
        a2("Exchange.Unbind", destination="none", source="none", routing_key=""),
        a2("Exchange.Unbind", destination="", source="none", routing_key=""),
        a2("Exchange.Delete", exchange="none"),
        a2("Exchange.Delete", exchange=""),
        a2("Exchange.Delete", exchange="amq.direct"),
        a2("Exchange.Delete", exchange="amq.odd", if_unused=True),
        a2.exchange("amq.odd", "odd"),
        a2.exchange("amq.odd", "direct"),
        a2.exchange("amq.odd", "direct", passive=True),
        a2.exchange("", "direct"),
        a2.exchange("", "", passive=True),
        a2.exchange("none", "", passive=True),
        a2.publish("none", "q1", mandatory=True, immediate=True),
        a2.publish("none", "q1", properties={"user_id": "other", "expiration": "odd"}),
        a2.publish("", "q1", properties={"user_id": "other", "expiration": "odd"}),
        a2.publish("", "q1", properties={"user_id": "guest", "expiration": "odd"}),
        a2.get("none"),
        a2.get(""),
        a2.consume("none"),
        a2.consume("", exclusive=True),
        a2("Basic.Qos", prefetch_size=5, prefetch_count=1),
        a2("Basic.Recover", requeue=False),
        a2("Channel.Flow", active=False),
    ),
    **_each(
        "consumers in the way",
        [q1, a.publish("", "q1"), b.consume("q1", "c1")],
        b.consume("q1", "c1"),
        b.consume("none", "c1"),
        b.consume("none", "c1", exclusive=True),
        b.consume("q1", "c2", exclusive=True),
        a.consume("q1", "c1", exclusive=True),
        a("Queue.Delete", queue="q1", if_unused=True, if_empty=True),
        a("Queue.Delete", queue="q1", if_empty=True),
        b("Queue.Delete", queue="q1"),
        b("Queue.Delete", queue="q1", nowait=True),
        b("Basic.Cancel", consumer_tag="none"),
        b("Basic.Cancel", consumer_tag="c1", nowait=True),
    ),
    "an exclusive consumer": [
        q1, a.consume("q1", exclusive=True), b.consume("q1"), b2.consume("q1", exclusive=True),
        a("Basic.Cancel", consumer_tag="c1"), b2.consume("q1", exclusive=True), a2.consume("q1"),
    ],
    "if-empty and if-unused": [
        q1, a.publish("", "q1"), a("Queue.Delete", queue="q1", if_empty=True, if_unused=True),
        a("Queue.Purge", queue="q1"), b.consume("q1"),
        a("Queue.Delete", queue="q1", if_empty=True, if_unused=True),
        a("Queue.Delete", queue="q1", if_empty=True),
    ],
    "an exchange in use": [
        q1, a.exchange("e1", "direct"), a.exchange("e2", "fanout"), a.bind("q1", "e1", "k"),
        a("Exchange.Bind", destination="e2", source="e1", routing_key="k"),
        a2("Exchange.Delete", exchange="e1", if_unused=True),
        a2("Exchange.Delete", exchange="e2", if_unused=True), a2.publish("e1", "k"),
        a2("Exchange.Delete", exchange="e1"), a2.publish("e1", "k"),
    ],
    # -- acknowledgements ------------------------------------------------------------------
    **_each(
        "acks that are wrong",
        [q1, *[a.publish("", "q1")] * 3, b.get("q1"), b.get("q1"), b.get("q1", no_ack=True)],
        b.ack(3), b.ack(0), b.ack(0, multiple=True), b.ack(3, multiple=True), b.ack(9),
        b.nack(9, requeue=True), b.nack(0, requeue=True), b.nack(0, multiple=True, requeue=True),
        b.nack(2, multiple=True, requeue=False), b.reject(0), b.reject(3, requeue=False),
        b2.ack(1), a.ack(1), b.ack(2), b("Basic.Recover", requeue=True),
        b("Basic.RecoverAsync", requeue=True), b("Basic.RecoverAsync", requeue=False),
    ),
    "acks twice": [q1, a.publish("", "q1"), b.get("q1"), b.ack(1), b.ack(1), b.ack(1)],
    "nothing to ack": [a.ack(0, multiple=True), a.nack(0, multiple=True), a.ack(1, multiple=True)],
    "acks after a cancel": [
        q1, b.consume("q1"), a.publish("", "q1"), a.publish("", "q1"),
        b("Basic.Cancel", consumer_tag="c1"), b.ack(1), b.reject(2, requeue=True), b.get("q1"),
    ],
    "tags start again": [
        q1, a.publish("", "q1"), a.publish("", "q1"), b.get("q1"), b.close(), b.get("q1"),
        b.ack(1), b.get("q1"), b.ack(2), b.ack(1),
    ],
    "what comes back keeps its place": [
        q1, *[a.publish("", "q1")] * 4, b.get("q1"), b.get("q1"), b.get("q1"),
        b.nack(2, requeue=True), b.get("q1"), b.nack(3, multiple=True, requeue=True),
        a.get("q1", no_ack=True), a.get("q1", no_ack=True), a.get("q1", no_ack=True),
    ],
    "an error gives back": [
        q1, q2, *[a.publish("", "q1")] * 2, a.publish("", "q2"), b.consume("q1"), b.get("q2"),
        a.consume("q1", "c9"), b.ack(9), b("Channel.CloseOk"), b.get("q2"),
    ],
    "an error gives back what was cancelled": [
        q1, a.publish("", "q1"), b.consume("q1"), b("Basic.Cancel", consumer_tag="c1"), b.ack(9),
        On(1, 1, bare=True)("Channel.CloseOk"),
    ],
    "a close gives back to others": [
        q1, b.consume("q1"), a.publish("", "q1"), a.publish("", "q1"), a2.consume("q1", "c2"),
        b.close(), a2.ack(1), a2.ack(2),
    ],
    "the end of a connection gives back": [
        q1, a.consume("q1"), a2.get("q1"), b.publish("", "q1"), b.publish("", "q1"),
        b.consume("q1", "c2"), HANG_UP, b.ack(1), b.ack(2),
    ],
    # -- consumers -------------------------------------------------------------------------
    "prefetch of each consumer": [
        q1, b("Basic.Qos", prefetch_count=1), b.consume("q1", "c1"), *[a.publish("", "q1")] * 4,
        b.consume("q1", "c2"), b.ack(1), b.ack(2), b("Basic.Qos", prefetch_count=0), b.ack(3),
    ],
    "prefetch of the channel": [
        q1, b("Basic.Qos", prefetch_count=2, global_=True), b.consume("q1", "c1"),
        b.consume("q1", "c2"), *[a.publish("", "q1")] * 5, b.ack(1),
        b("Basic.Qos", prefetch_count=3, global_=True), b.get("q1"), b.ack(3, multiple=True),
        b("Basic.Qos", prefetch_count=0, global_=True),
    ],
    "prefetch and no_ack": [
        q1, b("Basic.Qos", prefetch_count=1), b.consume("q1", no_ack=True),
        *[a.publish("", "q1")] * 3, b("Basic.Qos", prefetch_count=1, global_=True),
        a.publish("", "q1"), a.publish("", "q1"),
    ],
    "taking turns": [
        q1, b.consume("q1", "c1"), b.consume("q1", "c2"), a2.consume("q1", "c3"),
        *[a.publish("", "q1")] * 7, b("Basic.Cancel", consumer_tag="c2"),
        *[a.publish("", "q1")] * 3,
    ],
    "a queue goes under its consumers": [
        q1, b.consume("q1", "c1"), b2.consume("q1", "c2"), a.publish("", "q1"),
        a("Queue.Delete", queue="q1"), b.ack(1), b("Basic.Cancel", consumer_tag="c1"), q1,
        b.consume("q1", "c1"),
    ],
    "recover": [
        q1, *[a.publish("", "q1")] * 2, b.consume("q1"), b("Basic.Recover", requeue=True),
        b("Basic.Cancel", consumer_tag="c1"), b("Basic.Recover", requeue=True), b.get("q1"),
        b("Basic.RecoverAsync", requeue=True),
    ],
    "one's own messages": [q1, a.consume("q1", no_local=True), a.publish("", "q1")],
    "a consumer tag of the broker's": [
        q1, b.consume("q1", ""), b.consume("q1", ""), b.consume("q1", "", nowait=True),
        *[a.publish("", "q1")] * 3,
    ],
    # -- queues and exchanges --------------------------------------------------------------
    "a queue name of the broker's": [
        a.declare(""), a.bind("", "amq.fanout"), a.publish("amq.fanout", ""), a.get(""),
        a2.get(""), a.declare("", passive=True), a.declare("", exclusive=True), a.get(""),
        a("Queue.Delete", queue=""), a.get(""),
    ],
    "an empty name is the last queue": [
        q1, a.bind("", "amq.direct"), a.publish("amq.direct", "q1"), a.get(""),
        a("Queue.Unbind", queue="", exchange="amq.direct", routing_key="q1"),
        a("Queue.Unbind", queue="", exchange="amq.direct", routing_key=""),
        a("Queue.Purge", queue=""), a("Queue.Delete", queue=""), a("Queue.Purge", queue=""),
    ],
    "an empty key is the queue's name only without a name": [
        q1, a.bind("q1", "amq.direct"), a.bind("", "amq.topic"),
        a.publish("amq.direct", "q1", mandatory=True), a.publish("amq.topic", "q1", mandatory=True),
        a.publish("amq.direct", "", mandatory=True),
    ],
    "auto-delete": [
        a.declare("q1", auto_delete=True), a.exchange("e1", "fanout", auto_delete=True),
        a.exchange("e2", "direct", auto_delete=True), a.bind("q1", "e1"),
        a("Exchange.Bind", destination="e1", source="e2", routing_key="k"), b.consume("q1", "c1"),
        b2.consume("q1", "c2"), a.publish("e2", "k"), b("Basic.Cancel", consumer_tag="c1"),
        b2.close(), a.exchange("e1", "", passive=True), a2.exchange("e2", "", passive=True),
    ],
    "auto-delete by unbinding": [
        q1, a.exchange("e1", "direct", auto_delete=True), a.bind("q1", "e1", "k"),
        a.bind("q1", "e1", "l"), a("Queue.Unbind", queue="q1", exchange="e1", routing_key="k"),
        a("Queue.Unbind", queue="q1", exchange="e1", routing_key="l"), a.bind("q1", "e1", "k"),
    ],
    "exclusive queues go with their connection": [
        a.declare("q1", exclusive=True), a.declare("q2", exclusive=True, durable=True),
        a.bind("q1", "amq.topic", "#"), a.consume("q1"), b.publish("amq.topic", "k"), HANG_UP,
        b.declare("q1"), b.publish("amq.topic", "k", mandatory=True),
    ],
    "an internal exchange": [
        q1, a.exchange("e1", "fanout", internal=True), a.bind("q1", "e1"),
        a.exchange("e2", "direct"),
        a("Exchange.Bind", destination="e1", source="e2", routing_key="k"), a.publish("e2", "k"),
        a.publish("e1", "k"),
    ],
    "exchanges in a ring": [
        q1, a.exchange("e1", "fanout"), a.exchange("e2", "fanout"), a.bind("q1", "e2"),
        a.bind("q1", "e1"), a("Exchange.Bind", destination="e1", source="e2", routing_key=""),
        a("Exchange.Bind", destination="e2", source="e1", routing_key=""), a.publish("e1", "k"),
        a("Exchange.Bind", destination="e1", source="e1", routing_key=""), a.publish("e1", "k"),
    ],
    "topics": [
        q1, q2, a.declare("q3"), a.bind("q1", "amq.topic", "a.*"), a.bind("q1", "amq.topic", "#.z"),
        a.bind("q2", "amq.topic", "*.b.#"), a.bind("q3", "amq.topic", "#"),
        *(a.publish("amq.topic", key, mandatory=True)
          for key in ("", "a", "a.b", "a.b.c", "z", "a.", ".b", "a..z", "b.b.b", ".")),
    ],
    "bindings more than once": [
        q1, a.bind("q1", "amq.direct", "k"), a.bind("q1", "amq.direct", "k"),
        a.bind("q1", "amq.direct", "k", arguments={"x": 1}), a.publish("amq.direct", "k"),
        a("Queue.Unbind", queue="q1", exchange="amq.direct", routing_key="k"),
        a.publish("amq.direct", "k", mandatory=True),
        a("Queue.Unbind", queue="q1", exchange="amq.direct", routing_key="k", arguments={"x": 1}),
        a.publish("amq.direct", "k", mandatory=True),
    ],
    # -- confirms, returns, channels -------------------------------------------------------
    "confirms and returns": [
        q1, a("Confirm.Select"), a.publish("", "q1"), a.publish("", "none", mandatory=True),
        a.publish("", "q1", properties={"delivery_mode": 2}), a("Confirm.Select", nowait=True),
        a.publish("", "none"), a2.publish("", "none", mandatory=True), a.publish("none", "q1"),
        a.publish("", "q1"), a("Confirm.Select"), a.publish("", "q1"),
    ],
    "confirms of what is kept on disk": [
        a.declare("q1", durable=True), a("Confirm.Select"),
        *[a.publish("", "q1", properties={"delivery_mode": 2}, size=5000)] * 5,
    ],
    "transactions and confirms": [a("Confirm.Select"), a("Tx.Select")],
    "a message in many frames": [q1, b.consume("q1"), a.publish("", "q1", size=400000)],
    "channels that are not open": [bare.declare("q1"), a.declare("q1"), bare.get("q1")],
    "a channel that is open": [a.declare("q1"), bare("Channel.Open"), a.declare("q1")],
    "a channel that closes": [
        a.ack(1), bare.declare("q1"), bare.publish("", "q1"), bare("Channel.CloseOk"),
        a.declare("q1"), a.ack(1), bare("Channel.Open"),
    ],
    "both close a channel": [
        a.ack(1), bare.close(), bare("Channel.CloseOk"), a.declare("q1"),
    ],
    "a close-ok that nobody waits for": [a.declare("q1"), bare("Channel.CloseOk")],
    "many channels": [
        Step("Queue.Declare", 0, number, {"queue": "q1"}) for number in (1, 2, 3, 500, 2047)
    ],
    **_each(
        "methods on channel 0",
        [],
        *(On(0, 0, bare=True)(what, **fields) for what, fields in (
            ("Queue.Declare", {"queue": "q1"}), ("Channel.Open", {}), ("Channel.CloseOk", {}),
            ("Connection.CloseOk", {}), ("Connection.Open", {"virtual_host": "/"}),
            ("Connection.TuneOk", {}), ("Connection.Blocked", {"reason": ""}),
            (PUBLISH, {"exchange": "", "routing_key": "q1"}),
        )),
    ),
    **_each(
        "connection methods on channel 1",
        [a.declare("q1")],
        bare("Connection.Close", reply_code=200, reply_text="", class_id=0, method_id=0),
        bare("Connection.CloseOk"),
    ),
    **_each(
        "what only a broker says",
        [a.declare("q1")],
        a("Queue.DeclareOk", queue="q1", message_count=0, consumer_count=0),
        a("Basic.CancelOk", consumer_tag="c1"),
        a("Basic.GetEmpty"), a("Basic.QosOk"), a("Basic.RecoverOk"),
        a("Channel.FlowOk", active=True), a("Channel.OpenOk"),
        a("Confirm.SelectOk"), a("Exchange.BindOk"),
    ),
}  # fmt: skip
