"""A comparison as a JSON document, and as markdown. It decides nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.clients.speed.table import SUBJECT, load_speed
from benchmarks.harness.speed.compare import CANNOT, MEASURED, Cell
from benchmarks.harness.speed.ranking import ORDERS, REVERSED, SAME
from benchmarks.harness.speed.summary import by_place, cpu_us, figures_of, judge_aims, rounds_of
from benchmarks.harness.speed.verdicts import LOADS, NONE, Verdict
from benchmarks.harness.speed.works import WORKS


def document(
    facts: Mapping[str, Any], cells: Sequence[Cell], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """All of it, raw rounds included. ``facts``: of the run, by name."""
    works = list(dict.fromkeys(cell.work for cell in cells))
    clients = dict.fromkeys([c.client for c in cells] + [v.client for v in verdicts])
    return {
        **facts,
        "clients": {name: _client(name, cells) for name in clients},
        "works": {name: WORKS[name].title for name in works},
        "aims": judge_aims(by_place(cells), works),
        "speed": [_cell(cell) for cell in cells],
        "trials": [asdict(verdict) for verdict in verdicts],
    }


def _client(name: str, cells: Sequence[Cell]) -> dict[str, Any]:
    kind = load_speed(name)
    versions = [cell.version for cell in cells if cell.client == name and cell.version]
    return {
        "title": kind.name,
        "version": versions[0] if versions else None,
        "requirements": list(kind.requirements),
        "shares_one_connection": kind.shares,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    figures = figures_of(cell)
    for figure in WORKS[cell.work].figures:
        if figure.name in figures:
            figures[figure.name]["rounds"] = rounds_of(cell, figure)
    return {
        "work": cell.work,
        "client": cell.client,
        "state": cell.state,
        "why": cell.why,
        "failures": cell.failures,
        "operations": cell.operations,
        "rounds": len(cell.samples),
        "figures": figures,
        "cpu_us": cpu_us(cell),
    }


# -- markdown --------------------------------------------------------------------------------


def markdown(found: Mapping[str, Any]) -> str:
    """The two tables, and the aims before the second."""
    parts = [f"Measured {_headline(found)}."]
    if found["partial"]:
        parts.append(f"**Partial: {found['partial']}.** What is missing was not run.")
    if found["trials"]:
        parts.append("### Invariants")
        parts.append(_invariants(found))
    if found["aims"]:
        parts.append("### Aims")
        parts.append(_aims(found))
    if found["speed"]:
        parts.append("### Speed")
        parts.append(_speed(found))
    if found.get("agreement"):
        parts.append("### The same command before")
        parts.append(_agreement(found))
    return "\n\n".join(parts) + "\n"


def _headline(found: Mapping[str, Any]) -> str:
    return (
        f"{found['when']} on {found['broker']}, {found['machine']}; "
        f"{found['repeats']} rounds by turns, amqpool at {found['commit']}"
    )


def _invariants(found: Mapping[str, Any]) -> str:
    trials = {(t["client"], t["scenario"]): t for t in found["trials"]}
    clients = dict.fromkeys(client for client, _ in trials)
    rows = [
        [_title(found, client), *(_verdict(trials[client, scenario]) for scenario in LOADS)]
        for client in clients
    ]
    return _table(["client", *(f"`{scenario}`" for scenario in LOADS)], rows)


def _verdict(trial: Mapping[str, Any]) -> str:
    if trial["verdict"] == NONE:
        return f"not judged: {trial['why']}"
    counts = ", ".join(f"`{name}` {count}" for name, count in trial["violations"].items())
    text = f"**{trial['verdict']}**: {counts}" if counts else str(trial["verdict"])
    return text if counts or not trial["why"] else f"{text}: {trial['why']}"


def _aims(found: Mapping[str, Any]) -> str:
    rows = []
    for aim in found["aims"]:
        bound = f"≥ {aim['least']:g}" if aim["least"] is not None else f"≤ {aim['most']:g}"
        measured = spread = "not measured"
        if aim["measured"] is not None:
            measured = f"**{number(aim['measured'])}**"
            spread = f"{number(aim['low'])} – {number(aim['high'])}"
        met = {True: "yes", False: "**no**", None: "–"}[aim["met"]]
        against = "–" if aim["against"] is None else _title(found, aim["against"])
        cpu = "–" if aim["cpu"] is None else number(aim["cpu"])
        floor = "–" if aim["floor"] is None else number(aim["floor"])
        rows.append([aim["aim"], bound, measured, spread, met, cpu, floor, against])
    titles = ["work", "aim", "measured", "least – greatest", "met", "by CPU time", "the floor"]
    titles.append("held against")
    return _table(titles, rows)


def _speed(found: Mapping[str, Any]) -> str:
    rows = []
    for cell in found["speed"]:
        if cell["state"] == CANNOT:
            continue
        work, client = found["works"][cell["work"]], _title(found, cell["client"])
        if cell["state"] != MEASURED:
            rows.append([work, client, f"{cell['state']}: {cell['why']}", "", "", ""])
            continue
        cpu = "" if cell["cpu_us"] is None else number(cell["cpu_us"])
        figures = cell["figures"]
        ratios = [_ratio(found, cell, name) for name in figures]
        rows.append(
            [
                work,
                client,
                "; ".join(_value(name, figure) for name, figure in figures.items()),
                "; ".join(f"{number(f['low'])} – {number(f['high'])}" for f in figures.values()),
                cpu,
                "; ".join(filter(None, ratios)),
            ]
        )
    titles = ["work", "client", "median", "least – greatest", "CPU µs", "amqpool / client"]
    return _table(titles, rows)


def _agreement(found: Mapping[str, Any]) -> str:
    agreement = found["agreement"]
    works = agreement["works"]
    pairs = sum(sum(counts.values()) for counts in works.values())
    same, reverse = (sum(c[name] for c in works.values()) for name in (SAME, REVERSED))
    turned = "; ".join(
        f"{found['works'].get(work, work)}: {_title(found, one)} and {_title(found, other)}"
        for work, one, other in agreement["reversed"]
    )
    lines = (
        f"On {agreement['when']}, amqpool at {agreement['commit']}: {same} of {pairs} pairs of "
        f"clients came out in the same order. An order is clear when one of the two is ahead in "
        f"every round; clear in both runs, and not the same, was that of "
        f"{reverse or 'none'}{': ' if turned else ''}{turned}."
    )
    rows = [
        [found["works"].get(work, work), *(f"{counts[name]}" for name in ORDERS)]
        for work, counts in works.items()
    ]
    titles = ["work", "same order", "changed, never clear", "changed, clear once", "reversed"]
    return f"{lines}\n\n{_table(titles, rows)}"


def _value(name: str, figure: Mapping[str, Any]) -> str:
    label = "" if name == "rate" else f"{name} "
    return f"{label}{number(figure['value'])} {figure['unit']}"


def _ratio(found: Mapping[str, Any], cell: Mapping[str, Any], name: str) -> str:
    if cell["client"] == SUBJECT:
        return ""
    for other in found["speed"]:
        if (other["work"], other["client"]) == (cell["work"], SUBJECT):
            mine = other["figures"].get(name)
            theirs = cell["figures"][name]["value"]
            return number(mine["value"] / theirs) if mine and theirs else ""
    return ""


def _title(found: Mapping[str, Any], client: str) -> str:
    known = found["clients"].get(client)
    if known is None:
        return client
    version = known["version"]
    return f"{known['title']} {version}" if version and version != "-" else str(known["title"])


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(_inline(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _inline(text: str) -> str:
    """As it may stand in a cell: one line, no pipe."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def number(value: float) -> str:
    """Three significant digits, and whole numbers from a hundred on."""
    if not value:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits)}f}" if digits > 0 else f"{round(value):,}"


# -- a page that holds them ------------------------------------------------------------------


class MarkersError(Exception):
    """The page has no place for the tables; the text says which markers it needs."""


def inserted(page: str, name: str, text: str) -> str:
    """The page with ``text`` between its markers of that name. Raises MarkersError."""
    begin, end = f"<!-- compare:{name} -->", f"<!-- /compare:{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise MarkersError(f"it needs the lines {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"
