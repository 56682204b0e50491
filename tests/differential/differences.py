"""Where the embedded broker differs from RabbitMQ on purpose: a table.

A difference has a predicate, which says whether it explains what two brokers said to one step; an
example, which must show it (else it is stale, and a test fails); and a reason. After one that parts
them the brokers' states are no longer the same, and the rest of a sequence is not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .observing import Observation
from .steps import LOGIN, PUBLISH, RAW, Step

#: The RabbitMQ that this table, and the sequences by hand, were held against.
VERSION = "3.10.8"


@dataclass(frozen=True)
class Difference:
    """One named difference."""

    name: str
    #: What RabbitMQ does, what the embedded broker does, and why: one sentence each.
    rabbitmq: str
    embedded: str
    reason: str
    holds: Callable[[Step, Observation, Observation], bool]
    example: tuple[Step, ...]
    parts: bool = True


def _closes(seen: Observation, *codes: int) -> bool:
    """Whether a Close with one of these codes was seen."""
    return any(
        line[1:2] in (("Connection.Close",), ("Channel.Close",)) and line[2] in codes
        for line in seen
    )


def _is_raw(step: Step, *kinds: str) -> bool:
    return step.what == RAW and step.fields["kind"] in kinds


def _without_wording(seen: Observation) -> list[Any]:
    """The same without the texts of framing errors, which quote Erlang terms in RabbitMQ."""
    return [
        (*line[:3], *line[4:])
        if line[1:2] == ("Connection.Close",) and (line[2] == 501 or line[4:] == (0, 0))
        else line
        for line in seen
    ]


def _ends_alike(mine: Observation, other: Observation) -> bool:
    """Whether a connection ended, and only deliveries and counts of messages differ."""

    def rest(seen: Observation) -> list[Any]:
        return [
            line for line in _without_wording(seen) if line[1] != "Basic.Deliver" and "." in line[0]
        ]

    return (
        any("hung up" in line for line in mine)
        and _without_wording(mine) != _without_wording(other)
        and rest(mine) == rest(other)
    )


def _arguments(step: Step) -> dict[str, object]:
    arguments: dict[str, object] = step.fields.get("arguments", {})
    return arguments


_LAX = ("header with unknown flags", "header with a cut table", "header with bytes left over")
_UNKNOWN = ("unknown method", "unknown class")
_SILENT = (
    "response that is no PLAIN",
    "unknown mechanism",
    "frame_max too small",
    "frame_max too large",
    "frame_max zero",
    "channel_max zero",
    "channel_max too large",
)
_KNOWN_ARGUMENTS = ("x-message-ttl", "x-max-length")

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "transactions",
        "carries out tx.select, tx.commit and tx.rollback",
        "ends the connection with 540",
        "nothing in the suite uses them, and a wish that is ignored would be worse",
        lambda step, mine, _: step.what.startswith("Tx.") and _closes(mine, 540),
        (Step("Tx.Select"),),
    ),
    Difference(
        "queue arguments",
        "fulfils x-message-ttl, x-max-length and their like",
        "ends the connection with 540",
        "a wish that is ignored would be worse",
        lambda step, mine, _: (
            step.what == "Queue.Declare"
            and any(name in _arguments(step) for name in _KNOWN_ARGUMENTS)
            and _closes(mine, 540)
        ),
        (Step("Queue.Declare", fields={"queue": "q1", "arguments": {"x-message-ttl": 60000}}),),
    ),
    Difference(
        "headers exchanges",
        "has exchanges of the type headers, and amq.headers and amq.match from the start",
        "does not know the type: 503 where one is declared, 404 for the two",
        "nothing in the suite uses them",
        lambda step, mine, _: (
            (
                step.fields.get("exchange_type") == "headers"
                and not step.fields.get("passive")
                and _closes(mine, 503)
            )
            or (
                not {"amq.headers", "amq.match"}.isdisjoint(map(str, step.fields.values()))
                and _closes(mine, 404)
            )
        ),
        (Step("Exchange.Declare", fields={"exchange": "e1", "exchange_type": "headers"}),),
    ),
    Difference(
        "wording of framing errors",
        "quotes the frame as an Erlang term",
        "says in words what is wrong with it; codes, class and method are the same",
        "nobody can match on the text",
        lambda step, mine, other: _without_wording(mine) == _without_wording(other),
        (Step(RAW, fields={"kind": "unknown frame type"}),),
        parts=False,
    ),
    Difference(
        "content headers",
        "takes a header with unknown flags, and dies with 541 of one whose properties do not fill"
        " it",
        "refuses both with 501",
        "a consumer's client would break on such a header, though it did nothing wrong",
        lambda step, mine, _: _is_raw(step, *_LAX) and _closes(mine, 501),
        (Step(RAW, fields={"kind": "header with unknown flags"}),),
    ),
    Difference(
        "message size",
        "refuses a message that is too large when its last byte has come",
        "refuses it by its header, with the same 406",
        "so nobody has to send, or to keep, what will be thrown away",
        lambda step, mine, _: _is_raw(step, "message too large") and _closes(mine, 406),
        (Step(RAW, fields={"kind": "message too large"}),),
    ),
    Difference(
        "expiry of messages",
        "drops a message when its expiration has passed",
        "carries the property to the consumer, and keeps the message",
        "nothing in the suite waits for a message to expire",
        lambda step, mine, other: (
            step.fields.get("properties", {}).get("expiration") == "0"
            and mine[-1][1] > other[-1][1]
        ),
        (
            Step("Queue.Declare", fields={"queue": "q1"}),
            Step(
                PUBLISH,
                fields={"exchange": "", "routing_key": "q1", "properties": {"expiration": "0"}},
            ),
        ),
    ),
    Difference(
        "channels that are not open",
        "looks first for what an empty queue name stands for, and closes with 404 a channel that is"
        " not open",
        "does what both do with any other method there: ends the connection with 504, or ignores"
        " what comes after its own close",
        "no client can mean it",
        lambda step, mine, other: (
            step.bare
            and step.fields.get("queue") == ""
            and _closes(other, 404)
            and not _closes(mine, 404)
        ),
        (Step("Basic.Get", fields={"queue": ""}, bare=True),),
    ),
    Difference(
        "a connection that ends",
        "ends its channels one after the other: what one gives back, another may be sent",
        "ends all of them at once: what they give back goes to other connections, in its order",
        "in RabbitMQ the order is chance, and a message may go to a client that is gone",
        lambda step, mine, other: _ends_alike(mine, other),
        (
            Step("Queue.Declare", fields={"queue": "q1"}),
            Step(PUBLISH, 0, 2, {"exchange": "", "routing_key": "q1"}),
            Step("Basic.Consume", 0, 2, {"queue": "q1", "consumer_tag": "c1"}),
            Step("Basic.Consume", 0, 1, {"queue": "q1", "consumer_tag": "c2", "no_ack": True}),
            Step("Basic.Consume", 0, 2, {"queue": "q1", "consumer_tag": "c1"}),
        ),
    ),
    Difference(
        "unknown methods",
        "hangs up without a word",
        "says 501 first",
        "RabbitMQ's reader crashes there; a client learns nothing from that",
        lambda step, mine, other: (
            _is_raw(step, *_UNKNOWN) and _closes(mine, 501) and not _closes(other, 501)
        ),
        (Step(RAW, fields={"kind": "unknown method"}),),
        parts=False,
    ),
    Difference(
        "errors in the handshake",
        "waits three seconds and hangs up without a word",
        "says at once what is wrong, with 403 or 530",
        "the wait is there to slow down attackers, and tests would pay for it",
        lambda step, mine, other: (
            step.what == LOGIN
            and step.fields["kind"] in _SILENT
            and any(line[:1] == ("Connection.Close",) for line in mine)
            and "hung up" in other
        ),
        (Step(LOGIN, fields={"kind": "frame_max zero"}),),
    ),
)


def named(step: Step, embedded: Observation, rabbitmq: Observation) -> Difference | None:
    """The difference that says why two brokers differ after a step."""
    for difference in DIFFERENCES:
        if difference.holds(step, embedded, rabbitmq):
            return difference
    return None
