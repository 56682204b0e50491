"""What ``asv publish`` calls: the page *Invariants*, the regressions, the libraries.

It comes behind asv's own publishers, because it changes what they wrote.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asv.console import log
from asv.publishing import OutputPublisher
from asv.results import iter_results_paths
from asv.util import UserError

from asv_invariants import records, regressions, vendor
from asv_invariants.document import Measured, Sheet, bins, finite, sheet_document
from asv_invariants.index_page import UnknownPage, insert
from benchmarks.harness.gate_results import cells_of, load, place

_STATIC = Path(__file__).resolve().parent / "static"
#: Where libraries are kept between two runs, beside asv's own folders.
CACHE = Path(".asv", "vendor")


class Invariants(OutputPublisher):  # type: ignore[misc]
    """asv finds it as a subclass; ``order`` 4 is behind *Regressions*."""

    name = "invariants"
    button_label = "Invariants"
    description = "Every violation, commit by commit"
    order = 4

    @classmethod
    def publish(
        cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Mapping[str, int]
    ) -> None:
        """Write the page. Raises UserError when asv's own page is not the one known here."""
        site = Path(conf.html_dir)
        problems: list[str] = []
        sheets, dates = _read(conf, benchmarks, graphs, problems)
        commits = _order(dates, revisions)
        _write(site, conf, benchmarks, sheets, commits, dates, graphs, revisions, problems)
        count = regressions.publish(conf, benchmarks, graphs, revisions, sheets)
        _page(site)
        for problem in problems:
            log.warning(problem)
        log.info(f"{count} entries among the regressions are violations")


def _read(
    conf: Any, benchmarks: Any, graphs: Any, problems: list[str]
) -> tuple[list[Sheet], dict[str, int]]:
    """All sheets, and the date (ms) of each commit, from files that can be read."""
    sheets: dict[tuple[str, str], Sheet] = {}
    dates: dict[str, int] = {}
    several = {name for name, values in graphs.get_params().items() if len(values) > 1}
    for folder, name, machine in sorted(iter_results_paths(conf.results_dir)):
        result = load(Path(folder) / name, machine, problems)
        if result is None:
            continue
        machine, environment, label = place(result)
        key = (machine, environment)
        if key not in sheets:
            every = {**result.params, **{f"env-{k}": v for k, v in result.env_vars.items()}}
            graph = {name: str(value) for name, value in every.items() if name in several}
            sheets[key] = Sheet(machine, environment, label, graph)
        commit = result.commit_hash
        kept = records.read(Path.cwd(), machine, commit, environment, problems)
        sheets[key].measured[commit] = Measured(commit, list(cells_of(result, benchmarks)), kept)
        dates[commit] = result.date
    order = sorted(sheets.values(), key=lambda s: (s.label, s.machine, s.environment))
    return order, dates


def _order(dates: Mapping[str, int], revisions: Mapping[str, int]) -> list[str]:
    """The newest first, in git's order; what git no longer reaches, by its date."""
    known = sorted((commit for commit in dates if commit in revisions), key=revisions.__getitem__)
    places = {commit: float(number) for number, commit in enumerate(known)}
    for commit in dates:
        if commit not in places:
            places[commit] = sum(dates[other] <= dates[commit] for other in known) - 0.5
    return sorted(dates, key=lambda commit: (places[commit], dates[commit]), reverse=True)


def _write(
    site: Path,
    conf: Any,
    benchmarks: Any,
    sheets: list[Sheet],
    commits: list[str],
    dates: Mapping[str, int],
    graphs: Any,
    revisions: Mapping[str, int],
    problems: list[str],
) -> None:
    edges = bins(sheets)
    drawn = regressions.drawn(graphs)
    # asv's default for "no such address" is "#", which would lead to a page that is not there.
    address = conf.show_commit_url if conf.show_commit_url.strip("#") else None
    folder = site / "invariants"
    folder.mkdir()
    documents = []
    for number, sheet in enumerate(sheets):
        document, texts = sheet_document(sheet, commits, benchmarks, edges)
        documents.append(document)
        for commit, found in texts.items():
            path = folder / f"{number}-{commit}.json"
            path.write_text(json.dumps(finite(found), allow_nan=False))
    whole = {
        "commits": [
            {
                "hash": commit,
                "date": dates[commit],
                "url": address and address + commit,
                "graph": revisions.get(commit) in drawn,
            }
            for commit in commits
        ],
        "edges": edges,
        "sheets": documents,
        "problems": problems,
    }
    (folder / "index.json").write_text(json.dumps(finite(whole), allow_nan=False))


def _page(site: Path) -> None:
    for path in _STATIC.iterdir():
        shutil.copyfile(path, site / path.name)
    index = site / "index.html"
    page = index.read_text(encoding="utf-8")
    try:
        page = insert(page)
    except UnknownPage as error:
        raise UserError(str(error)) from error
    try:
        local, libraries = vendor.localise(page)
        vendor.install(vendor.fetch(CACHE), libraries, site)
        page = local
    except vendor.VendorError as error:
        # The pages work, but with the internet only: that is no reason to have none.
        log.error(f"the published pages need the internet: {error}")
    index.write_text(page, encoding="utf-8")
