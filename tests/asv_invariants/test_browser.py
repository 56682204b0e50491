"""The published site in a real browser: each page, the six histories, no network, no error.

Skipped where Chromium or Playwright is missing. ``CHROMIUM`` names another program. Screenshots
are written to ``reports/screenshots``, which git ignores.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asv_invariants.site import (
    PLUGIN,
    ROOT,
    asv_publish,
    recoveries,
    served,
    use_libraries,
)
from tests.gate.planted import COMMITS, HISTORIES, History, Planted, found, new_repository

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Headless, as root in a container, and quiet: no request of the browser's own.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
#: Milliseconds for one step: the machine may be busy with a benchmark.
PATIENCE = 20_000
SCREENSHOTS = ROOT / "reports" / "screenshots"
STOCK = {
    "grid": ("#/", "#summarygrid-display .benchmark-container"),
    "list": ("#/summarylist", "#summarylist-body table tbody tr"),
    "regressions": ("#/regressions", "#regressions-body tbody tr"),
    "graph": ("#stability.ChaosNoDeadlock.track_violations", "#main-graph canvas"),
    "times": ("#throughput.Publish.time_publish", "#main-graph canvas"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: install it (Debian: chromium), or name it in CHROMIUM")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(site: Planted) -> Iterator[str]:
    with served(site.html) as found:
        yield found


class Visit:
    """One page of the browser, and everything that went wrong on it."""

    def __init__(self, browser: Any, address: str, width: int = 1280, scheme: str = "light"):
        self.address = address
        self.wrong: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"no {request.url}"))
        self.page.on("response", self._response)
        self.context.route("**/*", self._route)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")

    def _route(self, route: Any) -> None:
        if route.request.url.startswith(self.address):
            route.continue_()
        else:
            self.wrong.append(f"asked the network for {route.request.url}")
            route.abort()

    def go(self, where: str, wait_for: str) -> None:
        self.page.goto(f"{self.address}/index.html{where}")
        self.page.locator(wait_for).first.wait_for()

    def invariants(self) -> None:
        self.go("#/invariants", "#invariants-display .matrix")

    def shot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    made = Visit(browser, address)
    yield made
    made.context.close()
    assert made.wrong == []


def in_words(value: float) -> str:
    return f"{value:g}"


# -- the six histories -----------------------------------------------------------------------


@pytest.mark.parametrize("history", HISTORIES.values(), ids=lambda history: history.name)
def test_each_history_is_there_in_whole(visit: Visit, history: History) -> None:
    visit.invariants()
    scenario, load, invariant = history.key
    card = visit.page.locator(".story").filter(
        has=visit.page.locator(".where", has_text=f"{scenario} {load}")
    )
    card = card.filter(has=visit.page.locator("strong", has_text=invariant))
    exact = [c for c in card.all() if c.locator("strong").inner_text() == invariant]
    assert len(exact) == 1
    assert exact[0].is_visible()
    texts = exact[0].locator(".strip .cell").all_inner_texts()
    assert texts == [in_words(value or 0) for value in history.values]
    kinds = {"blip": "recovered", "crash": "recovered", "hang": "recovered"}
    kind = kinds.get(history.name, history.name)
    assert exact[0].locator(".told > span").first.inner_text() == kind


def test_the_matrix_holds_what_the_results_hold(visit: Visit, site: Planted) -> None:
    """Every cell, against the numbers in asv's own files."""
    visit.invariants()
    shown = visit.page.evaluate(
        """() => [...document.querySelectorAll('.matrix tbody tr')].map(row =>
            [row.querySelector('th').title,
             ...[...row.querySelectorAll('td .cell')].map(cell => cell.textContent)])"""
    )
    stored: dict[str, list[str]] = {}
    for path in site.results.glob("*/*-*.json"):
        result = json.loads(path.read_text())
        row = stored.setdefault(result["commit_hash"], [])
        for benchmark in site.suite:
            if benchmark["unit"] == "violations":
                values = result["results"][benchmark["name"]][0]
                row += ["fail" if value is None else in_words(value) for value in values]
    expected = [[commit, *stored[commit]] for commit in reversed(site.commits)]
    assert shown == expected
    assert {len(row) for row in shown} == {1 + 49}


