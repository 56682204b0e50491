"""Sequences of steps by chance: mostly legal traffic on few names, some of it wrong on purpose.

Few names, or nothing would ever meet; mostly legal, since an error throws away what was built up.
hypothesis makes the sequences from a seed and shrinks what differs, towards fewer steps, first
names and fields left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from .corpus import SLOW
from .malformed import KINDS
from .steps import PUBLISH, RAW, Step

flags = st.booleans()
rarely = st.sampled_from((False,) * 9 + (True,))
often = st.sampled_from((True,) * 4 + (False,))
connections = st.sampled_from((0, 0, 0, 1, 1))
channels = st.sampled_from((1, 1, 1, 2, 2))
odd_channels = st.sampled_from((1, 2, 3, 0, 2047, 2048, 65535))
queues = st.sampled_from(("q1", "q1", "q1", "q2", "q2", "q3", "", "none", "amq.odd"))
exchanges = st.sampled_from(
    ("e1", "e1", "e2", "e2", "e3", "amq.direct", "amq.topic", "amq.fanout", "", "none", "amq.odd")
)
own_exchanges = st.sampled_from(("e1", "e1", "e2", "e3", "none", ""))
kinds = st.sampled_from(
    ("direct", "direct", "fanout", "fanout", "topic", "topic", "headers", "odd", "")
)
keys = st.sampled_from(("q1", "q1", "q2", "a.b", "a.*", "#", "*.b", "a.#", "", "a"))
consumer_tags = st.sampled_from(("c1", "c1", "c2", "c3", "", ""))
tags = st.sampled_from((1, 1, 2, 2, 3, 4, 5, 0, 9))
argument_tables: Any = st.sampled_from(
    ({},) * 16
    + (
        {"x-message-ttl": 60000},
        {"x-max-length": 1},
        {"x-queue-type": "classic"},
        {"x-odd": "value"},
    )
)
properties = st.fixed_dictionaries(
    {},
    optional={
        "delivery_mode": st.sampled_from((1, 2)),
        "priority": st.sampled_from((0, 9)),
        "message_id": st.just("id"),
        "headers": st.sampled_from(({}, {"a": 1, "b": "text"})),
        "expiration": st.sampled_from(("60000", "odd")),
        "user_id": st.sampled_from(("guest", "other")),
    },
)


def _step(
    what: str, bare: st.SearchStrategy[bool] = rarely, **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[Step]:
    """A method. A flag that is not set and an empty table are the default: left out."""
    return st.builds(
        lambda connection, channel, bare, fields: Step(
            what,
            connection,
            channel,
            {
                name: value
                for name, value in fields.items()
                if name in _SET or (value is not False and value != {})
            },
            bare,
        ),
        connections,
        channels,
        bare,
        st.fixed_dictionaries(fields),
    )


#: Flags that pamqp sets where they are left out.
_SET = frozenset(("requeue", "active"))

PUBLISHES = _step(
    PUBLISH,
    exchange=st.one_of(st.just(""), exchanges),
    routing_key=keys,
    mandatory=flags,
    immediate=rarely.flatmap(lambda on: rarely if on else st.just(False)),
    properties=st.one_of(st.just({}), st.just({}), properties),
    size=st.sampled_from((1, 1, 1, 1, 0, 200, 140000)),
)
SETTLES = st.one_of(
    _step("Basic.Ack", delivery_tag=tags, multiple=flags),
    _step("Basic.Nack", delivery_tag=tags, multiple=flags, requeue=flags),
    _step("Basic.Reject", delivery_tag=tags, requeue=flags),
)
QUEUES = st.one_of(
    _step(
        "Queue.Declare",
        queue=queues,
        passive=rarely,
        durable=rarely,
        exclusive=rarely,
        auto_delete=rarely,
        nowait=rarely,
        arguments=argument_tables,
    ),
    _step("Queue.Declare", queue=queues, passive=flags),
    _step("Queue.Declare", queue=queues, durable=flags, exclusive=flags, auto_delete=flags),
    _step("Queue.Bind", queue=queues, exchange=exchanges, routing_key=keys, nowait=rarely),
    _step("Queue.Bind", queue=queues, exchange=exchanges, routing_key=keys),
    _step("Queue.Unbind", queue=queues, exchange=exchanges, routing_key=keys),
    _step("Queue.Purge", queue=queues, nowait=rarely),
    _step("Queue.Delete", queue=queues, if_unused=flags, if_empty=flags, nowait=rarely),
)
EXCHANGES = st.one_of(
    _step(
        "Exchange.Declare",
        exchange=exchanges,
        exchange_type=kinds,
        passive=rarely,
        durable=rarely,
        auto_delete=rarely,
        internal=rarely,
        nowait=rarely,
    ),
    _step("Exchange.Declare", exchange=own_exchanges, exchange_type=kinds, auto_delete=flags),
    _step("Exchange.Delete", exchange=exchanges, if_unused=flags, nowait=rarely),
    _step("Exchange.Bind", destination=own_exchanges, source=exchanges, routing_key=keys),
    _step("Exchange.Unbind", destination=own_exchanges, source=exchanges, routing_key=keys),
)
CONSUMERS = st.one_of(
    _step(
        "Basic.Consume",
        queue=queues,
        consumer_tag=consumer_tags,
        no_ack=flags,
        exclusive=rarely,
        no_local=rarely,
        nowait=rarely,
    ),
    _step("Basic.Consume", queue=queues, consumer_tag=consumer_tags),
    _step("Basic.Get", queue=queues, no_ack=flags),
    _step("Basic.Get", queue=queues, no_ack=flags),
    _step("Basic.Cancel", consumer_tag=consumer_tags, nowait=rarely),
    _step("Basic.Qos", prefetch_count=st.sampled_from((1, 2, 3, 0)), global_=rarely),
    _step(
        "Basic.Qos",
        prefetch_count=st.sampled_from((1, 2, 0)),
        prefetch_size=st.sampled_from((0, 0, 0, 5)),
        global_=flags,
    ),
    _step("Basic.Recover", requeue=often),
    _step("Basic.RecoverAsync", requeue=often),
)
_CLOSE = {
    "reply_code": st.just(200),
    "reply_text": st.just("bye"),
    "class_id": st.just(0),
    "method_id": st.just(0),
}
CHANNELS = st.one_of(
    _step("Channel.Close", **_CLOSE),
    _step("Channel.Close", **_CLOSE),
    _step("Channel.Open", bare=st.just(True)),
    _step("Channel.CloseOk", bare=st.just(True)),
    _step("Channel.Flow", active=often),
    _step("Confirm.Select", nowait=rarely),
    _step("Confirm.Select"),
    _step("Connection.Close", bare=st.just(True), **_CLOSE).map(
        lambda step: step._replace(channel=0)
    ),
)


def _answer(what: str) -> st.SearchStrategy[Step]:
    """A method that only a broker sends, or that answers one of a broker."""
    fields: dict[str, Any] = {}
    if what == "Queue.PurgeOk":
        fields["message_count"] = st.just(0)
    elif what == "Basic.CancelOk":
        fields["consumer_tag"] = consumer_tags
    elif what == "Channel.FlowOk":
        fields["active"] = st.just(True)
    return _step(what, **fields)


_RAWS = st.builds(
    lambda connection, channel, kind: Step(RAW, connection, channel, {"kind": kind}),
    connections,
    channels,
    st.sampled_from([kind for kind in KINDS if kind not in SLOW]),
)
_BARE = st.builds(
    lambda step, channel: step._replace(channel=channel, bare=True),
    st.one_of(QUEUES, CONSUMERS, PUBLISHES, SETTLES, CHANNELS),
    odd_channels,
)
_TX = st.sampled_from(("Select", "Commit", "Rollback")).flatmap(lambda name: _step(f"Tx.{name}"))
_ANSWERS = st.sampled_from(
    ("Queue.PurgeOk", "Basic.CancelOk", "Basic.GetEmpty", "Basic.QosOk", "Exchange.DeclareOk",
     "Confirm.SelectOk", "Channel.FlowOk")
).flatmap(_answer)  # fmt: skip
#: Rare: most of them end the connection, and a transaction the comparison.
ODD = st.sampled_from((_RAWS,) * 4 + (_BARE,) * 4 + (_ANSWERS, _TX)).flatmap(lambda each: each)

#: Anything, right or wrong.
ANYTHING = st.sampled_from(
    (PUBLISHES,) * 5 + (SETTLES,) * 3 + (QUEUES,) * 4 + (EXCHANGES,) * 2 + (CONSUMERS,) * 4
    + (CHANNELS,) * 2
).flatmap(lambda strategy: strategy)  # fmt: skip

known_queues = st.sampled_from(("q1", "q2"))
#: Of what was delivered on the channel and is not settled yet: the oldest, the next, …
outstanding = st.sampled_from((-1, -1, -1, -2, -2, -3, -4))
never = st.just(False)
#: What makes sense after SETUP.
SENSIBLE = (
    (8, _step(
        PUBLISH, never, exchange=st.just(""), routing_key=known_queues, mandatory=flags,
        size=st.sampled_from((1, 1, 1, 0, 140000)),
    )),
    (4, _step(
        PUBLISH, never, exchange=st.sampled_from(("e1", "e2", "amq.direct", "amq.topic")),
        routing_key=keys, mandatory=flags,
    )),
    (1, _step(PUBLISH, never, exchange=st.just(""), routing_key=known_queues,
              properties=st.fixed_dictionaries({"delivery_mode": st.just(2)}))),
    (4, _step("Basic.Get", never, queue=known_queues, no_ack=flags)),
    (4, _step("Basic.Ack", never, delivery_tag=outstanding, multiple=flags)),
    (3, _step("Basic.Nack", never, delivery_tag=outstanding, multiple=flags, requeue=flags)),
    (2, _step("Basic.Reject", never, delivery_tag=outstanding, requeue=flags)),
    (4, _step("Basic.Consume", never, queue=known_queues, no_ack=rarely,
              consumer_tag=st.sampled_from(("", "", "c1", "c2", "c3", "c4", "c5")))),
    (2, _step("Basic.Cancel", never,
              consumer_tag=st.sampled_from(("c1", "c2", "c3", "c4", "c5")))),
    (2, _step("Basic.Qos", never, prefetch_count=st.sampled_from((1, 2, 3, 0)), global_=flags)),
    (1, _step("Basic.Recover", never, requeue=st.just(True))),
    (2, _step("Confirm.Select", never)),
    (2, _step("Queue.Bind", never, queue=known_queues, routing_key=keys,
              exchange=st.sampled_from(("e1", "e2", "amq.direct", "amq.topic")))),
    (1, _step("Queue.Unbind", never, queue=known_queues, routing_key=keys,
              exchange=st.sampled_from(("e1", "e2", "amq.direct", "amq.topic")))),
    (1, _step("Exchange.Bind", never, destination=st.just("e2"), routing_key=keys,
              source=st.sampled_from(("e1", "e2", "amq.direct", "amq.topic")))),
    (1, _step("Exchange.Unbind", never, destination=st.just("e2"), routing_key=keys,
              source=st.sampled_from(("e1", "e2", "amq.direct", "amq.topic")))),
    (1, _step("Queue.Declare", never, queue=st.sampled_from(("q1", "q2", "")))),
    (1, _step("Queue.Purge", never, queue=known_queues)),
    (1, _step("Channel.Close", never, **_CLOSE)),
)  # fmt: skip
SENSE = st.sampled_from([strategy for weight, strategy in SENSIBLE for _ in range(weight)]).flatmap(
    lambda strategy: strategy
)


def _join(lists: Iterable[Iterable[Any]]) -> list[Any]:
    return [each for part in lists for each in part]


#: What the rest of a sequence stands on. Each step is there nine times out of ten.
SETUP = (
    Step("Queue.Declare", fields={"queue": "q1"}),
    Step("Queue.Declare", fields={"queue": "q2"}),
    Step("Exchange.Declare", fields={"exchange": "e1", "exchange_type": "topic"}),
    Step("Exchange.Declare", fields={"exchange": "e2", "exchange_type": "fanout"}),
    Step("Queue.Bind", fields={"queue": "q1", "exchange": "e1", "routing_key": "a.*"}),
    Step("Queue.Bind", fields={"queue": "q2", "exchange": "e1", "routing_key": "#"}),
    Step("Queue.Bind", fields={"queue": "q2", "exchange": "e2", "routing_key": ""}),
)
_SETUPS = st.tuples(*(st.sampled_from(((),) + ((step,),) * 9) for step in SETUP)).map(_join)


def _without_chance(step: Step) -> Step:
    """RabbitMQ gives back by consumer tag; where it makes them itself, their order is chance.

    So a consumer whose tag it makes gets nothing that could come back.
    """
    if step.what == "Basic.Consume" and not step.fields["consumer_tag"]:
        return step._replace(fields=step.fields | {"no_ack": True})
    return step


_STEP = (
    st.sampled_from((SENSE,) * 50 + (ANYTHING,) * 6 + (ODD,))
    .flatmap(lambda each: each)
    .map(_without_chance)
)


def _without_races(steps: list[Step]) -> list[Step]:
    """Nothing is given back once a channel has a limit for all its consumers.

    In RabbitMQ a queue hears of what comes back from the channel, and of the room that this makes
    from another process: which comes first is chance, and with it who gets what.
    """
    limited = False
    kept = []
    for step in steps:
        limited = limited or bool(step.what == "Basic.Qos" and step.fields.get("global_"))
        if limited and step.what in ("Basic.Nack", "Basic.Reject"):
            step = step._replace(fields=step.fields | {"requeue": False})
        if not (limited and step.what in ("Basic.Recover", "Basic.RecoverAsync")):
            kept.append(step)
    return kept


#: Lists of lists, since hypothesis makes lists short: some forty steps.
_STEPS = st.lists(st.lists(st.lists(_STEP, max_size=20), max_size=10).map(_join), max_size=3).map(
    _join
)
SEQUENCES = st.tuples(_SETUPS, _STEPS).map(lambda parts: _without_races([*parts[0], *parts[1]]))
#: All that a long run must have sent.
WHATS = (
    *(PUBLISH, RAW, "Basic.Ack", "Basic.Nack", "Basic.Reject"),
    *("Queue.Declare", "Queue.Bind", "Queue.Unbind", "Queue.Purge", "Queue.Delete"),
    *("Exchange.Declare", "Exchange.Delete", "Exchange.Bind", "Exchange.Unbind"),
    *("Basic.Consume", "Basic.Get", "Basic.Cancel", "Basic.Qos"),
    *("Basic.Recover", "Basic.RecoverAsync", "Channel.Close", "Channel.Open", "Channel.CloseOk"),
    *("Channel.Flow", "Confirm.Select", "Connection.Close", "Tx.Select"),
)
