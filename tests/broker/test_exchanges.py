"""Routing: exchanges of each kind, bindings, and what goes when something else goes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from benchmarks.broker.exchanges import topic_matches

Q, B, E = commands.Queue, commands.Basic, commands.Exchange


def drain(peer, queue):
    bodies = []
    while (event := peer(1, B.Get(queue=queue, no_ack=True))[0])[1] == "Basic.GetOk":
        bodies.append(event[-1])
    return bodies


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("direct", ("a.b", "a"), {"one": [b"a.b"], "two": [b"a"]}),
        ("fanout", ("x", "a"), {"one": [b"a.b", b"a", b"c"], "two": [b"a.b", b"a", b"c"]}),
        ("topic", ("a.#", "*"), {"one": [b"a.b", b"a"], "two": [b"a", b"c"]}),
    ],
)
def test_each_kind_routes_by_its_rule(peer, publishing, kind, keys, expected):
    peer(1, E.Declare(exchange="x", exchange_type=kind))
    for queue, key in zip(("one", "two"), keys, strict=True):
        peer(1, Q.Declare(queue=queue), Q.Bind(queue=queue, exchange="x", routing_key=key))
    for key in ("a.b", "a", "c"):
        peer(1, publishing(1, "x", key, key.encode()))
    assert {queue: drain(peer, queue) for queue in ("one", "two")} == expected


def test_a_message_enters_a_queue_once_however_many_bindings_match(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    for key in ("a.*", "#", "a.b"):
        peer(1, Q.Bind(queue="q", exchange="amq.topic", routing_key=key))
    peer(1, publishing(1, "amq.topic", "a.b"))
    assert drain(peer, "q") == [b"m"]


def test_unbinding_takes_effect_at_once_and_twice_is_no_error(peer, publishing):
    peer(1, Q.Declare(queue="q"), Q.Bind(queue="q", exchange="amq.direct", routing_key="k"))
    peer(1, publishing(1, "amq.direct", "k"))
    unbind = Q.Unbind(queue="q", exchange="amq.direct", routing_key="k")
    assert peer(1, unbind, unbind) == [(1, "Queue.UnbindOk"), (1, "Queue.UnbindOk")]
    peer(1, publishing(1, "amq.direct", "k"))
    assert drain(peer, "q") == [b"m"]


def test_exchanges_bound_in_a_ring_end_somewhere(peer, publishing):
    for name in ("a", "b"):
        peer(1, E.Declare(exchange=name, exchange_type="fanout"))
    peer(1, E.Bind(destination="b", source="a"), E.Bind(destination="a", source="b"))
    peer(1, Q.Declare(queue="q"), Q.Bind(queue="q", exchange="b"))
    peer(1, publishing(1, "a", "k"))
    assert drain(peer, "q") == [b"m"]
    peer(1, E.Unbind(destination="b", source="a"))
    peer(1, publishing(1, "a", "k"))
    assert drain(peer, "q") == []


def test_an_auto_delete_exchange_goes_with_its_last_binding_also_in_long_chains(peer, broker):
    before = set(broker.exchanges)
    length = 2000  # deeper than the interpreter's stack
    for number in range(length):
        peer(1, E.Declare(exchange=f"x{number}", exchange_type="fanout", auto_delete=True))
    for number in range(length - 1):
        peer(1, E.Bind(destination=f"x{number + 1}", source=f"x{number}"))
    peer(1, Q.Declare(queue="q"), Q.Bind(queue="q", exchange=f"x{length - 1}"))
    assert peer(1, Q.Delete(queue="q")) == [(1, "Queue.DeleteOk", 0)]
    assert set(broker.exchanges) == before


def test_an_exchange_in_use(peer):
    peer(1, E.Declare(exchange="x"), Q.Declare(queue="q"), Q.Bind(queue="q", exchange="x"))
    assert peer(1, E.Delete(exchange="x", if_unused=True)) == [
        (1, "Channel.Close", 406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use", 40, 20)
    ]


def test_an_internal_exchange_takes_no_publish(peer, publishing):
    peer(1, E.Declare(exchange="x", internal=True))
    assert peer(1, publishing(1, "x", "k")) == [
        (
            1,
            "Channel.Close",
            403,
            "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
            60,
            40,
        )
    ]


def as_regular_expression(pattern):
    """The same rule said differently: each word with its dot in front."""
    words = pattern.split(".") if pattern else []
    parts = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    return "".join(parts.get(word, r"\." + re.escape(word)) for word in words)


WORDS = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6).map(".".join)
KEYS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6).map(".".join)


@given(WORDS, KEYS)
def test_topics_match_as_a_regular_expression_would(pattern, key):
    subject = "." + key if key else ""
    expected = re.fullmatch(as_regular_expression(pattern), subject) is not None
    assert topic_matches(pattern, key) == expected


def test_a_pattern_made_to_hurt_costs_little():
    assert not topic_matches(".".join("#a" * 60), ".".join("a" * 120) + ".b")
    assert topic_matches(".".join("#" * 120), ".".join("a" * 120))