def test_recovery_and_throughput_are_those_of_the_results(visit: Visit, site: Planted) -> None:
    visit.invariants()
    cells = visit.page.locator(".times tbody tr").first.locator("td").all_inner_texts()
    [path] = site.results.glob(f"*/{site.commits[-1][:8]}-*.json")
    stored = json.loads(path.read_text())["results"]
    p50, p99 = stored["recovery.RepeatedRecovery.track_percentile"][0]
    assert cells[:3] == [f"{p50:.2f} ms", f"{p99:.2f} ms", f"{80 + COMMITS - 1:.1f} ms"]
    seconds = [
        *stored["throughput.Chaos.time_operations"][0],
        *stored["throughput.Publish.time_publish"][0],
    ]
    assert [text.strip() for text in cells[4:]] == [f"{s * 1000:.0f} ms" for s in seconds]
    drawing = visit.page.locator(".times tbody tr").first.locator("svg")
    told = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {80 + COMMITS - 1:.1f} ms"
    assert drawing.get_attribute("aria-label") == told
    assert len(recoveries(0)) == 1000
    assert drawing.locator("rect").count() > 5


def test_witnesses_are_one_click_away_and_are_text(visit: Visit, site: Planted) -> None:
    visit.invariants()
    visit.page.locator(".strip .cell.bad").first.click()
    panel = visit.page.locator(".panel-cell")
    panel.locator("pre").first.wait_for()
    texts = panel.locator("pre").all_inner_texts()
    assert texts == [
        f"seed 1, invalid: <b>witness</b> of new at commit {COMMITS - 1}",
        "run it again: python -m benchmarks.harness run chaos_no_deadlock --load 10x100 --seed 1",
    ]
    assert panel.locator("code.whole").inner_text() == site.commits[-1]
    # The same cell by its address alone.
    where = visit.page.url
    visit.page.goto("about:blank")
    visit.page.goto(where)
    visit.page.locator(".panel-cell pre").first.wait_for()
    visit.page.keyboard.press("Escape")
    assert visit.page.locator(".panel-cell").count() == 0


def test_a_cell_leads_to_its_graph(visit: Visit) -> None:
    visit.invariants()
    visit.page.locator(".strip .cell.bad").first.click()
    visit.page.locator(".panel-cell a", has_text="graph").click()
    visit.page.locator("#main-graph canvas").first.wait_for()
    assert visit.page.locator("#title").inner_text() == "stability.ChaosNoDeadlock.track_violations"
    assert visit.page.locator("#invariants-display").is_hidden()


# -- asv's own pages, without the internet -------------------------------------------------------


@pytest.mark.parametrize("name", STOCK)
def test_asvs_own_pages_work_without_the_internet(visit: Visit, name: str) -> None:
    where, shown = STOCK[name]
    visit.go(where, shown)
    assert visit.page.locator("#invariants-display").is_hidden()
    visit.shot(f"asv-{name}")


def test_every_violation_is_on_the_regressions_page(visit: Visit) -> None:
    where, shown = STOCK["regressions"]
    visit.go(where, shown)
    rows = visit.page.locator("#regressions-body tbody tr").all_inner_texts()
    for history in HISTORIES.values():
        name, load, invariant = history.key
        title = f"stability.{name}.track_violations('{load}', '{invariant}')"
        values = [float(row.split("\t")[5].split()[0]) for row in rows if title in row]
        rises = [
            now
            for old, now in zip((0, *history.values), history.values, strict=False)
            if now and now != old
        ]
        assert sorted(values) == sorted(rises), title


