"""The table of one trial, for a terminal. The only module that draws; rich is imported inside."""

from __future__ import annotations

from typing import Any

from benchmarks.harness.request import replay_file_command
from benchmarks.harness.result import INVALID, VALID, TrialResult

#: Lines of one witness's stack or traceback that are printed; the JSON has them whole.
STACK_LINES = 24


#: What says who and where in a witness, in the order in which one asks.
FACTS = (
    "identity",
    "thread",
    "lease",
    "leases",
    "channel",
    "incarnation",
    "generation",
    "queue",
    "why",
)

#: Of these, what the one line of a witness may hold already.
IN_DETAIL = frozenset(("identity", "why"))


def print_result(result: TrialResult) -> None:
    """Print verdict, counts side by side, metrics, and each violation's witnesses."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    document, metrics = result.document, result.metrics
    console = Console(highlight=False, soft_wrap=True)
    colour = {VALID: "green", INVALID: "red"}.get(result.verdict, "yellow")
    console.print(
        f"[bold]{document['scenario']}[/] {document['load']}  seed {document['seed']}  "
        f"plan {document['plan']}  {escape(str(document['client']))} "
        f"{document['client_version'] or ''}  broker {document['broker']}"
    )
    table = Table("invariant", "violations", "note", box=None, pad_edge=False)
    for name, count in result.violations.items():
        note = document["not_judged"].get(name, "")
        shown = "[yellow]not judged[/]" if count is None else f"{'[red]' if count else ''}{count}"
        table.add_row(name, shown, escape(note))
    console.print(table)
    doubt = [f"{name} {_shown(document[name])}" for name in ("in_doubt", "discarded", "duplicates")]
    console.print("beside them: " + ", ".join(doubt))
    if document["compared"]:
        compared = ", ".join(f"{count} {kind}" for kind, count in document["compared"].items())
        console.print(f"compared: {compared}")
    if document["recoverable"] is not None:
        names = ", ".join(document["recoverable"])
        console.print(f"declared recoverable between a fault and its heal: {names}")
    if document["cannot"]:
        console.print(f"left out, the client cannot: {', '.join(document['cannot'])}")
    for line in _metric_lines(metrics):
        console.print(line)
    if document["nodes"]:
        console.print(escape(_nodes(document["nodes"])))
    for reason in document["unknown_because"]:
        console.print(f"[yellow]unknown because[/] {escape(reason)}")
    for witness in document["witnesses"]:
        console.print(f"[red]{witness['invariant']}[/]: {escape(str(witness['detail']))}")
        # What its one line says need not be said again.
        facts = [
            f"{name} {witness[name]}"
            for name in FACTS
            if witness.get(name) is not None
            and not (name in IN_DETAIL and str(witness[name]) in witness["detail"])
        ]
        if facts:
            console.print(escape(f"    {', '.join(facts)}"))
        for key in ("stack", "traceback", "stderr"):
            if witness.get(key):
                lines = str(witness[key]).rstrip().splitlines()[-STACK_LINES:]
                console.print(escape("\n".join(f"    {line}" for line in lines)))
        if witness.get("innermost"):
            console.print(escape(f"    self = {witness['innermost']}"))
    console.print(f"verdict: [{colour}]{result.verdict}[/]")
    if result.verdict != VALID:
        console.print(f"run it again: {escape(document['replay'])}")
        if document["plan_file"]:
            console.print(
                f"or this very plan: {escape(replay_file_command(document['plan_file']))}"
            )


def _shown(value: Any) -> str:
    return "not judged" if value is None else str(value)


def _nodes(nodes: dict[str, Any]) -> str:
    """What became of the nodes of RabbitMQ, in one line."""
    if "unknown" in nodes:
        return f"nodes: {nodes['unknown']}"
    memory = " + ".join(f"{size / 1e6:.0f}" for size in nodes["memory"])
    return (
        f"nodes: RabbitMQ {nodes['version']}, up in {nodes['start_seconds']:.1f} s, {memory} MB, "
        f"{nodes['restarts']} restarts, {nodes['leader_changes']} leader changes"
    )


def _metric_lines(metrics: dict[str, Any]) -> list[str]:
    lines = []
    if metrics["duration_s"] is not None:
        rate = metrics["operations_per_s"]
        lines.append(
            f"load: {metrics['operations']} operations in {metrics['duration_s']:.2f} s"
            + (f", {rate:.0f} operations/s" if rate else "")
        )
    if metrics["kills_planned"]:
        lines.append(
            f"faults {metrics['kills']} of {metrics['kills_planned']}, "
            f"reconnects {_shown(metrics['reconnects'])}"
        )
    if metrics["recovery_p50_ms"] is not None:
        lines.append(
            f"recovery p50 {metrics['recovery_p50_ms']:.2f} ms, "
            f"p99 {metrics['recovery_p99_ms']:.2f} ms"
        )
    if metrics["publish_p99_parked_ms"] is not None:
        lines.append(
            f"publish p50 {metrics['publish_p50_ms']:.2f} ms, p99 {metrics['publish_p99_ms']:.2f} "
            f"ms; while others are parked p99 {metrics['publish_p99_parked_ms']:.2f} ms"
        )
    return lines
