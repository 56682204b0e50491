"""Do two comparisons rank the clients alike? Pure functions of the documents that they wrote.

Two clients are ranked by the first figure of a work. Their order is *clear* when one is ahead in
every round, those run by turns held against each other: of two that are equally fast, seven rounds
do that once in 64 times. Two that are as good as equal may change places from run to run; an order
that is clear in one run and clear the other way round in the next says that one of them measured
something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from benchmarks.harness.speed.compare import MEASURED
from benchmarks.harness.speed.works import WORKS

#: Rounds without which no order is clear: fewer agree by chance.
ROUNDS: Final = 5

#: The pairs of one work, by what became of their order.
SAME, CHANGED, ONCE, REVERSED = "same", "changed", "clear once", "reversed"
ORDERS: Final = (SAME, CHANGED, ONCE, REVERSED)


def agreement(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """``works``: counts of the pairs that both runs measured, by work; ``reversed``: those whose
    order was clear in both and not the same, as [work, client, client].

    Raises KeyError or TypeError for a document that is none.
    """
    works: dict[str, Counter[str]] = {}
    turned = []
    old = _places(before)
    for (work, one, other), (order, clear) in _places(now).items():
        if (work, one, other) not in old:
            continue
        order_before, clear_before = old[work, one, other]
        if order == order_before:
            became = SAME
        elif clear and clear_before:
            became = REVERSED
            turned.append([work, one, other])
        else:
            became = ONCE if clear or clear_before else CHANGED
        works.setdefault(work, Counter())[became] += 1
    return {
        "when": before["when"],
        "commit": before["commit"],
        "works": {work: {name: counts[name] for name in ORDERS} for work, counts in works.items()},
        "reversed": turned,
    }


def _places(found: Mapping[str, Any]) -> dict[tuple[str, str, str], tuple[int, bool]]:
    """Every pair of clients at every work: who is ahead (1, -1, or 0 for neither), and is it
    clear?"""
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in found["speed"]:
        figure = WORKS[cell["work"]].figures[0] if cell["work"] in WORKS else None
        if figure is not None and cell["state"] == MEASURED and figure.name in cell["figures"]:
            rows.setdefault(cell["work"], {})[cell["client"]] = cell["figures"][figure.name]
    places = {}
    for work, clients in rows.items():
        sign = 1 if WORKS[work].figures[0].more_is_better else -1
        for one, other in combinations(sorted(clients), 2):
            first, second = clients[one], clients[other]
            order = sign * _sign(first["value"], second["value"])
            rounds = [
                sign * _sign(a, b) for a, b in zip(first["rounds"], second["rounds"], strict=False)
            ]
            places[work, one, other] = order, _clear(order, rounds)
    return places


def _clear(order: int, rounds: Sequence[int]) -> bool:
    return len(rounds) >= ROUNDS and order != 0 and all(each == order for each in rounds)


def _sign(a: float, b: float) -> int:
    return (a > b) - (a < b)
