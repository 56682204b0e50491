"""The pool against the embedded broker, in its own process: real queues, returns, requeues."""

from __future__ import annotations

import json
import queue
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from amqpool import ChannelPool, ConnectionLost, DrainTimeout, Stats
from tests.pool.peer import DEADLINE

BROKER = Path(__file__).parents[2] / "benchmarks" / "broker" / "__main__.py"


@pytest.fixture(params=[[], ["--coalesce-confirms"]], ids=["confirms", "coalesced"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A broker of its own; it ends when its standard input does."""
    child = subprocess.Popen(
        [sys.executable, str(BROKER), "--port", "0", *request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield f"amqp://guest:guest@127.0.0.1:{json.loads(child.stdout.readline())['port']}/"
    finally:
        child.stdin.close()
        try:
            child.wait(DEADLINE)
        finally:
            child.kill()
            child.wait(DEADLINE)
            child.stdout.close()


def declare(pool: ChannelPool, queue: str) -> None:
    with pool.lease() as lease:
        lease.channel.queue_declare(queue, durable=True, auto_delete=False)


def test_every_confirmed_message_is_there_once_and_in_its_threads_order(
    url: str, crowd: Any
) -> None:
    with ChannelPool(url, size=5, confirms=True) as pool:
        declare(pool, "q")

        def work(number: int) -> None:
            for count in range(30):
                with pool.lease() as lease:
                    confirmation = lease.channel.basic_publish(
                        amqp.Message(b"%d/%d" % (number, count)), routing_key="q"
                    )
                    assert confirmation is not None
                    if count % 3 == 0:
                        assert confirmation.wait(DEADLINE)

        crowd(15, work).run()
        bodies = []
        with pool.lease() as lease:
            lease.channel.basic_consume(
                "q", no_ack=True, callback=lambda m: bodies.append(m.body.decode())
            )
            while len(bodies) < 450:
                lease.channel.drain_events(DEADLINE)
        assert sorted(bodies) == sorted(f"{i}/{n}" for i in range(15) for n in range(30))


def test_returned_messages_find_their_publishes(url: str, crowd: Any) -> None:
    with ChannelPool(url, size=4, confirms=True) as pool:
        declare(pool, "q")

        def work(number: int) -> list[tuple[int, bool]]:
            sent = []
            for count in range(30):
                with pool.lease() as lease:
                    sent.append(
                        lease.channel.basic_publish(
                            amqp.Message(b"x", message_id=f"{number}/{count}"),
                            routing_key="q" if count % 2 else "nowhere",
                            mandatory=True,
                        )
                    )
            for count, confirmation in enumerate(sent):
                assert confirmation is not None
                assert confirmation.wait(DEADLINE)
                back = confirmation.returned
                assert (back is None) == bool(count % 2)
                if back is not None:
                    assert back.message.properties["message_id"] == f"{number}/{count}"
            return [(number, True)]

        assert crowd(8, work).run() == [[(number, True)] for number in range(8)]


def test_what_a_lease_did_not_acknowledge_comes_again(url: str) -> None:
    with ChannelPool(url, size=2, confirms=True) as pool:
        declare(pool, "q")
        with pool.lease() as lease:
            for body in (b"one", b"two", b"three"):
                lease.channel.basic_publish_confirm(amqp.Message(body), routing_key="q")
        got: list[Any] = []
        with pool.lease() as lease:
            lease.channel.basic_consume("q", callback=got.append)
            while len(got) < 3:
                lease.channel.drain_events(DEADLINE)
            lease.channel.basic_ack(got[0].delivery_tag)
        assert pool.stats()[Stats.CHANNELS_CLOSED] == 1
        again: list[tuple[bytes, bool]] = []
        with pool.lease() as lease:
            deadline = time.monotonic() + DEADLINE
            while len(again) < 2:
                assert time.monotonic() < deadline
                message = lease.channel.basic_get("q")
                if message is not None:
                    again.append((message.body, message.delivery_info["redelivered"]))
                    lease.channel.basic_ack(message.delivery_tag)
            assert lease.channel.basic_get("q") is None
        assert again == [(b"two", True), (b"three", True)]


def test_errors_of_one_channel_stay_its_own(url: str, crowd: Any) -> None:
    with ChannelPool(url, size=6, confirms=True) as pool:
        declare(pool, "q")

        def work(number: int) -> int:
            refused = 0
            for _ in range(20):
                with pool.lease() as lease:
                    if number % 2:
                        lease.channel.basic_publish_confirm(amqp.Message(b"x"), routing_key="q")
                    elif number % 4:
                        with pytest.raises(amqp.PreconditionFailed):
                            lease.channel.queue_declare("q", durable=False, auto_delete=False)
                        refused += 1
                    else:
                        with pytest.raises(amqp.NotFound):
                            lease.channel.queue_declare("missing", passive=True)
                        refused += 1
            return refused

        assert crowd(12, work).run() == [20, 0] * 6
        assert pool.generation == 1


def test_a_connection_error_of_ones_own_making_ends_the_generation(
    url: str, until: Callable[[Callable[[], Any]], None]
) -> None:
    with ChannelPool(url, size=2) as pool:
        with pool.lease() as lease:
            lease.channel.basic_publish(amqp.Message(b"x"), routing_key="q", immediate=True)
            with pytest.raises(ConnectionLost) as caught:
                lease.channel.drain_events(DEADLINE)
            assert caught.value.reply_code == 540
        with pool.lease() as lease:
            assert lease.generation == 2
            with pytest.raises(DrainTimeout):
                lease.channel.drain_events(0.01)


@pytest.mark.parametrize("seed", range(6))
def test_exactly_what_was_acknowledged_is_gone(url: str, seed: int, crowd: Any) -> None:
    """Threads acknowledge one channel's deliveries in any order, and a fifth of them never: what
    is sent together must not include one of those, nor one that is acknowledged later."""
    rng = random.Random(seed)
    with ChannelPool(url, size=2, prefetch=0) as pool:
        declare(pool, "q")
        with pool.lease() as lease:
            for number in range(400):
                lease.channel.basic_publish(amqp.Message(b"%d" % number), routing_key="q")
        # The last one stays unacknowledged: no order of the others may make it go.
        kept = {*rng.sample(range(399), 80), 399}
        handed: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(4)]
        with pool.lease() as lease:
            channel = lease.channel
            held: list[Any] = []

            def hand(message: Any) -> None:
                if int(message.body) in kept:
                    return
                held.append(message)
                if len(held) == 5:
                    rng.shuffle(held)
                    while held:
                        handed[rng.randrange(4)].put(held.pop())

            channel.basic_consume("q", callback=hand)

            def work(number: int) -> None:
                if number == 4:
                    for _ in range(400):
                        channel.drain_events(DEADLINE)
                    for message in held:
                        handed[0].put(message)
                    for each in handed:
                        each.put(None)
                    return
                while (message := handed[number].get(timeout=DEADLINE)) is not None:
                    channel.basic_ack(message.delivery_tag)

            crowd(5, work).run()
            # Behind every acknowledgement: one of a tag that is not there costs the channel.
            assert channel.queue_declare("q", passive=True).message_count == 0
        with pool.lease() as lease:
            left = []
            while (message := lease.channel.basic_get("q", no_ack=True)) is not None:
                left.append(int(message.body))
    assert sorted(left) == sorted(kept)