def test_the_navigation_leads_there_and_back(visit: Visit) -> None:
    visit.go("#/", STOCK["grid"][1])
    visit.page.locator("#nav-li-invariants a").click()
    visit.page.locator(".matrix").wait_for()
    assert visit.page.locator("#nav-li-invariants").get_attribute("class") == "active"
    assert visit.page.locator("#summarygrid-display").is_hidden()
    visit.page.locator("#nav-li-regressions a").click()
    visit.page.locator(STOCK["regressions"][1]).first.wait_for()
    assert visit.page.locator("#invariants-display").is_hidden()


# -- other sites ---------------------------------------------------------------------------------


def test_two_brokers_and_what_was_not_measured(
    browser: Any, tmp_path: Path, packages: Path
) -> None:
    planted = new_repository(tmp_path / "scratch", commits=2)
    planted.matrix["env_nobuild"] = {"BROKER": ["embedded", "rabbitmq"]}
    planted.configure(PLUGIN)
    planted.plant(0, found(0, []), variables={"BROKER": "embedded"})
    planted.plant(
        1,
        lambda name, p: math.nan if "percentile" in name or p[-1:] == ("crashes",) else 7,
        variables={"BROKER": "rabbitmq"},
    )
    use_libraries(planted, packages)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    with served(planted.html) as address:
        visit = Visit(browser, address)
        visit.invariants()
        heads = visit.page.locator("#invariants-display h2").all_inner_texts()
        assert [head.split()[0] for head in heads] == ["embedded", "rabbitmq"]
        second = visit.page.locator("#invariants-display section").nth(1)
        cells = second.locator(".matrix tbody tr").all_inner_texts()
        assert [row.split()[-7:] for row in cells] == [["7"] * 6 + ["–"]]
        assert "7 not measured" in second.locator(".newest").inner_text()
        second.locator(".matrix .cell.bad").first.click()
        visit.page.locator(".panel-cell a", has_text="graph").click()
        visit.page.locator("#main-graph canvas").first.wait_for()
        visit.context.close()
        assert visit.wrong == []


def test_a_site_without_results(browser: Any, tmp_path: Path, packages: Path) -> None:
    planted = new_repository(tmp_path / "scratch", commits=1)
    planted.configure(PLUGIN)
    use_libraries(planted, packages)
    assert asv_publish(planted).returncode == 0
    with served(planted.html) as address:
        visit = Visit(browser, address)
        visit.go("#/invariants", "#invariants-display p")
        texts = visit.page.locator("#invariants-display p").all_inner_texts()
        assert texts[-1] == "Nothing was measured yet."
        visit.context.close()
        assert visit.wrong == []


# -- how it looks ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen(browser: Any, address: str, width: int, scheme: str) -> None:
    visit = Visit(browser, address, width, scheme)
    visit.invariants()
    visit.shot(f"invariants-{width}-{scheme}")
    wide = visit.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page scrolls sideways; only its tables may"
    top = visit.page.locator("#invariants-display h1").bounding_box()["y"]
    assert top >= visit.page.locator("#nav").bounding_box()["height"], "hidden by the navigation"
    for selector in (".matrix", ".times"):
        visit.page.locator(selector).scroll_into_view_if_needed()
        visit.shot(f"invariants-{width}-{scheme}{selector}")
    visit.page.locator(".strip .cell.bad").first.click()
    visit.page.locator(".panel-cell pre").first.wait_for()
    visit.shot(f"invariants-{width}-{scheme}-cell")
    assert contrast(visit, ".matrix .cell.zero") >= 4.5
    assert contrast(visit, ".matrix .cell.bad") >= 3.8
    visit.context.close()
    assert visit.wrong == []


def contrast(visit: Visit, selector: str) -> float:
    """The ratio of luminances of text and ground, as the Web Content Accessibility Guidelines."""
    pair = visit.page.locator(selector).first.evaluate(
        "cell => [getComputedStyle(cell).color, getComputedStyle(cell).backgroundColor]"
    )
    light, dark = sorted(map(_luminance, pair), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
