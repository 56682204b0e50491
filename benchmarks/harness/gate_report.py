"""The gate's verdict as text, as markdown for a pull request, and as JSON.

It decides nothing. Order in all three: violations, failures, what changed, what was not measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.harness.gate import BROKEN, HOLDS, INCOMPLETE, Cell, Change, Verdict

#: Rows of one markdown table: a comment on a pull request holds 65,536 characters.
ROWS_AT_MOST = 60
#: Lines of what was not measured and is not required, in text and markdown.
OTHERS_AT_MOST = 20
_WORDS = {HOLDS: "holds", BROKEN: "broken", INCOMPLETE: "incomplete"}


def text(verdict: Verdict) -> str:
    """For a terminal: a line for each finding, and the verdict as the last one."""
    lines: list[str] = []
    for cell in verdict.violated:
        lines.append(f"violated: {_where(cell)}: {cell.name}: {_count(cell)}")
    for cell in verdict.failed:
        lines.append(f"failed: {_where(cell)}: {cell.name}: failed, or no verdict")
    for change in verdict.changes:
        word = "slower" if change.slower else "faster"
        lines.append(f"{word}: {_where(change.cell)}: {change.cell.name}: {_change(change)}")
    lines += [f"not measured: {line}" for line in verdict.gaps]
    lines += [f"not measured, not required: {line}" for line in _few(verdict.others)]
    for label, words in verdict.labels.items():
        role = "required" if label in verdict.required else "not required"
        lines.append(f"label {label} ({role}): {words}")
    lines.append(f"gate {_WORDS[verdict.status]}: {verdict.commit[:8]}, {_summary(verdict)}")
    return "\n".join(lines) + "\n"


def markdown(verdict: Verdict) -> str:
    """The comment of a pull request."""
    mark = {HOLDS: "✅", BROKEN: "❌", INCOMPLETE: "⚠️"}[verdict.status]
    lines = [f"### {mark} Gate {_WORDS[verdict.status]}: `{verdict.commit[:8]}`", ""]
    lines += [f"{_summary(verdict)}.", ""]
    if verdict.violated or verdict.failed:
        rows: list[tuple[str, ...]]
        rows = [(*_place(cell), f"**{_count(cell)}**") for cell in verdict.violated]
        rows += [(*_place(cell), "**failed, or no verdict**") for cell in verdict.failed]
        lines += ["#### Violations", ""]
        lines += _table(("environment", "benchmark", "parameters", "value"), rows)
    if verdict.base is not None:
        lines += [f"#### Slower or faster than `{verdict.base[:8]}`", ""]
        if verdict.changes:
            titles = ("environment", "benchmark", "parameters", "before", "after", "ratio", "99 %")
            lines += _table(titles, [_changed(change) for change in verdict.changes])
        else:
            lines += ["Nothing by more than noise.", ""]
    if verdict.gaps or verdict.others:
        lines += ["#### Not measured", ""]
        lines += [f"- **required**: {_escape(line)}" for line in verdict.gaps[:ROWS_AT_MOST]]
        lines += _more(len(verdict.gaps) - ROWS_AT_MOST)
        lines += [f"- {_escape(line)}" for line in _few(verdict.others)] + [""]
    lines += ["#### Labels", ""]
    rows = [
        (label, "required" if label in verdict.required else "not required", words)
        for label, words in verdict.labels.items()
    ]
    lines += _table(("label", "", "violations"), rows)
    return "\n".join(lines).rstrip() + "\n"


def as_json(verdict: Verdict) -> str:
    """The document as text."""
    return json.dumps(document(verdict), indent=2, allow_nan=False) + "\n"


def document(verdict: Verdict) -> dict[str, Any]:
    """One document; its ``status`` is the exit status."""
    return {
        "commit": verdict.commit,
        "base": verdict.base,
        "status": verdict.status,
        "verdict": _WORDS[verdict.status],
        "required": list(verdict.required),
        "labels": verdict.labels,
        "zeros": verdict.zeros,
        "violations": [{**_cell(cell), "value": _json(cell.value)} for cell in verdict.violated],
        "failed": [_cell(cell) for cell in verdict.failed],
        "changes": [
            {
                **_cell(change.cell),
                "unit": change.cell.unit,
                "before": _json(change.before),
                "after": _json(change.after),
                "ratio": _json(change.ratio),
                "interval": change.interval,
            }
            for change in verdict.changes
        ],
        "not_measured": list(verdict.gaps),
        "not_required": list(verdict.others),
    }


FORMATS: dict[str, Callable[[Verdict], str]] = {
    "text": text,
    "markdown": markdown,
    "json": as_json,
}


# -- pieces --------------------------------------------------------------------------------------


def _summary(verdict: Verdict) -> str:
    counts = (
        (sum(cell.value or 0 for cell in verdict.violated), "violations"),
        (len(verdict.failed), "failed"),
        (len(verdict.gaps), "required and not measured"),
        (verdict.zeros, "measured and 0"),
    )
    return ", ".join(f"{count:g} {words}" for count, words in counts)


def _where(cell: Cell) -> str:
    return f"{cell.label}, {cell.machine}, {cell.environment}"


def _place(cell: Cell) -> tuple[str, str, str]:
    parameters = ", ".join(f"{name} {value}" for name, value in cell.parameters)
    return f"{cell.label}, {cell.machine}, {cell.environment}", cell.benchmark, parameters


def _count(cell: Cell) -> str:
    return f"{cell.value:g} violation{'' if cell.value == 1 else 's'}"


def _change(change: Change) -> str:
    interval = f" ({_span(change)})" if change.interval else ""
    unit = change.cell.unit
    return f"{change.before:.4g} -> {change.after:.4g} {unit}, {change.ratio:.2f}x{interval}"


def _changed(change: Change) -> tuple[str, ...]:
    unit = change.cell.unit
    return (
        *_place(change.cell),
        f"{change.before:.4g} {unit}",
        f"{change.after:.4g} {unit}",
        f"{'**' if change.slower else ''}{change.ratio:.2f}{'**' if change.slower else ''}",
        _span(change),
    )


def _span(change: Change) -> str:
    return f"{change.interval[0]:.2f} to {change.interval[1]:.2f}" if change.interval else "unknown"


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "label": cell.label,
        "machine": cell.machine,
        "environment": cell.environment,
        "benchmark": cell.benchmark,
        "parameters": dict(cell.parameters),
    }


def _json(number: float | None) -> float | str | None:
    """JSON knows no infinity."""
    return number if number is None or math.isfinite(number) else str(number)


def _few(lines: Sequence[str]) -> list[str]:
    return [*lines[:OTHERS_AT_MOST], *_more(len(lines) - OTHERS_AT_MOST, "")]


def _more(number: int, bullet: str = "- ") -> list[str]:
    return [f"{bullet}and {number} more"] if number > 0 else []


def _table(titles: Sequence[str], rows: Sequence[Iterable[str]]) -> list[str]:
    lines = [_row(titles), _row("---" for _ in titles)]
    lines += [_row(map(_escape, row)) for row in rows[:ROWS_AT_MOST]]
    rest = _more(len(rows) - ROWS_AT_MOST)
    return [*lines, "", *rest, *([""] if rest else [])]


def _row(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def _escape(value: str) -> str:
    """A parameter may hold a bar, which would begin a column, and a line must stay one."""
    return " ".join(value.replace("|", "\\|").replace("<", "&lt;").split())
