"""Strategies, granularities, tokens, shrinking and stories, on the smallest races there are."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.schedules.explore import Report, explore, replay, strategy
from benchmarks.schedules.outcome import Choice, Finding, Outcome, SchedulerFailure, Violation
from benchmarks.schedules.program import Program, Runner
from benchmarks.schedules.shrink import shrink
from benchmarks.schedules.story import story
from benchmarks.schedules.strategies import Exhaustive, Pct, RandomWalk, Replay, Strategy
from benchmarks.schedules.tokens import BadToken, Token, decode, encode
from benchmarks.schedules.world import rest, together


class Counter:
    def __init__(self) -> None:
        self.value = 0
        self.lock = threading.Lock()

    def racy(self) -> None:
        seen = self.value
        self.value = seen + 1

    def half_locked(self) -> None:
        with self.lock:
            seen = self.value
        with self.lock:
            self.value = seen + 1

    def one_line(self) -> None:
        self.value += 1

    def locked(self) -> None:
        with self.lock:
            self.value += 1


def counts(method: Callable[[Counter], None], threads: int = 2) -> Callable[[], None]:
    def body() -> None:
        counter = Counter()
        together(*[lambda: method(counter)] * threads)
        if counter.value != threads:
            raise Violation("lost_messages", f"{counter.value} of {threads}")

    return body


def program(method: Callable[[Counter], None], granularity: str = "access") -> Program:
    return Program(method.__name__, counts(method), (__file__,), granularity)


PROGRAMS = {
    each.__name__: program(each)
    for each in (Counter.racy, Counter.half_locked, Counter.one_line, Counter.locked)
}

# -- strategies ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["racy", "half_locked", "one_line"])
@pytest.mark.parametrize("search", ["pct", "random", "dfs"])
def test_each_strategy_finds_each_race_and_its_token_shows_it_again(search: str, name: str) -> None:
    report = explore(PROGRAMS[name], strategy(search, seed=3, depth=2), schedules=500)
    assert report.found is not None
    assert report.found.finding == Finding("lost_messages", "1 of 2")
    assert len(report.found.choices) <= 2
    outcomes = replay(report.token, PROGRAMS.__getitem__, 10)
    assert {(each.finding, each.diverged) for each in outcomes} == {(report.found.finding, False)}
    assert len({tuple(each.switches) for each in outcomes}) == 1


@pytest.mark.parametrize("search", ["pct", "random"])
def test_a_budget_that_ran_out_is_not_exhausted(search: str) -> None:
    report = explore(PROGRAMS["locked"], strategy(search, seed=3), schedules=60)
    assert (report.found, report.exhausted, report.schedules) == (None, False, 60)
    assert "nothing found in 60 schedules, not exhausted" in report.text


def test_a_budget_of_time_ends_the_search() -> None:
    report = explore(PROGRAMS["locked"], strategy("pct"), schedules=None, seconds=0.2)
    assert not report.exhausted
    assert report.schedules > 1


def test_the_sound_one_is_clean_when_all_orders_were_tried() -> None:
    report = explore(PROGRAMS["locked"], strategy("dfs", depth=2), schedules=None)
    assert (report.found, report.exhausted) == (None, True)
    assert "exhausted" in report.text
    assert "not exhausted" not in report.text


def test_a_depth_first_search_that_was_cut_short_is_not_exhausted() -> None:
    report = explore(PROGRAMS["locked"], strategy("dfs", depth=2), schedules=5)
    assert (report.found, report.exhausted, report.schedules) == (None, False, 5)


def test_switch_points_at_locks_alone_call_a_buggy_version_clean() -> None:
    """Why `access` is the default: this proof is false, and honest only about its granularity."""
    for granularity, found in (("sync", False), ("line", True), ("access", True)):
        report = explore(program(Counter.racy, granularity), Exhaustive(2), schedules=None)
        assert (report.found is not None) is found, granularity
    # Within one line, only the accesses tell.
    for granularity, found in (("line", False), ("access", True)):
        report = explore(program(Counter.one_line, granularity), Exhaustive(2), schedules=None)
        assert (report.found is not None) is found, granularity


@pytest.mark.parametrize("granularity", ["line", "access"])
def test_a_thread_that_began_before_the_search_is_explored_too(granularity: str) -> None:
    def body() -> None:
        items: list[str] = []
        go = threading.Event()

        def early() -> None:
            go.wait()
            if not items:
                items.append("early")

        def other() -> None:
            go.set()
            items.append("other")

        thread = threading.Thread(target=early)
        thread.start()
        rest()
        together(other, thread.join)
        if items == ["other", "early"]:
            raise Violation("phantoms", "it saw an empty list, and the other was first")

    case = Program("early", body, (__file__,), granularity)
    assert explore(case, Exhaustive(2), schedules=2_000).found is not None


class Pair:
    """Two fields that belong together, written in one statement and read without a lock."""

    def __init__(self) -> None:
        self.first = self.second = 0

    def write(self) -> None:
        self.first, self.second = 1, 1

    def write_with_a_call(self) -> None:
        self.first = abs(1)
        self.second = abs(1)

    def read(self) -> None:
        if self.first and not self.second:
            raise Violation("phantoms", "half of it")


@pytest.mark.parametrize(
    ("write", "granularity", "found"),
    [
        (Pair.write, "access", True),
        (Pair.write, "gil", False),
        (Pair.write_with_a_call, "access", True),
        (Pair.write_with_a_call, "gil", True),
    ],
)
def test_what_only_an_interpreter_without_a_global_lock_could_show(
    write: Callable[[Pair], None], granularity: str, found: bool
) -> None:
    def body() -> None:
        pair = Pair()
        for error in together(lambda: write(pair), pair.read):
            if error is not None:
                raise error

    case = Program("pair", body, (__file__,), granularity)
    report = explore(case, Exhaustive(2), schedules=None)
    assert (report.found is not None) is found


def orders(search: Strategy, runs: int) -> set[str]:
    """The orders in which three threads with one point each came."""
    seen: list[str] = []

    def body() -> None:
        order: list[str] = []
        lock = threading.Lock()

        def work(name: str) -> Callable[[], None]:
            def mine() -> None:
                with lock:
                    order.append(name)

            return mine

        together(work("a"), work("b"), work("c"))
        seen.append("".join(order))

    with Runner(Program("orders", body, (), "sync")) as runner:
        for _ in range(runs):
            if not search.begin():
                break
            search.end(runner.run(search).steps)
    return set(seen)


ALL_ORDERS = {"".join(each) for each in itertools.permutations("abc")}


def test_the_exhaustive_search_tries_all_orders_and_ends() -> None:
    search = Exhaustive(2)
    assert orders(search, 10_000) == ALL_ORDERS
    assert search.exhausted


def test_the_others_try_all_orders_in_time() -> None:
    assert orders(Pct(1), 200) == ALL_ORDERS
    assert orders(RandomWalk(1), 200) == ALL_ORDERS


def test_no_interruption_allowed_means_none_made() -> None:
    search = Exhaustive(0)
    with Runner(PROGRAMS["racy"]) as runner:
        while search.begin():
            assert runner.run(search).finding is None
    assert search.exhausted


def test_the_same_seed_makes_the_same_orders() -> None:
    def choices(seed: int) -> list[list[Choice]]:
        search = Pct(seed)
        with Runner(PROGRAMS["racy"]) as runner:
            found = []
            for _ in range(20):
                search.begin()
                outcome = runner.run(search)
                search.end(outcome.steps)
                found.append(outcome.choices)
        return found

    assert choices(5) == choices(5)
    assert choices(5) != choices(6)


def test_a_short_timer_runs_out_early_only_where_that_is_asked_for() -> None:
    def body() -> None:
        event = threading.Event()
        lock = threading.Lock()

        def slow() -> None:
            for _ in range(3):
                with lock:
                    pass
            event.set()

        def wait() -> float | None:
            began = time.monotonic()
            return None if event.wait(0.5) else time.monotonic() - began

        waited = together(slow, wait)[1]
        if waited is not None:
            # Early for the others, never for who waited: the clock shows that it is over.
            raise Violation("early" if waited >= 0.5 else "clock", "the timer was first")

    case = Program("timer", body, (), "sync")
    assert explore(case, strategy("pct", seed=1), schedules=200).found is None
    for search in ("pct", "random", "dfs"):
        report = explore(case, strategy(search, seed=1, depth=1, early=0.5), schedules=200)
        assert report.found is not None, search
        assert report.found.finding == Finding("early", "the timer was first")
        assert replay(report.token, lambda _name: case)[0].finding == report.found.finding


def test_a_program_that_is_not_deterministic_is_the_schedulers_failure() -> None:
    runs = itertools.count()

    def body() -> None:
        lock = threading.Lock()

        def work() -> None:
            for _ in range(next(runs)):
                with lock:
                    pass

        together(work)

    with pytest.raises(SchedulerFailure, match="not deterministic"):
        explore(Program("test", body, (), "sync"), strategy("pct"))


def test_one_that_slips_out_of_control_later_is_noticed() -> None:
    runs = itertools.count()

    def body() -> None:
        lock = threading.Lock()

        def work() -> None:
            for _ in range(max(2, next(runs) - 50)):
                with lock:
                    pass

        together(work, work)

    case = Program("test", body, (), "sync")
    with pytest.raises(SchedulerFailure, match="the same choices took"):
        explore(case, strategy("pct"), schedules=200)


def test_an_exhaustive_search_notices_that_a_way_has_changed() -> None:
    runs = itertools.count()

    def body() -> None:
        lock = threading.Lock()

        def work() -> None:
            for _ in range(max(1, 20 - next(runs))):
                with lock:
                    pass

        together(work, work)

    def search_all() -> None:
        search = Exhaustive(2)
        with Runner(Program("test", body, (), "sync")) as runner:
            while search.begin():
                search.end(runner.run(search).steps)

    with pytest.raises(SchedulerFailure, match="has other branches"):
        search_all()


def test_progress_is_told_and_ends_with_the_result() -> None:
    seen: list[int] = []

    def tell(report: Report) -> None:
        seen.append(report.schedules)

    explore(PROGRAMS["locked"], strategy("pct"), schedules=120, progress=tell)
    assert seen == [50, 100, 120]


# -- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [Choice(0, 1, 2)],
        [Choice(1, 3, 2), Choice(1, 500, 0), Choice(2, 70_000, 1)],
        [Choice(15, 1, 14), Choice(300, 2, 1000)],
    ],
)
@pytest.mark.parametrize("name", ["name.1", "~/adapter.py:Other:name.1"])
def test_a_token_comes_back_as_it_was(name: str, choices: list[Choice]) -> None:
    token = Token(name, b"\x00\xff\x01\x02", choices)
    assert decode(encode(token)) == token


def test_a_token_of_ten_choices_has_at_most_a_hundred_characters() -> None:
    choices = [Choice(number % 5, 100 * number + 1, number % 3) for number in range(10)]
    token = encode(Token("publish+kill.2", b"abcd", choices))
    assert len(token) <= 100
    assert " " not in token


@pytest.mark.parametrize("text", ["", "a~b", "~AA~AA", "a~AA~*", "a~AA~/w==", "a~AA~Eg"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadToken):
        decode(text)


def test_a_token_for_another_source_or_program_is_refused() -> None:
    token = encode(Token("racy", b"abcd", []))
    with pytest.raises(BadToken, match="another source"):
        replay(token, PROGRAMS.__getitem__)
    with pytest.raises(BadToken, match="no program"):
        replay(token, {}.__getitem__)


SOURCE = '"""What it is."""\n\ndef f(x):\n    return x + 1\n'
SAME = '"""Else."""\n# why\ndef f(\n    x,\n):\n    "what"\n    return (x + 1)  # one more\n'


@pytest.mark.parametrize(
    ("granularity", "source", "stale"),
    [
        ("access", SAME, False),
        ("sync", SAME, False),
        ("line", SAME, True),
        ("access", SOURCE.replace("1", "2"), True),
        ("access", SOURCE.replace("f(x)", "g(x)"), True),
    ],
)
def test_what_decides_no_order_makes_no_token_stale(
    tmp_path: Path, granularity: str, source: str, stale: bool
) -> None:
    """Comments, layout and docstrings: but layout decides what a line is."""
    file = tmp_path / "code.py"
    program = Program("p", lambda: None, (f"{tmp_path}/",), granularity)
    digests = []
    for text in (SOURCE, source):
        file.write_text(text)
        digests.append(program.digest())
    assert (digests[0] != digests[1]) is stale


def test_known_tokens_are_replayed_first() -> None:
    found = explore(PROGRAMS["racy"], strategy("dfs", depth=1), schedules=500)
    again = explore(
        PROGRAMS["racy"], strategy("pct"), schedules=0, tokens=["other~AAAA~", found.token]
    )
    assert again.found is not None
    assert (again.schedules, again.token) == (1, found.token)


def test_a_choice_that_cannot_be_made_is_told() -> None:
    with Runner(PROGRAMS["racy"]) as runner:
        for choices in ([Choice(1, 2, 9)], [Choice(1, 9_999, 2)]):
            assert runner.run(Replay(choices)).diverged
        assert not runner.run(Replay([Choice(1, 2, 2)])).diverged


# -- shrinking and stories ---------------------------------------------------------------------


def test_shrinking_keeps_what_matters_and_only_that() -> None:
    needed = {Choice(1, 7, 2), Choice(2, 30, 1)}
    finding = Finding("lost_messages", "", "")

    def attempt(choices: list[Choice]) -> Outcome:
        broken = needed <= set(choices)
        return Outcome(finding if broken else None, choices=list(choices))

    noise = [Choice(3, number, 1) for number in range(20)]
    found = attempt([*noise[:10], Choice(1, 7, 2), *noise[10:], Choice(2, 30, 1)])
    assert set(shrink(found, attempt, 600).choices) == needed
    assert shrink(found, attempt, 0) is found


def test_shrinking_never_takes_another_defect_for_this_one() -> None:
    def attempt(choices: list[Choice]) -> Outcome:
        kind = "this" if len(choices) > 2 else "other"
        return Outcome(Finding("unexpected_errors", "", kind), choices=list(choices))

    found = attempt([Choice(1, number, 2) for number in range(9)])
    small = shrink(found, attempt, 600)
    assert (len(small.choices), small.finding) == (3, found.finding)


def test_the_story_names_thread_file_line_source_and_reason() -> None:
    report = explore(PROGRAMS["racy"], strategy("dfs", depth=1), schedules=500)
    assert report.found is not None
    lines = story(report.found, report.token).splitlines()
    assert lines[0] == "lost_messages: 1 of 2"
    assert any(
        "T1" in line and "test_search.py:" in line and "`self.value = seen + 1`" in line
        and "interrupted" in line and line.endswith("-> T2")
        for line in lines
    )  # fmt: skip
    assert any("waits for the end of T1" in line for line in lines)
    assert lines[-1] == f"token: {report.token}"
    assert len(lines) < 10


def test_the_story_of_nothing() -> None:
    assert story(Outcome(steps=7)) == "nothing found in 7 steps"
