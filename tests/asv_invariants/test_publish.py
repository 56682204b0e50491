"""``asv publish`` with the plugin: what it writes, and results that nobody expects."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asv_invariants.publisher import CACHE
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.records import record_folder
from tests.asv_invariants.site import PLUGIN, asv_publish, use_libraries
from tests.gate.planted import (
    HISTORIES,
    MACHINE,
    ZEROS,
    Planted,
    benchmark,
    found,
    keep_record,
    new_repository,
)

ATOM = "{http://www.w3.org/2005/Atom}"
NAME = "stability.ChaosNoDeadlock.track_violations"


def document(planted: Planted) -> Any:
    return json.loads((planted.html / "invariants" / "index.json").read_text())


@pytest.fixture
def planted(tmp_path: Path, packages: Path) -> Planted:
    """Three commits, all sound, and the libraries at hand."""
    made = new_repository(tmp_path / "scratch", commits=3)
    made.configure(PLUGIN)
    for number in range(3):
        made.plant(number, found(number, []))
    use_libraries(made, packages)
    return made


# -- regressions and feed, of the six histories --------------------------------------------------


def test_every_violation_is_among_the_regressions(site: Planted) -> None:
    stored = json.loads((site.html / "regressions.json").read_text())["regressions"]
    shown = {entry[0]: [jump[3] for jump in entry[6]] for entry in stored}
    expected = {
        f"stability.{h.key[0]}.track_violations('{h.key[1]}', '{h.key[2]}')": [
            now for old, now in zip((0, *h.values), h.values, strict=False) if now and now != old
        ]
        for h in HISTORIES.values()
    }
    assert {name: jumps for name, jumps in shown.items() if "violations" in name} == expected
    assert len(stored) == len(shown), "an entry stands there twice"
    for entry in stored:
        assert (site.html / entry[1]).is_file(), "the graph of an entry"


def test_every_violation_is_in_the_feed(site: Planted) -> None:
    feed = ET.parse(site.html / "regressions.xml").getroot()
    titles = [entry.findtext(f"{ATOM}title", "") for entry in feed.iter(f"{ATOM}entry")]
    for history in HISTORIES.values():
        name, load, invariant = history.key
        title = f"stability.{name}.track_violations('{load}', '{invariant}')"
        rises = sum(
            bool(now and now != old)
            for old, now in zip((0, *history.values), history.values, strict=False)
        )
        assert sum(title in text for text in titles) == rises, titles
    identities = [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")]
    assert len(set(identities)) == len(identities)


def test_no_page_names_another_host(site: Planted) -> None:
    for path in site.html.glob("*.html"):
        for line in path.read_text().splitlines():
            if "http" in line:
                assert "<a href" in line or "http-equiv" in line, f"{path.name}: {line}"


# -- what nobody expects -------------------------------------------------------------------------


def change(path: Path, with_: Callable[[Any], object]) -> None:
    stored = json.loads(path.read_text())
    with_(stored)
    path.write_text(json.dumps(stored))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_text(path.read_text()[:999]), id="cut off"),
        pytest.param(lambda path: path.write_text("[]"), id="a list"),
        pytest.param(lambda path: change(path, lambda d: d.pop("results")), id="a field missing"),
        pytest.param(lambda path: change(path, lambda d: d.update(results=None)), id="no results"),
        pytest.param(lambda path: change(path, lambda d: d.update(version=1)), id="older"),
        pytest.param(lambda path: change(path, lambda d: d.update(date="today")), id="a date"),
        pytest.param(
            lambda path: change(path, lambda d: d["results"].update({NAME: [["x"], [["'1'"]]]})),
            id="a word for a value",
        ),
        pytest.param(
            lambda path: change(path, lambda d: d["results"].update({NAME: 3})), id="a number"
        ),
    ],
)
def test_a_malformed_result_is_named_and_the_rest_is_published(
    planted: Planted, spoil: Callable[[Path], object]
) -> None:
    path = planted.plant(1, found(1, []))
    spoil(path)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    # asv breaks its lines where a terminal would end.
    assert path.name in done.stdout.replace("\n", "")
    page = document(planted)
    assert [commit["hash"] for commit in page["commits"]] == [
        planted.commits[2],
        planted.commits[0],
    ]
    assert any(path.name in line for line in page["problems"])


def test_an_outdated_result_is_not_measured(planted: Planted) -> None:
    planted.plant(2, found(2, []), version="older")
    assert asv_publish(planted).returncode == 0
    [sheet] = document(planted)["sheets"]
    assert sheet["rows"][0] == [None] * ZEROS
    reasons = set(sheet["reasons"][planted.commits[2]].values())
    assert reasons == {"measured with an outdated version of the benchmark"}
    assert sheet["rows"][1] == [0] * ZEROS


def test_a_list_of_benchmarks_without_units_and_versions(planted: Planted) -> None:
    for row in planted.suite:
        del row["unit"], row["version"]
    planted.configure(PLUGIN)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    assert [sheet["columns"] for sheet in document(planted)["sheets"]] == [[]]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}', '{"format": 1}'])
def test_a_malformed_record_is_named(planted: Planted, content: str) -> None:
    path = keep_record(planted, 2, None, [1.0, 2.0])
    path.write_text(content)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    page = document(planted)
    assert [path.name in line for line in page["problems"]] == [True]
    assert page["sheets"][0]["recovery"][0]["max"] is None


@pytest.mark.parametrize(
    "spoil",
    [
        {"runs": {"1000": [{}]}},
        {"runs": {"1000": 3}},
        {"runs": {"1000": [{"recoveries_ms": ["x"]}]}},
        {"runs": [{"1000": []}]},
        {"planned": "x"},
        {"scenario": 3},
    ],
)
def test_a_record_with_odd_contents_is_named(planted: Planted, spoil: dict[str, Any]) -> None:
    planted.plant(2, lambda name, _: 1 if name.startswith("stability.Rep") else 0)
    path = keep_record(planted, 2, None, [1.0, 2.0])
    change(path, lambda record: record.update(spoil))
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    assert any(path.name in line for line in document(planted)["problems"])


@pytest.mark.parametrize("cycles", [[float("nan")], [float("inf")]])
def test_a_recovery_without_end_is_no_record(planted: Planted, cycles: list[float]) -> None:
    path = keep_record(planted, 2, None, cycles)
    assert asv_publish(planted).returncode == 0
    assert any(path.name in line for line in document(planted)["problems"])


def test_results_of_another_machine_without_records(planted: Planted) -> None:
    planted.plant(2, lambda name, _: 1 if name == NAME else 0, machine="other")
    two = 2 * len(INVARIANTS)  # the loads of that benchmark
    assert asv_publish(planted).returncode == 0
    sheets = document(planted)["sheets"]
    assert [sheet["machine"] for sheet in sheets] == [MACHINE, "other"]
    assert [sheet["graph"]["machine"] for sheet in sheets] == [MACHINE, "other"]
    assert sheets[1]["rows"] == [[1] * two + [0] * (ZEROS - two), None, None]
    assert sheets[1]["witnesses"] == {}


def test_a_record_under_the_name_of_the_host(planted: Planted) -> None:
    """asv's name of a machine may be another than that of its host."""
    path = keep_record(planted, 2, None, [1.0, 4.0])
    shutil.move(path.parent.parent, path.parent.parent.with_name("host"))
    assert asv_publish(planted).returncode == 0
    assert document(planted)["sheets"][0]["recovery"][0]["max"] == 4.0


