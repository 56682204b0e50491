"""Which connections a node's fault took down: by the ledger's word and the nemesis's."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.outages import AFTERMATH, charge_outages, forgetful


def generation(closed: float | None, end: str = "broker") -> dict[str, Any]:
    faulted = end not in ("open", "close")
    return {"closed": closed, "end": end, "faulted": faulted, "injected": False}


def fault(kind: str = "node_kill", healed: float | None = 20.0) -> dict[str, Any]:
    return {"kind": kind, "asked": 10.0, "t": 11.0, "healed": healed, "ends": True}


def charged(found: dict[str, Any], struck: dict[str, Any], nodes: int = 1) -> bool:
    charge_outages({"generations": [found]}, [struck], nodes)
    return bool(found["injected"])


@pytest.mark.parametrize(
    ("closed", "expected"),
    [(9.9, False), (10.0, True), (15.0, True), (20.0 + AFTERMATH, True), (22.1, False)],
)
def test_an_end_on_the_broker_s_side_while_the_fault_lasted(closed: float, expected: bool) -> None:
    assert charged(generation(closed), fault()) == expected


def test_a_connection_that_is_still_open_was_not_ended() -> None:
    assert not charged(generation(None, "open"), fault())


@pytest.mark.parametrize(("kind", "expected"), [("node_kill", False), ("node_pause", True)])
def test_a_client_may_give_up_only_what_fell_silent(kind: str, expected: bool) -> None:
    """A node that is killed ends its connections itself: to hang up first is the client's own."""
    assert charged(generation(15.0, "client"), fault(kind)) == expected


def test_what_was_closed_in_good_order_was_not_ended_by_the_fault() -> None:
    assert not charged(generation(15.0, "close"), fault("node_pause"))


def test_a_fault_that_is_over_at_once_has_its_moment() -> None:
    struck = fault("operator_close", healed=None)
    assert charged(generation(11.0 + AFTERMATH), struck)
    assert not charged(generation(11.1 + AFTERMATH), struck)


@pytest.mark.parametrize("kind", ["rst", "blocked", "alarm", "close"])
def test_what_ends_no_connection_by_a_node_is_left_alone(kind: str) -> None:
    struck = fault(kind)
    assert not charged(generation(15.0), struck)
    assert struck["ends"]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), False),
        (("rst", "node_stop", "app_stop", "node_pause", "partition", "alarm"), False),
        (("rst", "node_kill"), True),
        (("leader_kill",), True),
        (("follower_kill",), True),
    ],
)
def test_what_a_node_held_in_memory_is_gone_when_it_was_killed(
    kinds: tuple[str, ...], expected: bool
) -> None:
    assert forgetful([fault(kind) for kind in kinds]) == expected


def test_in_a_cluster_a_fault_ends_what_it_hit() -> None:
    """It may hit a node that carries no connection; then none need come up again."""
    missed, hit = fault("follower_kill"), fault("leader_kill")
    charged(generation(5.0), missed, nodes=3)
    charged(generation(15.0), hit, nodes=3)
    assert (missed["ends"], hit["ends"]) == (False, True)
    alone = fault("node_kill")
    charged(generation(5.0), alone)
    assert alone["ends"]  # a single node that ended nothing leaves a doubt
