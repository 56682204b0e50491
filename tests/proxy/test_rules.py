"""Rules: what they may say, and that each fires exactly at the frame that it names."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pamqp.commands as c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.proxy import fields
from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.faults.rst import Rst
from benchmarks.proxy.link import Link
from benchmarks.proxy.rules import (
    ARMED_LIMIT,
    FIRED_LIMIT,
    METHODS,
    Armed,
    Rule,
    Rules,
    parse,
)
from benchmarks.proxy.stream import PROTOCOL
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT_FRAME, METHOD, PROTOCOL_HEADER, Frame
from benchmarks.wire.frames import frame as encode
from tests.proxy.inside import Stage
from tests.proxy.stage import content, frames, method, publish

STREAM = frames(
    b"".join(
        [
            method(1, c.Channel.Open()),
            method(1, c.Confirm.Select()),
            *publish(1, "a"),
            HEARTBEAT_FRAME,
            *content(1, c.Basic.Publish(), b"b\n" + b"x" * 200, "b", piece=90),
            method(2, c.Channel.Open()),
            *publish(2, "c"),
            encode(BODY, 1, b""),
            *publish(1, "d"),
            HEARTBEAT_FRAME,
            method(1, c.Basic.Ack(1)),
        ]
    )
)
RAW = b"".join(frame.raw for frame in STREAM)
NAMES = ["any", "method", "header", "body", "heartbeat", "basic.publish", "channel.open"]


def named(name: str, frame: Frame) -> bool:
    """What the words mean, said in another way than the code does."""
    if name in ("any", "method", "header", "body", "heartbeat"):
        types = {"any": 0, "method": 1, "header": 2, "body": 3, "heartbeat": 8}
        return name == "any" or frame.type == types[name]
    numbers = {"basic.publish": b"\0\x3c\0\x28", "channel.open": b"\0\x14\0\x0a"}
    return frame.type == METHOD and frame.payload[:4] == numbers[name]


def positions(name: str, nth: int, where: object) -> int | None:
    """The byte of the stream at which the rule fires, None when it never does."""
    at = 0
    for frame in STREAM:
        size = len(frame.raw)
        nth -= named(name, frame)
        if not nth:
            keep = {"before": 0, "after": size}.get(str(where))
            return at + (min(int(str(where)), size - 1) if keep is None else keep)
        at += size
    return None


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.integers(1, 14),
            st.one_of(st.sampled_from(["before", "after"]), st.integers(0, 300)),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, len(RAW)), max_size=8),
    st.sampled_from(["to_broker", "to_client"]),
)
def test_a_rule_fires_exactly_at_its_frame(
    wanted: list[tuple[str, int, object]], cuts: list[int], direction: str
) -> None:
    """Whatever the chunks: what the peer has when a rule fires is what the rule lets through."""
    fired: dict[int, int] = {}
    stage: Stage

    def on_rule(link: Link, armed: Armed) -> None:
        received = stage.read(stage.broker if direction == "to_broker" else stage.client)
        fired[armed.number] = len(received) - skipped
        stage.rules.fired(armed, {"fired": True})

    with Stage(on_rule) as stage:
        writer, skipped = stage.broker, 0
        if direction == "to_broker":
            writer, skipped = stage.client, len(PROTOCOL_HEADER)
            writer.sendall(PROTOCOL_HEADER)
            stage.settle()
        expected = {}
        for name, nth, where in wanted:
            rule = parse({"direction": direction, "frame": name, "nth": nth, "where": where})
            armed = stage.rules.arm(Rst(), rule, None)
            # A rule of the other direction, or for another connection, must never fire.
            other = {"to_broker": "to_client", "to_client": "to_broker"}[direction]
            for miss, only in (
                (parse({"direction": other, "frame": name}), None),
                (parse({"direction": direction, "frame": name}), frozenset({2})),
            ):
                stage.rules.arm(Rst(), miss, only)
            position = positions(name, nth, where)
            if position is not None:
                expected[armed.number] = position
        for start, stop in pairwise([0, *sorted(cuts), len(RAW)]):
            writer.sendall(RAW[start:stop])
            stage.settle()
        received = stage.read(stage.broker if direction == "to_broker" else stage.client)
        assert received[skipped:] == RAW
        assert fired == expected
        # Without a rule that waits there, forwarding is back on the short way.
        assert all(
            pipe.valve is None for pipe in vars(stage.link).values() if hasattr(pipe, "valve")
        )


def test_a_frame_that_died_in_front_of_the_rule_leaves_it_armed() -> None:
    rules = Rules()
    armed = rules.arm(Rst(), parse({"direction": "to_broker", "frame": "any", "nth": 2}), None)
    heartbeat = Frame(8, 0, HEARTBEAT_FRAME)
    assert not armed.names(1, heartbeat)
    assert armed.names(1, heartbeat)
    assert not armed.names(2, heartbeat)  # it has its frame
    assert rules.outcome(1)["why"] == "what stands in front of its frame has not gone out"
    armed.held = False  # as a valve does whose bytes are gone
    assert armed.names(2, heartbeat)


def test_the_protocol_header_is_no_frame() -> None:
    assert not Rule().matches(Frame(PROTOCOL, 0, PROTOCOL_HEADER))


def test_a_method_frame_without_a_method_is_none() -> None:
    rule = parse({"direction": "to_client", "frame": "basic.ack"})
    assert not rule.matches(Frame(METHOD, 1, encode(METHOD, 1, b"\0\x3c\0")))
    body = fields.LONG.pack(fields.BASIC_ACK)
    assert rule.matches(Frame(METHOD, 1, encode(METHOD, 1, body)))
    assert not rule.matches(Frame(HEADER, 1, encode(HEADER, 1, body)))


def test_methods_go_by_the_names_of_the_specification() -> None:
    ours = {
        name.lower().replace("_", ".", 1).replace("_", "-"): value
        for name, value in vars(fields).items()
        if isinstance(value, int) and name.startswith(("CONN", "CHAN", "QUEUE", "BASIC", "CONF"))
    }
    assert len(ours) > 25
    assert {name: METHODS.get(name) for name in ours} == ours
    assert METHODS["connection.start-ok"] == 10 << 16 | 11
    assert all(name == name.lower() and name.count(".") == 1 for name in METHODS)


def test_what_a_rule_says() -> None:
    assert parse({"direction": "to_client", "frame": "header", "nth": 3, "where": "after"}) == Rule(
        direction=TO_CLIENT, type=HEADER, nth=3, keep=None
    )
    assert parse({"direction": "to_broker", "frame": "basic.publish", "where": 7}) == Rule(
        direction=TO_BROKER, method=fields.BASIC_PUBLISH, keep=7
    )
    assert parse({"direction": "to_broker", "frame": "any"}).keep == 0
    assert parse({"at": 2}) == Rule(at=2.0)


GOOD = {"direction": "to_broker", "frame": "any", "nth": 1, "where": "before"}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (None, "a rule is an object"),
        ([], "a rule is an object"),
        ({}, "a rule's direction is one of to_broker, to_client"),
        ({**GOOD, "direction": "both"}, "a rule's direction is one of"),
        ({**GOOD, "direction": []}, "a rule's direction is one of"),
        ({**GOOD, "frame": "basic.pubish"}, "or a method like basic.publish; not 'basic.pubish'"),
        ({**GOOD, "frame": "Basic.Publish"}, "or a method like"),
        ({**GOOD, "frame": {}}, "or a method like"),
        ({**GOOD, "nth": 0}, "nth is a whole number from 1 on"),
        ({**GOOD, "nth": 1.5}, "nth is a whole number"),
        ({**GOOD, "nth": True}, "nth is a whole number"),
        ({**GOOD, "where": "behind"}, "where is before, after or a number of bytes"),
        ({**GOOD, "where": -1}, "where is before, after or"),
        ({**GOOD, "where": False}, "where is before, after or"),
        ({**GOOD, "channel": 1}, "a rule has no 'channel'"),
        ({"at": 1, "nth": 1}, "a rule with 'at' says nothing else"),
        ({"at": -1}, "'at' is a number of seconds from 0 to 86400"),
        ({"at": "soon"}, "'at' is a number"),
        ({"at": float("nan")}, "'at' is a number"),
    ],
)
def test_a_wrong_rule_is_refused(document: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse(document)


def test_so_many_rules_and_no_more() -> None:
    rules = Rules()
    for number in range(1, ARMED_LIMIT + 1):
        assert rules.arm(Rst(), parse(GOOD), None).number == number
    with pytest.raises(ValueError, match=f"at most {ARMED_LIMIT} rules can be armed"):
        rules.arm(Rst(), parse(GOOD), None)
    assert rules.disarm(7)
    assert rules.arm(Rst(), parse(GOOD), None).number == ARMED_LIMIT + 1
    with pytest.raises(ValueError, match="no rule 7: it was never armed, or taken back"):
        rules.disarm(7)
    rules.disarm_all()
    assert (len(rules), rules.of) == (0, ([], []))


def test_outcomes_are_kept_but_not_for_ever() -> None:
    rules = Rules()
    for _ in range(FIRED_LIMIT + 1):
        armed = rules.arm(Rst(), parse(GOOD), None)
        rules.fired(armed, {"fired": True, "t": armed.number})
    assert rules.outcome(2) == {"fired": True, "t": 2}
    assert rules.disarm(2) is False
    with pytest.raises(ValueError, match="no rule 1:"):
        rules.outcome(1)