@pytest.mark.parametrize("reached", [True, False])
def test_a_commit_that_is_on_no_branch_is_shown(planted: Planted, reached: bool) -> None:
    """asv's own pages leave it out."""
    planted.git("checkout", "--quiet", "--detach", planted.commits[0])
    planted.commit("beside", 1)
    if reached:
        planted.git("branch", "beside")
    planted.git("checkout", "--quiet", "main")
    key = ("50x100", "crashes")
    planted.plant(3, lambda name, p: 2 if (name, p) == (NAME, key) else 0)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    page = document(planted)
    row = next(n for n, c in enumerate(page["commits"]) if c["hash"] == planted.commits[3])
    assert page["commits"][row]["graph"] is False
    assert sum(page["sheets"][0]["rows"][row]) == 2
    stored = json.loads((planted.html / "regressions.json").read_text())["regressions"]
    title = f"{NAME}('50x100', 'crashes')"
    shown = [(entry[0], entry[4], [jump[3] for jump in entry[6]]) for entry in stored]
    assert shown == ([(title, 2, [2])] if reached else [])
    assert all((planted.html / entry[1]).is_file() for entry in stored)
    assert (title in (planted.html / "regressions.xml").read_text()) is reached


def test_commits_lead_to_where_the_configuration_says(planted: Planted) -> None:
    assert asv_publish(planted).returncode == 0
    assert {commit["url"] for commit in document(planted)["commits"]} == {None}, "# is no address"
    path = planted.folder / "asv.conf.json"
    address = "https://example.org/commit/"
    path.write_text(
        path.read_text().replace('"show_commit_url": "#"', f'"show_commit_url": "{address}"')
    )
    assert asv_publish(planted).returncode == 0
    assert [commit["url"] for commit in document(planted)["commits"]] == [
        address + commit for commit in reversed(planted.commits)
    ]


