"""asv's index.html with one more page in it.

asv 0.6.6 asks a publisher for the label of a button and makes none: the page itself is changed. It
is changed at three places that must be there exactly once; otherwise asv's page is not the one
that is known here, and that is an error.
"""

from __future__ import annotations

_HEAD = "  </head>"
_NAVIGATION = '<li id="nav-li-graphdisplay">'
_DISPLAY = '<div id="regressions-display"'

_INSERTIONS = {
    _HEAD: """    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link href="invariants.css" rel="stylesheet" type="text/css"/>
    <script src="invariants_parts.js"></script>
    <script src="invariants.js"></script>
""",
    _NAVIGATION: """<li id="nav-li-invariants"><a href="#/invariants">Invariants</a></li>
        """,
    _DISPLAY: """<div id="invariants-display" hidden></div>
    """,
}


class UnknownPage(Exception):
    """asv's index.html has changed; the text says what was looked for."""


def insert(page: str) -> str:
    """The page with the navigation entry, the empty display and the script. Raises UnknownPage."""
    for anchor, text in _INSERTIONS.items():
        if page.count(anchor) != 1:
            raise UnknownPage(f"asv's index.html holds {anchor!r} {page.count(anchor)} times")
        page = page.replace(anchor, text + anchor)
    return page
