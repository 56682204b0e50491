"""The nemesis against made-up services: what counts as a fault, what is healed, what is missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from benchmarks.broker.control import BrokerControl
from benchmarks.harness.faults import FAULTS, words_of
from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.plan import FaultStep
from benchmarks.harness.progress import Progress
from benchmarks.proxy.control import Control
from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.wire.control import ControlError

DEADLINE = 10.0
RECOVERY = 5.0
MISSED: dict[str, Any] = {"fired": False, "why": "no connection that is ready"}
#: The service is gone for good.
GONE = "gone"
RULE = {"direction": "to_broker", "frame": "any", "nth": 2, "where": 3}
RST, CUT = FaultStep(0, "rst", {}, None), FaultStep(0, "cut", {"how": "fin"}, RULE)


class Service:
    """Proxy or broker. Answers as it was told to; when nothing is left it fires."""

    def __init__(self, *answers: Any, up: tuple[int, ...] = (1,)) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str, dict[str, Any]]] = []
        self.healed: list[str | None] = []
        self.up = list(up)
        #: What a rule says, look after look.
        self.looks: list[Any] = []
        self.disarmed: list[int] = []
        self.armed: list[tuple[str, Any, dict[str, Any]]] = []

    def fault(self, kind: str, **options: Any) -> dict[str, Any]:
        self.asked.append((time.monotonic(), kind, options))
        return self._answer(self.answers)

    def _answer(self, answers: list[Any]) -> dict[str, Any]:
        answer = answers.pop(0) if answers else {"fired": True, "generations": [1]}
        if answer is GONE:
            answers.insert(0, GONE)
            raise ControlError("the proxy went away")
        return {**answer, "t": time.monotonic()} if answer["fired"] else dict(answer)

    def status(self) -> dict[str, Any]:
        return {"up": list(self.up)}

    def arm(self, kind: str, rule: Any, **options: Any) -> int:
        self.armed.append((kind, rule, options))
        return len(self.armed)

    def fired(self, number: int, timeout: float) -> dict[str, Any]:
        assert number == len(self.armed)
        return self._answer(self.looks)

    def disarm(self, number: int) -> bool:
        self.disarmed.append(number)
        return True

    def heal(self, kind: str | None = None) -> dict[str, Any]:
        self.healed.append(kind)
        return {"t": time.monotonic(), "healed": []}


def nemesis(
    proxy: Service,
    *faults: FaultStep,
    broker: Service | None = None,
    conditions: tuple[FaultStep, ...] = (),
    patience: float = DEADLINE,
) -> Nemesis:
    return Nemesis(
        cast(Control, proxy),
        cast(BrokerControl, broker) if broker is not None else None,
        faults or (() if conditions else (RST,)),
        conditions,
        patience=patience,
        recovery=RECOVERY,
    )


# -- one strike ------------------------------------------------------------------------------


def test_a_strike_waits_until_there_is_something_to_break() -> None:
    proxy = Service(MISSED, MISSED)
    enemy = nemesis(proxy)
    assert not enemy.expects_errors(time.monotonic())
    assert enemy.strike()
    t = enemy.struck()
    assert t is not None
    assert [(kind, options) for _, kind, options in proxy.asked] == [("rst", {})] * 3
    told = enemy.snapshot()
    asked = told["fired"][0]["asked"]
    assert told == {
        "planned": 1,
        "fired": [
            {
                "fired": True,
                "generations": [1],
                "t": t,
                "kind": "rst",
                "asked": asked,
                "options": {},
                "rule": None,
                "healed": None,
                "ends": True,
                "excuses": ["recoverable"],
            }
        ],
        "missed": [],
    }
    # The window opens before the proxy acts, and only the strike that fired opens one.
    assert proxy.asked[1][0] < asked <= proxy.asked[2][0] <= t
    assert not enemy.expects_errors(asked - 0.001)
    assert enemy.expects_errors(asked)
    assert enemy.expects_errors(t + RECOVERY)
    assert not enemy.expects_errors(t + RECOVERY + 0.001)


def test_a_strike_that_finds_nothing_is_missed_with_the_proxys_reason() -> None:
    enemy = nemesis(Service(*[MISSED] * 100_000), patience=0.05)
    assert not enemy.strike()
    assert enemy.struck() is None
    assert enemy.snapshot() == {"planned": 1, "fired": [], "missed": [MISSED["why"]]}
    assert not enemy.expects_errors(time.monotonic())


def test_a_proxy_that_is_gone_is_missed_at_once_and_raises_nothing() -> None:
    enemy, started = nemesis(Service(GONE), RST, RST), time.monotonic()
    assert [enemy.strike(), enemy.strike()] == [False, False]
    assert time.monotonic() - started < DEADLINE / 2
    assert enemy.snapshot()["missed"] == ["the proxy went away"] * 2
    assert not enemy.expects_errors(time.monotonic())


def test_a_plan_that_is_used_up_strikes_no_more() -> None:
    proxy = Service()
    enemy = nemesis(proxy)
    assert [enemy.strike(), enemy.strike()] == [True, False]
    assert len(proxy.asked) == 1
    assert enemy.struck() is None, "the second strike did nothing"


def test_the_services_are_not_told_how_long_a_fault_is_to_last() -> None:
    proxy, broker = Service(), Service()
    delay = FaultStep(0, "confirm_delay", {"ms": 5, "seconds": 0.2}, None)
    slow = FaultStep(0, "latency", {"ms": 2, "jitter_ms": 1, "seconds": 0.2}, None)
    enemy = nemesis(proxy, slow, delay, broker=broker)
    assert [enemy.strike(), enemy.strike()] == [True, True]
    assert [(kind, options) for _, kind, options in proxy.asked] == [
        ("latency", {"ms": 2, "jitter_ms": 1})
    ]
    assert [(kind, options) for _, kind, options in broker.asked] == [("confirm_delay", {"ms": 5})]
    # What breaks nothing excuses nothing.
    assert not enemy.expects_errors(time.monotonic())


# -- rules -----------------------------------------------------------------------------------


def test_a_rule_is_armed_for_the_connections_that_are_up() -> None:
    proxy = Service(up=(3, 5))
    proxy.looks = [MISSED, MISSED]
    enemy = nemesis(proxy, CUT)
    assert enemy.strike()
    assert enemy.expects_errors(time.monotonic()), "it may fire at any moment from now on"
    t = enemy.struck()
    assert t is not None
    assert proxy.armed == [("cut", RULE, {"how": "fin", "generations": [3, 5]})]
    (fired,) = enemy.snapshot()["fired"]
    assert (fired["kind"], fired["rule"], fired["t"], fired["ends"]) == ("cut", RULE, t, True)
    assert enemy.expects_errors(t + RECOVERY)
    assert not enemy.expects_errors(t + RECOVERY + 0.001)
    assert proxy.disarmed == []


def test_a_rule_that_did_not_fire_is_taken_back_and_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.nemesis.STRUCK", 0.05)
    proxy = Service()
    proxy.looks = [{"fired": False, "why": "no such frame"}] * 100_000
    enemy = nemesis(proxy, CUT)
    assert enemy.strike()
    assert enemy.struck() is None
    assert proxy.disarmed == [1]
    assert enemy.snapshot()["missed"] == ["cut: no such frame"]
    assert not enemy.expects_errors(time.monotonic())


def test_a_rule_that_fired_while_it_was_taken_back_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.nemesis.STRUCK", 0.0)
    proxy = Service()
    proxy.looks = [MISSED]
    monkeypatch.setattr(proxy, "disarm", lambda number: False)
    enemy = nemesis(proxy, CUT)
    assert enemy.strike()
    assert enemy.struck() is not None
    assert len(enemy.snapshot()["fired"]) == 1


def test_no_rule_is_armed_before_a_connection_is_up() -> None:
    proxy = Service(up=())
    enemy = nemesis(proxy, CUT, patience=0.05)
    assert not enemy.strike()
    assert proxy.armed == []
    assert enemy.snapshot()["missed"] == ["no connection came up"]
    assert not enemy.expects_errors(time.monotonic())


# -- at the marks ----------------------------------------------------------------------------


@contextmanager
def at_work(enemy: Nemesis, progress: Progress) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=enemy.run, args=[progress], name="nemesis", daemon=True)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_strikes_once_at_each_mark() -> None:
    progress, enemy = Progress([2, 4], slack=10), nemesis(Service(), RST, RST)
    with at_work(enemy, progress):
        progress.advance(True)
        assert enemy.snapshot()["fired"] == []
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(True)
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 2)
    assert enemy.snapshot()["missed"] == []


def test_it_waits_for_a_success_since_the_last_kill() -> None:
    progress, enemy = Progress([1, 2], slack=10), nemesis(Service(), RST, RST)
    with at_work(enemy, progress) as thread:
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(False)
        thread.join(0.05)
        assert len(enemy.snapshot()["fired"]) == 1
        progress.advance(True)
    assert len(enemy.snapshot()["fired"]) == 2


def test_a_client_that_never_recovered_is_not_struck_again() -> None:
    progress, enemy = Progress([1, 2], slack=10), nemesis(Service(), RST, RST, patience=0.05)
    with at_work(enemy, progress):
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(False)
    told = enemy.snapshot()
    assert (len(told["fired"]), told["missed"]) == (
        1,
        ["no operation succeeded since the fault before"],
    )


@pytest.mark.parametrize("succeeded", [True, False])
def test_it_ends_with_the_load(succeeded: bool) -> None:
    progress, enemy = Progress([1, 100], slack=10), nemesis(Service(), RST, RST)
    with at_work(enemy, progress):
        progress.advance(succeeded)
        until(lambda: len(enemy.snapshot()["fired"]) == int(succeeded))
        progress.finish()


def test_held_workers_go_on_when_the_proxy_is_gone() -> None:
    progress, enemy = Progress([1], slack=0), nemesis(Service(GONE))
    with at_work(enemy, progress):
        progress.advance(True)
    assert progress.wait_for_mark() is False
    assert enemy.snapshot()["missed"] == ["the proxy went away"]


def test_nobody_is_held_while_a_rule_waits_for_frames() -> None:
    proxy = Service()
    proxy.looks = [MISSED] * 100_000
    progress, enemy = Progress([1], slack=0), nemesis(proxy, CUT)
    with at_work(enemy, progress):
        progress.advance(True)
        until(lambda: not progress.at_mark())
        assert enemy.snapshot()["fired"] == []
        proxy.looks = []
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
    assert proxy.disarmed == []


def test_a_rule_is_taken_back_when_the_load_is_over() -> None:
    proxy = Service()
    proxy.looks = [MISSED] * 1_000_000
    progress, enemy = Progress([1], slack=0), nemesis(proxy, CUT)
    with at_work(enemy, progress):
        progress.advance(True)
        until(lambda: bool(proxy.armed))
        progress.finish()
    assert proxy.disarmed == [1]
    assert enemy.snapshot()["missed"] == [f"cut: {MISSED['why']}"]


# -- what lasts ------------------------------------------------------------------------------


def refuse(seconds: float) -> FaultStep:
    return FaultStep(0, "refuse", {"seconds": seconds}, None)


def test_what_lasts_is_healed_when_its_time_is_over() -> None:
    proxy = Service()
    progress, enemy = Progress([1], slack=10), nemesis(proxy, refuse(0.05))
    with at_work(enemy, progress):
        progress.advance(True)
    (fired,) = enemy.snapshot()["fired"]
    assert proxy.healed == ["refuse"]
    assert fired["healed"] - fired["t"] >= 0.05
    assert not enemy.expects_errors(fired["asked"] - 0.001)
    assert enemy.expects_errors(fired["healed"] + RECOVERY)
    assert not enemy.expects_errors(fired["healed"] + RECOVERY + 0.001)


def test_while_it_lasts_errors_are_expected_without_an_end() -> None:
    progress, enemy = Progress([1], slack=10), nemesis(Service(), refuse(600.0))
    with at_work(enemy, progress):
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        assert enemy.expects_errors(time.monotonic() + 100 * RECOVERY)
        progress.finish()
    (fired,) = enemy.snapshot()["fired"]
    assert fired["healed"] is not None, "the load was over before its time"


def test_after_what_lasts_a_success_must_follow_its_end() -> None:
    progress, enemy = Progress([1, 2], slack=10), nemesis(Service(), refuse(0.05), RST)
    with at_work(enemy, progress) as thread:
        progress.advance(True)
        until(lambda: bool(enemy.snapshot()["fired"]))
        progress.advance(True)  # while it lasts: no recovery
        thread.join(0.2)
        assert len(enemy.snapshot()["fired"]) == 1
        progress.advance(True)
    assert [fault["kind"] for fault in enemy.snapshot()["fired"]] == ["refuse", "rst"]


CONDITIONS = (
    FaultStep(0, "latency", {"ms": 2, "future": True}, None),
    FaultStep(0, "confirm_nack", {"every": 3}, None),
)


def test_conditions_hold_from_begin_to_end() -> None:
    proxy, broker = Service(), Service()
    enemy = nemesis(proxy, broker=broker, conditions=CONDITIONS)
    assert enemy.planned == 2
    enemy.begin()
    assert [fault["healed"] for fault in enemy.snapshot()["fired"]] == [None, None]
    assert not enemy.expects_errors(time.monotonic())
    enemy.end()
    told = enemy.snapshot()
    assert [(f["kind"], f["ends"], f["excuses"]) for f in told["fired"]] == [
        ("latency", False, []),
        ("confirm_nack", False, []),
    ]
    assert all(fault["healed"] >= fault["t"] for fault in told["fired"])
    assert (proxy.healed, broker.healed, told["missed"]) == ([None], [None], [])


def test_a_condition_that_does_not_hold_is_missed() -> None:
    enemy = nemesis(Service(GONE), broker=Service(MISSED), conditions=CONDITIONS)
    enemy.begin()
    told = enemy.snapshot()
    assert told["fired"] == []
    assert told["missed"] == ["latency: the proxy went away", f"confirm_nack: {MISSED['why']}"]


def test_a_service_that_cannot_heal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Service()

    def heal(kind: str | None) -> dict[str, Any]:
        raise ControlError("gone")

    monkeypatch.setattr(proxy, "heal", heal)
    enemy = nemesis(proxy)
    enemy.end()
    assert enemy.snapshot()["missed"] == ["not healed: gone"]


def test_without_a_brokers_control_port_its_faults_are_missed() -> None:
    enemy = nemesis(Service(), FaultStep(0, "blocked", {}, None), patience=0.05)
    assert not enemy.strike()
    assert enemy.snapshot()["missed"] == ["the broker has no control port"]


NODE_FAULTS = (
    "node_kill",
    "node_stop",
    "app_stop",
    "node_pause",
    "leader_kill",
    "follower_kill",
    "partition",
)


def test_a_fault_excuses_what_it_can_cause_and_nothing_else() -> None:
    lost = ("rst", "fin", "cut", "stall", "blackhole", "refuse", "connection_close")
    excused = {name: words_of(name, {}) for name in FAULTS if words_of(name, {})}
    assert excused == {
        **dict.fromkeys(lost, ("recoverable",)),
        "confirm_omit": ("unconfirmed",),
        "channel_close": ("refused 541",),
        "consumer_cancel": ("cancelled",),
        "operator_close": ("recoverable",),
        "alarm": ("unconfirmed", "unanswered"),
        **dict.fromkeys(NODE_FAULTS, ("recoverable", "unconfirmed", "unanswered")),
    }
    assert words_of("channel_close", {"code": 406}) == ("refused 406",)
    assert all(row.excuses for row in FAULTS.values() if row.ends or row.silent)


def test_what_lasts_is_at_work_until_it_is_healed() -> None:
    step = FaultStep(0, "node_kill", {"seconds": 0.1}, None)
    keeper = Service()
    enemy = nemesis(Service(), step, broker=keeper)
    assert not enemy.under("recoverable")
    assert enemy.strike()
    assert enemy.under("recoverable")
    assert enemy.under("unanswered")
    assert not enemy.under("cancelled")
    enemy.end()
    assert not enemy.under("recoverable")


def test_an_order_to_a_node_is_a_fault_from_when_it_was_given_to_when_it_arrived() -> None:
    step = FaultStep(0, "operator_close", {}, None)
    enemy = nemesis(Service(), step, broker=Service({"fired": True, "seconds": 30.0}))
    assert enemy.strike()
    (fired,) = enemy.snapshot()["fired"]
    assert fired["t"] - fired["asked"] >= 30.0
    assert enemy.struck() == fired["t"]
    assert enemy.expects_errors(fired["t"] + RECOVERY)
    assert not enemy.expects_errors(fired["t"] + RECOVERY + 0.001)


def test_a_keeper_that_failed_may_have_struck_all_the_same() -> None:
    step = FaultStep(0, "node_kill", {"seconds": 0.1}, None)
    enemy = nemesis(Service(), step, broker=Service(GONE))
    assert not enemy.strike()
    assert enemy.snapshot()["fired"] == []
    assert enemy.expects_errors(time.monotonic())  # the client is not blamed; the run is unknown
    assert not enemy.under("recoverable")


@pytest.mark.parametrize(
    ("kind", "told"), [("leader_kill", {"queue": "q"}), ("operator_close", {}), ("alarm", {})]
)
def test_the_keeper_is_told_the_queue_whose_leader_is_meant(
    kind: str, told: dict[str, Any]
) -> None:
    keeper = Service()
    step = FaultStep(0, kind, {"seconds": 0.1}, None)
    enemy = Nemesis(
        cast(Control, Service()),
        cast(KeeperControl, keeper),
        [step],
        patience=DEADLINE,
        recovery=RECOVERY,
        queue="q",
    )
    enemy.strike()
    assert [(kind, told)] == [asked[1:] for asked in keeper.asked]


WORDS = ("recoverable", "cancelled", "unconfirmed", "refused 406", "refused 541")


@pytest.mark.parametrize(
    ("kind", "options", "word", "late"),
    [
        ("rst", {}, "recoverable", RECOVERY),
        ("consumer_cancel", {}, "cancelled", RECOVERY),
        ("channel_close", {"code": 406}, "refused 406", RECOVERY),
        # A wait for a confirm may begin at the very end of the fault.
        ("confirm_omit", {"every": 5, "seconds": 0.05}, "unconfirmed", 2 * RECOVERY),
    ],
)
def test_each_word_has_the_window_of_its_own_fault(
    kind: str, options: dict[str, Any], word: str, late: float
) -> None:
    enemy = nemesis(Service(), FaultStep(0, kind, options, None), broker=Service())
    assert enemy.strike()
    enemy.end()
    (fired,) = enemy.snapshot()["fired"]
    assert fired["excuses"] == [word]
    over = fired["healed"] or fired["t"]
    for other in WORDS:
        assert enemy.expects_errors(fired["asked"], other) == (other == word)
    assert not enemy.expects_errors(fired["asked"] - 0.001, word)
    assert enemy.expects_errors(over + late, word)
    assert not enemy.expects_errors(over + late + 0.001, word)