def test_no_results_at_all(tmp_path: Path, packages: Path) -> None:
    planted = new_repository(tmp_path / "scratch", commits=1)
    planted.configure(PLUGIN)
    use_libraries(planted, packages)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    assert document(planted)["sheets"] == []


def test_benchmarks_without_parameters_and_without_violations(
    tmp_path: Path, packages: Path
) -> None:
    planted = new_repository(tmp_path / "scratch", commits=1)
    planted.suite = [benchmark("x.X.track_y", "violations", {}), benchmark("x.time_z", "s", {})]
    planted.configure(PLUGIN)
    use_libraries(planted, packages)
    planted.plant(0, lambda name, _: 2)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    [sheet] = document(planted)["sheets"]
    assert [(c["scenario"], c["load"], c["invariant"]) for c in sheet["columns"]] == [
        ("X", "", "y")
    ]
    assert sheet["rows"] == [[2]]


def test_without_libraries_it_says_so_and_goes_on(planted: Planted, tmp_path: Path) -> None:
    shutil.rmtree(planted.folder / CACHE)
    git = shutil.which("git")
    assert git is not None
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(git)
    done = asv_publish(planted, PATH=str(programs))
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "the published pages need the internet: npm is not installed" in said
    page = (planted.html / "index.html").read_text()
    assert "https://code.jquery.com/" in page
    assert "nav-li-invariants" in page
    # Once the libraries are there, the next publish is whole.
    assert not (planted.html / "vendor").exists()


def test_a_record_is_found_by_what_asv_tells_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.harness.records import keep

    for name in ("ASV_CONF_DIR", "ASV_COMMIT", "ASV_ENV_NAME", "ASV_ENV_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert keep("s", 1, {}) is None
    monkeypatch.setenv("ASV_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("ASV_COMMIT", "c" * 40)
    monkeypatch.setenv("ASV_ENV_NAME", "virtualenv-py3.11-" + "x" * 300)
    monkeypatch.setattr("platform.node", lambda: "../a host")
    path = keep("s", 6, {"10x100": []})
    assert path is not None
    folder = record_folder(tmp_path, "../a host", "c" * 40, "virtualenv-py3.11-" + "x" * 300)
    assert path == folder / "s-6.json"
    assert folder.parent.parent == tmp_path / ".asv" / "records"
    assert json.loads(path.read_text())["runs"] == {"10x100": []}


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        pytest.param({"commit_hash": "b" * 40, "version": 1}, "b" * 40, id="what is installed"),
        pytest.param({"commit_hash": None}, "c" * 40, id="nothing is"),
        pytest.param({}, "c" * 40, id="an older form"),
        pytest.param([], "c" * 40, id="another form"),
        pytest.param(None, "c" * 40, id="no note"),
    ],
)
def test_a_record_belongs_to_the_commit_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: object, expected: str
) -> None:
    """Of two environments that share an installation asv tells one the commit of before."""
    from benchmarks.harness.records import keep

    if note is not None:
        (tmp_path / "asv-install-status.json").write_text(json.dumps(note))
    for name, value in (("CONF_DIR", tmp_path), ("COMMIT", "c" * 40), ("ENV_NAME", "e")):
        monkeypatch.setenv(f"ASV_{name}", str(value))
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path))
    path = keep("s", 6, {})
    assert path is not None
    assert json.loads(path.read_text())["commit"] == expected
    assert path.parent.name.startswith(expected[:16])


def test_a_record_that_cannot_be_written_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.harness.records import keep

    (tmp_path / ".asv").write_text("a file where a folder should be")
    monkeypatch.setenv("ASV_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("ASV_COMMIT", "c" * 40)
    monkeypatch.setenv("ASV_ENV_NAME", "e")
    assert keep("s", 6, {}) is None
    assert "could not be written" in capsys.readouterr().err
