"""The story of a finding: only the hand-overs, so that a person can follow them.

Pure: reads recorded switches and source lines. For each: who ran until where, with the source text
of that line, why it stopped, and who went on.
"""

from __future__ import annotations

import linecache
import os

from .outcome import Outcome, Switch


def story(outcome: Outcome, token: str = "") -> str:
    """The outcome as text."""
    finding = outcome.finding
    if finding is None:
        return f"nothing found in {outcome.steps} steps"
    lines = [f"{finding.invariant}: {finding.detail}", ""]
    switches = outcome.switches
    width = max((len(switch.left) for switch in switches), default=0)
    lines += [_line(number, switch, width) for number, switch in enumerate(switches, 1)]
    if token:
        lines += ["", f"token: {token}"]
    return "\n".join(lines)


def _line(number: int, switch: Switch, width: int) -> str:
    where = ""
    if switch.place is not None:
        file, line, function = switch.place
        where = f" {os.path.basename(file)}:{line} in {function}"
        text = linecache.getline(file, line).strip()
        if text:
            where += f": `{text}`"
    why = "" if switch.why == "ended" else f"; {switch.why}"
    before = " ended" if switch.why == "ended" else " stops at" if where else ""
    return f"{number:3}. {switch.left:<{width}}{before}{where}{why} -> {switch.entered}"
