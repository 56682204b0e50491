"""From rounds to figures, ratios and aims: pure functions of what was measured.

A figure is the median of its rounds, with the least and the greatest of them beside it. Rounds of
two clients that were run by turns are compared pair by pair, so that a ratio has a spread as well.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.clients.speed.table import FLOORS, SUBJECT, load_speed
from benchmarks.harness.speed.aims import AIMS, BEST, BEST_SHARING, Aim
from benchmarks.harness.speed.bench import Sample
from benchmarks.harness.speed.compare import MEASURED, Cell
from benchmarks.harness.speed.works import WORKS, Figure

Cells = Mapping[tuple[str, str], Cell]


def by_place(cells: Iterable[Cell]) -> dict[tuple[str, str], Cell]:
    """Cells by work and client."""
    return {(cell.work, cell.client): cell for cell in cells}


def rounds_of(cell: Cell, figure: Figure) -> list[float]:
    """The figure of each round."""
    if figure.series is None:
        return [sample.operations / sample.seconds for sample in cell.samples]
    return [_percentile(sample.series[figure.series], figure.at) for sample in cell.samples]


def value_of(cell: Cell, figure: Figure) -> float | None:
    """The figure of all rounds: the median of rates, the percentile of all events together."""
    if cell.state != MEASURED or not cell.samples:
        return None
    if figure.series is None:
        return statistics.median(rounds_of(cell, figure))
    return _percentile([v for s in cell.samples for v in s.series[figure.series]], figure.at)


def cpu_us(cell: Cell) -> float | None:
    """CPU microseconds of the client's process per operation, the median of the rounds."""
    used = [_cpu(sample) for sample in cell.samples if sample.seconds]
    return statistics.median(used) if used and cell.state == MEASURED else None


def figures_of(cell: Cell) -> dict[str, dict[str, Any]]:
    """Every figure of a measured cell."""
    found = {}
    for figure in WORKS[cell.work].figures:
        value = value_of(cell, figure)
        if value is not None:
            rounds = rounds_of(cell, figure)
            found[figure.name] = {
                "value": value,
                "low": min(rounds),
                "high": max(rounds),
                "unit": figure.unit,
            }
    return found


# -- aims ------------------------------------------------------------------------------------


def judge_aim(aim: Aim, cells: Cells) -> dict[str, Any]:
    """``measured``, its spread, whether the aim is met, and against whom; None: not measured."""
    subject = cells.get((aim.work, SUBJECT))
    figure = _figure(aim.work, aim.figure)
    peer, of_peer, against = _peer(aim, cells)
    least, most = aim.least, aim.most
    verdict: dict[str, Any] = {
        "aim": aim.text,
        "least": least,
        "most": most,
        "against": against,
        "measured": None,
        "low": None,
        "high": None,
        "cpu": None,
        "floor": None,
        "met": None,
    }
    mine = None if subject is None else value_of(subject, figure)
    theirs = 1.0 if peer is None and against is None else None
    if peer is not None:
        theirs = value_of(peer, of_peer)
    if subject is None or mine is None or not theirs:
        return verdict
    measured = mine / theirs
    verdict["measured"] = measured
    verdict["floor"] = _floor(aim, cells, theirs)
    verdict["met"] = (least is None or measured >= least) and (most is None or measured <= most)
    rounds = rounds_of(subject, figure)
    if peer is not None:
        rounds = [a / b for a, b in zip(rounds, rounds_of(peer, of_peer), strict=False) if b]
        ours, others = cpu_us(subject), cpu_us(peer)
        if ours and others and peer.client != SUBJECT:
            verdict["cpu"] = others / ours
    if rounds:
        verdict["low"], verdict["high"] = min(rounds), max(rounds)
    return verdict


def _floor(aim: Aim, cells: Cells, theirs: float) -> float | None:
    """What the better floor reaches where amqpool is measured; None where none took part, or where
    the aim is to be near it. An aim against amqpool's own work is the floor's against its own."""
    if aim.against in FLOORS:
        return None
    figure = _figure(aim.work, aim.figure)
    reached = []
    for name in FLOORS:
        cell = cells.get((aim.work, name))
        value = None if cell is None else value_of(cell, figure)
        if value is None:
            continue
        if aim.own is not None:
            work, other = aim.own
            own = cells.get((work, name))
            theirs = (None if own is None else value_of(own, _figure(work, other))) or 0.0
        if theirs:
            reached.append(value / theirs)
    if not reached:
        return None
    return max(reached) if figure.more_is_better else min(reached)


def judge_aims(cells: Cells, works: Iterable[str]) -> list[dict[str, Any]]:
    """Those aims whose work was asked for."""
    wanted = set(works)
    return [judge_aim(aim, cells) for aim in AIMS if aim.work in wanted]


def _peer(aim: Aim, cells: Cells) -> tuple[Cell | None, Figure, str | None]:
    """The cell that amqpool is held against, its figure, and its client's name."""
    figure = _figure(aim.work, aim.figure)
    if aim.own is not None:
        work, name = aim.own
        return cells.get((work, SUBJECT)), _figure(work, name), SUBJECT
    if aim.against == "absolute":
        return None, figure, None
    candidates = [
        cell
        for (work, client), cell in cells.items()
        if work == aim.work and _stands_for(aim.against, client)
        and value_of(cell, figure) is not None
    ]  # fmt: skip
    if not candidates:
        words = aim.against if isinstance(aim.against, str) else " or ".join(aim.against)
        return None, figure, words
    choose = max if figure.more_is_better else min
    best = choose(candidates, key=lambda cell: value_of(cell, figure) or 0.0)
    return best, figure, best.client


def _stands_for(against: str | Sequence[str], client: str) -> bool:
    if against in (BEST, BEST_SHARING):
        peer = client not in (SUBJECT, *FLOORS)
        return peer and (against == BEST or load_speed(client).shares)
    return client == against if isinstance(against, str) else client in against


def _figure(work: str, name: str) -> Figure:
    [figure] = [each for each in WORKS[work].figures if each.name == name]
    return figure


def _percentile(values: Sequence[float], at: float) -> float:
    return float(np.percentile(np.asarray(values), at))


def _cpu(sample: Sample) -> float:
    return sample.cpu_s / sample.operations * 1e6
