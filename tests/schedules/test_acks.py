"""Acknowledgements of several threads, in every order: none includes one that is still to come."""

from __future__ import annotations

from functools import partial

import pytest

from amqpool import SharedChannel, SharedConnection
from amqpool import outbox as sending
from amqpool.errors import ConnectionLost
from benchmarks.schedules.program import folder
from benchmarks.schedules.world import together
from tests.schedules.running import often

SOURCES = (folder(sending.__file__),)
#: What each thread acknowledges, of deliveries 1 to 5; the last is nobody's.
CASES = {
    "two in turn": ((1, 3), (2, 4)),
    "three": ((1, 4), (2,), (3,)),
    "backwards": ((3, 1), (4, 2)),
}


def acknowledged(frames: bytes) -> set[int]:
    """What a broker has left of five deliveries. Raises KeyError for a tag that is not there."""
    left = {1, 2, 3, 4, 5}
    for at in range(0, len(frames), 21):
        tag, multiple = int.from_bytes(frames[at + 11 : at + 19]), frames[at + 19]
        left.remove(tag)
        if multiple:
            left -= set(range(tag))
    return left


@pytest.mark.parametrize("case", CASES)
def test_no_order_acknowledges_for_another_thread(case: str) -> None:
    def body() -> None:
        channel = SharedChannel(SharedConnection(), 1)
        channel._unacked = dict.fromkeys(range(1, 6))
        sent: list[bytes] = []

        def send(data: bytes | memoryview) -> int:
            sent.append(bytes(data))
            return len(data)

        outbox = sending.Outbox(send, lambda: None, lambda: ConnectionLost("gone"), 1000)
        # The I/O thread has not had its turn yet.
        outbox._owner = sending._IO
        channel._outbox = outbox

        def work(tags: tuple[int, ...]) -> None:
            for tag in tags:
                channel.basic_ack(tag)

        for error in together(*(partial(work, tags) for tags in CASES[case])):
            if error is not None:
                raise error
        outbox.flush(io=True)
        assert acknowledged(b"".join(sent)) == {5}

    often(body, *SOURCES, runs=60)
