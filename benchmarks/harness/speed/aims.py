"""What amqpool is to reach, as data: the work, the figure, and against whom.

``against``: a client's name, or one of the words below. Of kombu-pyamqp-threadsafe's two ways the
better one counts.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The best peer of those that share one connection; the best of all peers.
BEST_SHARING, BEST = "best sharing", "best"
#: The better of the two ways of kombu-pyamqp-threadsafe.
KOMBU = ("kombu_threadsafe", "kombu_threadsafe_drainer")
#: No other client: milliseconds.
ABSOLUTE = "absolute"


@dataclass(frozen=True)
class Aim:
    """``figure`` of ``work`` over that of ``against``: at least ``least``, or at most ``most``.

    ``own``: against another work or figure of amqpool's own, as (work, figure).
    """

    text: str
    work: str
    figure: str
    against: str | tuple[str, ...] = ABSOLUTE
    least: float | None = None
    most: float | None = None
    own: tuple[str, str] | None = None


AIMS = (
    Aim("publish, 50 threads, against the best peer that shares a connection",
        "publish_50", "rate", BEST_SHARING, least=5),
    Aim("publish, 50 threads, against py-amqp with a connection per thread",
        "publish_50", "rate", "pyamqp", least=4),
    Aim("publish, 1 thread, against raw py-amqp", "publish_1", "rate", "pyamqp", least=2.5),
    Aim("publish and await its confirm, 50 threads, against py-amqp with a connection per thread",
        "confirm_50", "rate", "pyamqp", least=2),
    Aim("publish and await its confirm, 50 threads, against kombu-pyamqp-threadsafe",
        "confirm_50", "rate", KOMBU, least=10),
    Aim("random operations, 50 x 100, against kombu-pyamqp-threadsafe",
        "mix_50", "rate", KOMBU, least=4),
    Aim("consume, 1 consumer, against the best peer", "consume_1", "rate", BEST, least=1.5),
    Aim("consume, 10 consumers, against the best peer", "consume_10", "rate", BEST, least=1.5),
    Aim("acquire and release, 50 x 1000, against kombu-pyamqp-threadsafe",
        "lease_50", "rate", KOMBU, least=10),
    Aim("recovery to the next confirmed publish, p50, against the floor",
        "recovery", "p50", "floor", most=1.2),
    Aim("recovery to the next confirmed publish, p99, against the floor",
        "recovery", "p99", "floor", most=2),
    Aim("the last of 50 threads learns that the connection is gone, ms after the first",
        "gone_50", "p50", ABSOLUTE, most=5),
    Aim("publish p99 with a thread parked in a drain, against without",
        "parked", "p99", most=2, own=("parked", "p99 alone")),
    Aim("operations/s with 500 threads, against with 10",
        "turn_500", "rate", least=0.7, own=("turn_10", "rate")),
)  # fmt: skip
