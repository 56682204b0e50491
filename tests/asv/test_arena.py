"""The arena: a sound client's messages are held by the broker; a broken one costs its bound."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.arena import Arena
from benchmarks.harness.brokers import Broker, choose_broker, kept_broker
from benchmarks.harness.kinds import RABBITMQ
from benchmarks.harness.label import missing
from benchmarks.harness.plan import make_plan
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.wire.client import WireClient, WireError

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
#: Seconds that a broken client may cost here, instead of the half minute of a benchmark.
BOUND = 2.0
#: Seconds beyond the bound: joins, and the client's own close.
SLACK = 5.0

Stage = Callable[..., Arena]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Opens arenas and closes them."""
    arenas: list[Arena] = []

    def start(*, proxied: bool = False) -> Arena:
        arenas.append(Arena("amqpool", 4, proxied=proxied))
        return arenas[-1]

    yield start
    for arena in arenas:
        arena.close()


def held(arena: Arena) -> int:
    """What the broker holds, asked on yet another connection."""
    port = arena._broker.port
    with WireClient("127.0.0.1", port, "guest", "guest") as client:
        return client.queue_declare(arena.queue, passive=True).message_count


def test_the_broker_holds_every_message_when_publish_returns(stage: Stage) -> None:
    arena = stage()
    arena.publish(3, 1000)
    assert held(arena) == 1000
    arena.publish(1, 10)
    assert held(arena) == 1010


def test_chaos_and_recovery_of_a_sound_client(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    arena = stage(proxied=True)
    arena.consume(1)
    arena.chaos(make_plan("chaos_no_deadlock", SCENARIOS["chaos_no_deadlock"].load("4x20"), 1))
    for fault in ("rst", "fin", "cut"):
        before = arena._control.status()
        arena.recover(fault)
        after = arena._control.status()
        assert (after["faults"], after["ready"]) == (before["faults"] + 1, before["ready"] + 1)
    arena.close()
    assert capsys.readouterr().err == "", "a sound client gives nothing to tell"


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """A node of RabbitMQ that is kept, as a process that times keeps one."""
    lacking = missing(RABBITMQ)
    if lacking is not None:
        pytest.skip(lacking.reason)
    with kept_broker(choose_broker(RABBITMQ)) as kept:
        assert kept is not None
        yield kept


@pytest.mark.rabbitmq
def test_a_node_that_is_kept_outlives_its_arenas_and_keeps_nothing_of_them(
    node: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    queues = []
    for proxied in (False, True):
        arena = Arena("amqpool", 4, proxied=proxied, broker=node)
        queues.append(arena.queue)
        arena.publish(2, 300)
        if proxied:
            for fault in ("rst", "fin", "cut"):
                before = arena._control.status()
                arena.recover(fault)
                after = arena._control.status()
                assert (after["faults"], after["ready"]) == (
                    before["faults"] + 1,
                    before["ready"] + 1,
                )
        assert arena._ready() >= 300
        arena.close()
        assert node.alive
        assert node.died() is None
    assert capsys.readouterr().err == "", "a sound client gives nothing to tell"
    for queue in queues:
        with WireClient.to(node.endpoints[0]) as client, pytest.raises(WireError, match="404"):
            client.queue_declare(queue, passive=True)


#: What a mutant is put through, in a process of its own: it patches the real pool and may leave
#: threads that hang, and neither may reach the tests behind this one.
SCRIPT = """
import sys, time
from benchmarks.harness import arena as module
mutant, bound, work = sys.argv[1], float(sys.argv[2]), sys.argv[3]
module.BOUND = bound
arena = module.Arena(mutant, 4, proxied=work == "recover")
started = time.monotonic()
arena.recover("rst") if work == "recover" else arena.publish(2, 200)
print(time.monotonic() - started)
arena.close()
"""


def broken(mutant: str, work: str) -> tuple[float, str]:
    """Seconds that the timed work took with a mutant, and what was told on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"{MUTANTS}/{mutant}", str(BOUND), work],
        cwd=MUTANTS.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(done.stdout), done.stderr


@pytest.mark.parametrize(
    "mutant", ["unexpected_errors.py:EveryPublishRaises", "deadlocks.py:OnePublishBlocksForEver"]
)
def test_a_broken_client_costs_the_bound_and_raises_nothing(mutant: str) -> None:
    took, told = broken(mutant, "publish")
    assert BOUND <= took < BOUND + SLACK
    assert told != "", "what failed is told"


def test_a_publish_that_does_nothing_never_looks_fast() -> None:
    assert BOUND <= broken("phantoms.py:PublishDoesNothing", "publish")[0] < BOUND + SLACK


def test_a_client_that_never_comes_back_costs_the_bound() -> None:
    assert BOUND <= broken("unavailable.py:NeverReconnects", "recover")[0] < BOUND + SLACK
