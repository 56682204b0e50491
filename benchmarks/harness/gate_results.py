"""Reading what asv stored, as the plain data that ``gate`` judges.

asv is imported inside the functions: its environments hold none, and its discovery imports every
module here. A file that cannot be read is reported by name and never passes for a measurement.

Three things that look alike in asv are told apart: a benchmark that *failed* (None), one that was
*skipped* or not selected (NaN), and one that asv fills up with None because its stored parameters
are not today's. The last is "not measured" here.
"""

from __future__ import annotations

import ast
import itertools
import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.gate import (
    EMBEDDED,
    VALUE,
    VIOLATIONS,
    Cell,
    Change,
    Planned,
    Sheet,
    Stored,
)
from benchmarks.harness.kinds import VARIABLE
from benchmarks.harness.processes import EnvironmentProblem

#: asv's own default for "changed": a tenth.
FACTOR = 1.1
#: asv names result files after so many digits of the commit.
HASH_DIGITS = 8
#: Seconds for one git command.
GIT_SECONDS = 60.0
_INSTRUMENT = Path(__file__).resolve().parents[1]


class Store:
    """asv's stored results below one configuration. Raises EnvironmentProblem on opening."""

    def __init__(self, configuration: str | os.PathLike[str] = "asv.conf.json") -> None:
        from asv import util
        from asv.benchmarks import Benchmarks
        from asv.config import Config

        path = Path(configuration).resolve()
        self.folder = path.parent
        try:
            self.conf = Config.load(str(path))
        except (util.UserError, ValueError) as error:
            raise EnvironmentProblem(f"asv's configuration: {_one_line(error)}") from error
        # asv changes into the folder of its configuration: all paths in it are relative to that.
        self.results = self.folder / self.conf.results_dir
        self.conf.results_dir = str(self.results)
        try:
            self.known: Mapping[str, Any] = Benchmarks.load(self.conf)
        except (util.UserError, TypeError, KeyError, AttributeError) as error:
            raise EnvironmentProblem(f"asv has stored nothing: {_one_line(error)}") from error

    # -- commits ----------------------------------------------------------------------------

    def commit(self, name: str) -> str:
        """The full hash of a commit. Raises EnvironmentProblem when git knows none."""
        repository = self.folder / self.conf.repo
        where = repository if repository.is_dir() else self.folder
        command = ["git", "-C", str(where), "rev-parse", "--verify", "--quiet", "--end-of-options"]
        try:
            done = subprocess.run(
                [*command, f"{name}^{{commit}}"],
                capture_output=True,
                text=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise EnvironmentProblem(f"git: {_one_line(error)}") from error
        if done.returncode != 0 or not done.stdout.strip():
            raise EnvironmentProblem(f"unknown commit {name!r}")
        return done.stdout.strip()

    # -- sheets -----------------------------------------------------------------------------

    def stored(self, commit: str) -> Stored:
        """All that asv stored of a commit, on every machine and in every environment."""
        problems: list[str] = []
        sheets, matched = [], set()
        matrix = list(self._matrix())
        for result in self._load(commit, problems):
            number = next((n for n, row in enumerate(matrix) if _is_row(row, result)), None)
            matched.add(number)
            machine, environment, label = place(result)
            cells = tuple(cells_of(result, self.known))
            sheets.append(Sheet(machine, environment, label, number is not None, cells))
        planned = [
            Planned(_label(_variables(row)), _describe(row), number in matched)
            for number, row in enumerate(matrix)
        ]
        problems += self._outdated()
        order = sorted(sheets, key=lambda sheet: (sheet.label, sheet.machine, sheet.environment))
        return Stored(commit, tuple(order), tuple(planned), tuple(problems))

    def changes(self, base: str, commit: str) -> list[Change]:
        """Measures that differ between two commits in one environment, by asv's own criterion."""
        before = {place(result): result for result in self._load(base, [])}
        found: list[Change] = []
        for result in self._load(commit, []):
            if place(result) in before:
                found += self._compare(before[place(result)], result)
        return found

    def _compare(self, before: Any, after: Any) -> Iterator[Change]:
        from asv.commands.compare import _is_result_better as better

        old = {cell.name: cell for cell in cells_of(before, self.known)}
        for name, benchmark in self.known.items():
            if benchmark.get("unit", "") == VIOLATIONS:
                continue
            mine = list(cells_of(after, {name: benchmark}))
            for number, cell in enumerate(mine):
                base = old[cell.name]
                if cell.state != VALUE or base.state != VALUE:
                    continue
                assert cell.value is not None
                assert base.value is not None
                a, b = (_evidence(result, name, benchmark, number) for result in (before, after))
                worse = better(base.value, cell.value, a, b, FACTOR)
                if worse or better(cell.value, base.value, b, a, FACTOR):
                    ratio = cell.value / base.value if base.value else math.inf
                    yield Change(cell, base.value, cell.value, ratio, _ratio_interval(base, cell))

    def _load(self, commit: str, problems: list[str]) -> Iterator[Any]:
        """The results of one commit; what cannot be read becomes a line in ``problems``."""
        from asv.results import iter_results_paths

        skipped = set(self.results.rglob(f"{commit[:HASH_DIGITS]}-*.json"))
        for folder, name, machine in sorted(iter_results_paths(str(self.results))):
            path = Path(folder) / name
            if path in skipped:
                skipped.remove(path)
                result = load(path, machine, problems)
                # Two commits may share their first digits.
                if result is not None and result.commit_hash == commit:
                    yield result
        for path in sorted(skipped):
            problems.append(f"cannot be read: {path}: no sound machine.json beside it")

    def _outdated(self) -> list[str]:
        """Were the stored benchmarks those of the instrument that is judging now?"""
        if (self.folder / self.conf.benchmark_dir).resolve() != _INSTRUMENT:
            return []
        versions = {b.get("version") for b in self.known.values() if b.get("unit") == VIOLATIONS}
        if versions <= {instrument_digest()}:
            return []
        return ["the instrument has changed since asv ran last: run asv again"]

    # -- the matrix -------------------------------------------------------------------------

    def _matrix(self) -> Iterator[dict[tuple[str, str | None], str]]:
        """One row for each environment of the configuration.

        Where it names no Pythons, the one that runs asv measures, which is each machine's choice.
        """
        from asv.config import Config
        from asv.environment import iter_matrix

        named = self.conf.pythons != Config().pythons
        for row in iter_matrix(self.conf.environment_type, self.conf.pythons, self.conf):
            yield {key: value for key, value in row.items() if named or key[0] != "python"}


#: What reading a file of any content may raise, beside asv's own error.
MALFORMED = (TypeError, ValueError, AttributeError, LookupError)


def check(result: Any) -> None:
    """Raise one of MALFORMED when a result is not made as asv makes them.

    asv checks that the fields are there, not what they are, and fails wherever it reads them.
    """
    if not isinstance(result.params["machine"], str) or not isinstance(result.date, int):
        raise TypeError("the machine or the date is malformed")
    for key in result.get_all_result_keys():
        lists = result.get_result_params(key) or []
        if not all(isinstance(part, str) for values in lists for part in values):
            raise TypeError(f"the parameters of {key} are malformed")
        combinations = len(list(itertools.product(*lists)))
        values = result.get_result_value(key, lists)
        if len(values) != combinations or not all(map(_is_value, values)):
            raise TypeError(f"the values of {key} are malformed")
        result.get_result_stats(key, lists)


def _is_value(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def load(path: Path, machine: str, problems: list[str]) -> Any:
    """One result file, or None after a line in ``problems`` that names it."""
    from asv import util
    from asv.results import Results

    try:
        result = Results.load(str(path), machine_name=machine)
        check(result)
    except util.UserError as error:
        problems.append(_one_line(error))
    except (*MALFORMED, OSError) as error:
        problems.append(f"cannot be read: {path}: {type(error).__name__}: {_one_line(error)}")
    else:
        return result
    return None


def place(result: Any) -> tuple[str, str, str]:
    """Machine, environment and label of a result."""
    return str(result.params["machine"]), str(result.env_name), _label(result.env_vars)


def cells_of(result: Any, known: Mapping[str, Any]) -> Iterator[Cell]:
    """Every cell that ``known`` benchmarks have in this result, measured or not.

    One in which no broker takes part has cells under the embedded label alone: see ``label``.
    """
    where = place(result)
    for name, benchmark in known.items():
        if benchmark.get("without_broker") and where[2] != EMBEDDED:
            continue
        lists = benchmark["params"]
        combinations = list(itertools.product(*lists))
        reason = _absent(result, name, benchmark)
        values: list[Any] = [math.nan] * len(combinations)
        stats: list[Any] = [None] * len(combinations)
        ran: set[Any] = set()
        if not reason:
            ran = set(itertools.product(*(result.get_result_params(name) or [])))
            values = result.get_result_value(name, lists)
            stats = result.get_result_stats(name, lists)
        for combination, value, stat in zip(combinations, values, stats, strict=True):
            why = reason or ("" if combination in ran else "this parameter was not run")
            shown = math.nan if why else value
            if shown is not None and math.isnan(shown):
                why = why or "skipped"
            parameters = zip(benchmark["param_names"], map(plain, combination), strict=True)
            yield Cell(
                *where,
                name,
                tuple(parameters),
                benchmark.get("unit", ""),
                shown,
                why,
                _interval(stat),
                _spread(stat),
            )


def _absent(result: Any, name: str, benchmark: Mapping[str, Any]) -> str:
    """Why a whole benchmark has no value in this result; empty when it has."""
    if name not in result.get_all_result_keys():
        return "not run"
    # asv takes a result without a version for a current one; a zero needs better proof.
    version = result.benchmark_version.get(name)
    if version is None or version != benchmark.get("version"):
        return "measured with an outdated version of the benchmark"
    return ""


def _interval(stat: Any) -> tuple[float, float] | None:
    low, high = (stat or {}).get("ci_99_a"), (stat or {}).get("ci_99_b")
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return float(low), float(high)


def _spread(stat: Any) -> float | None:
    low, high = (stat or {}).get("q_25"), (stat or {}).get("q_75")
    return None if low is None or high is None else (high - low) / 2


def _ratio_interval(before: Cell, after: Cell) -> tuple[float, float] | None:
    """The widest that two intervals allow."""
    if before.interval is None or after.interval is None or before.interval[0] <= 0:
        return None
    return after.interval[0] / before.interval[1], after.interval[1] / before.interval[0]


def _evidence(result: Any, name: str, benchmark: Any, number: int) -> tuple[Any, Any]:
    lists = benchmark["params"]
    stats = result.get_result_stats(name, lists)[number]
    return stats, result.get_result_samples(name, lists)[number]


def plain(parameter: str) -> str:
    """asv stores the repr of a parameter; of a string only the string is wanted."""
    try:
        value = ast.literal_eval(parameter)
    except (ValueError, SyntaxError):
        return parameter
    return value if isinstance(value, str) else parameter


# -- environments ------------------------------------------------------------------------------


def _label(variables: Mapping[str, str]) -> str:
    return str(variables.get(VARIABLE) or EMBEDDED)


def _variables(row: Mapping[tuple[str, str | None], str]) -> dict[str, str]:
    return {str(key): v for (kind, key), v in row.items() if kind in ("env", "env_nobuild")}


def _describe(row: Mapping[tuple[str, str | None], str]) -> str:
    parts = [
        f"{key or kind} {value}".strip()
        for (kind, key), value in row.items()
        if kind in ("python", "req")
    ]
    parts += [f"{key}={value}" for key, value in _variables(row).items()]
    return f"({', '.join(parts)})"


def _is_row(row: Mapping[tuple[str, str | None], str], result: Any) -> bool:
    """Is this result of that row of the matrix? Told by asv's own name for the environment."""
    from asv.environment import get_env_name

    tool = str(result.env_name).partition("-")[0]
    requirements = {key: value for (kind, key), value in row.items() if kind == "req"}
    tags = {"env": "build", "env_nobuild": "nobuild"}
    variables = {(tags[kind], key): v for (kind, key), v in row.items() if kind in tags}
    python = row.get(("python", None)) or result.params.get("python", "")
    return bool(get_env_name(tool, python, requirements, variables) == result.env_name)


def _one_line(error: BaseException | str) -> str:
    return " ".join(str(error).split())
