"""Plans on disk: what is read is what was written, and what is not a plan says so in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.plan import Plan, make_plan
from benchmarks.harness.planfile import PlanError, SavedPlan, load_plan, save_plan
from benchmarks.harness.scenarios import SCENARIOS, find_scenario

KILLS = "chaos_with_connection_kills"


def plan(name: str = KILLS, load: str | None = None, fault: str | None = None) -> Plan:
    return make_plan(name, find_scenario(name).load(load), 7, fault)


@pytest.mark.parametrize("name", SCENARIOS)
def test_reading_is_the_inverse_of_writing(name: str) -> None:
    made = plan(name)
    text = json.dumps(made.as_json())
    read = Plan.from_json(json.loads(text))
    assert read == made
    assert read.digest == made.digest
    assert json.dumps(read.as_json()) == text


@pytest.mark.parametrize(
    "fault",
    ["cut", "stall", "refuse", "confirm_nack", "channel_close", "consumer_cancel", "confirm_omit"],
)
def test_a_plan_with_another_fault_is_read_as_it_was(fault: str) -> None:
    made = plan(fault=fault)
    assert Plan.from_json(json.loads(json.dumps(made.as_json()))) == made


def test_a_saved_plan_says_whose_it_is(tmp_path: Path) -> None:
    saved = SavedPlan(plan(load="4x6x2"), "here/a client.py:Mine", 30.0)
    folder = tmp_path / "reports"
    path = save_plan(saved, folder)
    assert path == folder / f"plan-{KILLS}-{saved.plan.digest}.json"
    assert load_plan(str(path)) == saved
    assert save_plan(saved, folder) == path, "the same plan has the same name"
    assert [entry.name for entry in folder.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no plan: it is not JSON"),
        ("[" * 100_000, "is no plan: it is not JSON"),
        ("5", "is no plan of format 1"),
        ('{"format": 2}', "is no plan of format 1"),
        ('{"format": 1}', "names no client"),
        ('{"format": 1, "client": "x", "seconds": "long"}', "the trial's seconds are 'long'"),
        ('{"format": 1, "client": "x", "seconds": 0}', "the trial's seconds are 0"),
        ('{"format": 1, "client": "x"}', "a plan has the keys conditions, fault, faults"),
    ],
)
def test_what_is_no_plan_says_so_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(PlanError) as caught:
        load_plan(str(file))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("none.json", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=words):
        load_plan(str(tmp_path / name))


def change(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(fields)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (change(scenario="chaos"), "unknown scenario 'chaos'"),
        (change(scenario=5), "are texts"),
        (change(load="4"), "write threadsxiterationsxkill_interval"),
        (change(load="5x6x2"), "the steps do not fill the load"),
        (change(load="4x6x3"), "needs 1 faults, not 2"),
        (change(seed="7"), "the seed of a plan is a whole number, not '7'"),
        (change(seed=True), "the seed of a plan"),
        (change(fault="fire"), "unknown fault 'fire'"),
        (change(heartbeat=-1), "the heartbeat of a plan is 0 to 60 s, not -1"),
        (change(heartbeat=61), "the heartbeat of a plan is 0 to 60 s, not 61"),
        (change(more=1), "and no others"),
        (change(steps=5), "the steps of a plan are a list"),
        (change(steps=[]), "the steps do not fill the load"),
        (change(steps=[[["fly", False, 0, 1]] * 6] * 4), "not a step of a plan: ['fly', False"),
        (change(steps=[[["drain", False, -1, 1]] * 6] * 4), "not a step of a plan"),
        (change(steps=[[["drain", False, 1 << 30, 1]] * 6] * 4), "not a step of a plan"),
        (change(steps=[[["drain", False, 0, 0]] * 6] * 4), "not a step of a plan"),
        (change(steps=[[["drain", 0, 0, 1]] * 6] * 4), "not a step of a plan"),
        (change(steps=[["drain"] * 6] * 4), "not a step of a plan: 'drain'"),
        (change(faults=[[8, "rst", {}, None]]), "needs 2 faults, not 1"),
        (change(faults=[[8, "fire", {}, None]] * 2), "not a fault of a plan: [8, 'fire'"),
        (change(faults=[[8, "rst", {}, 5]] * 2), "not a fault of a plan"),
        (change(faults=[[-8, "rst", {}, None]] * 2), "not a fault of a plan"),
        (change(faults=[[16, "rst", {}, None], [8, "rst", {}, None]]), "in the order of their"),
        (change(conditions=None), "the conditions of a plan are a list"),
    ],
)
def test_a_plan_that_was_edited_wrongly_is_refused(
    edit: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = plan(load="4x6x2").as_json()
    edit(document)
    with pytest.raises(ValueError) as caught:  # PlanError, or what the scenarios say of a load
        Plan.from_json(document)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_may_be_made_smaller_by_hand() -> None:
    document = plan(load="4x6x2").as_json()
    document["steps"][0][0] = ["publish", True, 100, 1]
    document["faults"][0][3] = {"direction": "to_broker", "frame": "any", "nth": 1, "where": 3}
    read = Plan.from_json(document)
    assert read.steps[0][0].unroutable
    assert read.digest != plan(load="4x6x2").digest
