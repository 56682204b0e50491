"""What asv does that the gate and the pages rely on, tried on the asv that is installed.

An asv that changes any of it fails here, and not in silence on a published page.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from asv import plugin_manager
from asv.benchmarks import Benchmarks
from asv.commands.compare import Compare
from asv.config import Config
from asv.plugins.regressions import Regressions
from asv.results import Results, iter_results_paths
from asv.util import UserError

from asv_invariants import Invariants
from tests.asv_invariants.site import ROOT, asv_publish
from tests.gate.planted import HISTORIES, Planted, found, new_repository, six_histories

NAME = "stability.ChaosNoDeadlock.track_violations"
LISTS = [["'10x100'", "'50x100'"], ["'deadlocks'", "'crashes'"]]


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    made = new_repository(tmp_path / "scratch", commits=2)
    made.configure()
    return made


def config(planted: Planted) -> Any:
    conf = Config.load(str(planted.folder / "asv.conf.json"))
    conf.results_dir = str(planted.results)
    return conf


# -- what is stored ------------------------------------------------------------------------------


def test_a_file_is_named_after_eight_digits_and_the_environment(planted: Planted) -> None:
    path = planted.plant(1, found(1, []))
    assert path.name == f"{planted.commits[1][:8]}-virtualenv-py3.11-amqp.json"
    assert list(iter_results_paths(str(planted.results))) == [
        (str(path.parent), path.name, "bench1")
    ]


def test_failed_skipped_and_absent_look_like_this(planted: Planted) -> None:
    values = {("10x100", "deadlocks"): None, ("50x100", "crashes"): math.nan}
    path = planted.plant(1, lambda name, p: values.get(p, 0) if name == NAME else 0)
    result = Results.load(str(path))
    lists = [*LISTS[:1], [*LISTS[1], "'wishes'"]]
    shown = [str(value) for value in result.get_result_value(NAME, lists)]
    assert shown == ["None", "0", "None", "0", "nan", "None"], "absent cannot be told from failed"
    assert [str(v) for v in json.loads(path.read_text())["results"][NAME][0][:1]] == ["None"]


def test_a_benchmark_that_failed_altogether_is_one_null(planted: Planted) -> None:
    path = planted.plant(1, lambda name, p: None if name == NAME else 0)
    assert json.loads(path.read_text())["results"][NAME][0] is None
    assert Results.load(str(path)).get_result_value(NAME, LISTS) == [None] * 4


def test_another_version_is_no_key_and_none_is_one(planted: Planted) -> None:
    known = Benchmarks.load(config(planted))
    older = Results.load(str(planted.plant(1, found(1, []), version="older")))
    assert older.get_result_keys(known) == set()
    older._benchmark_version[NAME] = None
    assert older.get_result_keys(known) == {NAME}


def test_standard_error_is_not_stored(planted: Planted) -> None:
    assert "stderr" not in planted.plant(1, found(1, [])).read_text()


@pytest.mark.parametrize("content", ["{", "", "{}", '{"version": 1}', '{"version": 9}'])
def test_a_malformed_file_is_a_user_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m" / "x.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        Results.load(str(path))


# -- what it says of two commits -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "worse", "rows"),
    [
        pytest.param(0, 1, True, 1, id="a rise"),
        pytest.param(5, 5, False, 0, id="the same violations"),
        pytest.param(10, 11, False, 0, id="a rise by a tenth"),
        pytest.param(0, math.nan, False, 0, id="skipped"),
        pytest.param(0, None, True, 1, id="failed"),
        pytest.param(None, None, False, 0, id="failed on both sides"),
    ],
)
def test_continuous_hides_violations(
    planted: Planted,
    capsys: pytest.CaptureFixture[str],
    before: float | None,
    after: float | None,
    worse: bool,
    rows: int,
) -> None:
    """The table of ``asv continuous``, which decides its exit status."""
    key = ("10x100", "deadlocks")
    for number, value in enumerate((before, after)):

        def planted_value(name: str, p: tuple[str, ...], value: float | None = value) -> Any:
            return value if (name, p) == (NAME, key) else 0

        planted.plant(number, planted_value)
    worsened, _ = Compare.print_table(
        config(planted),
        *planted.commits,
        factor=1.1,
        split=False,
        only_changed=True,
        machine="bench1",
    )
    table = capsys.readouterr().out
    assert (worsened, table.count(NAME)) == (worse, rows)


def test_its_own_regressions_miss_most_histories(tmp_path: Path) -> None:
    planted = six_histories(tmp_path / "scratch")
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    stored = json.loads((planted.html / "regressions.json").read_text())["regressions"]
    names = {entry[0] for entry in stored}
    listed = {
        history.name
        for history in HISTORIES.values()
        if f"stability.{history.key[0]}.track_violations('{history.key[1]}', '{history.key[2]}')"
        in names
    }
    assert listed == {"new"}
    assert all(len(entry) == 7 and len(entry[6][0]) == 4 for entry in stored)


# -- plugins ---------------------------------------------------------------------------------------


def test_a_plugin_without_the_leading_dot_is_ignored_in_silence() -> None:
    manager = plugin_manager.PluginManager()
    manager.import_plugin("asv_invariants")
    assert manager._plugins == []
    configured = Config.load(str(ROOT / "asv.conf.json")).plugins
    assert configured == [".asv_invariants"]


def test_the_publisher_comes_behind_asvs_own() -> None:
    assert Invariants.order > Regressions.order == 3
    others = [kind for kind in Invariants.__base__.__subclasses__() if kind is not Invariants]
    assert max(kind.order for kind in others) < Invariants.order


def test_publish_empties_the_site_first(planted: Planted) -> None:
    planted.plant(1, found(1, []))
    (planted.html / "invariants").mkdir(parents=True)
    (planted.html / "invariants" / "stale.json").write_text("{}")
    assert asv_publish(planted).returncode == 0
    assert not (planted.html / "invariants").exists()
    assert (planted.html / "index.html").is_file()
