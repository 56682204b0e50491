"""An asv plugin: the page *Invariants* in the published site, and the site without the internet.

asv imports it by the line ``"plugins": [".asv_invariants"]`` of asv.conf.json, in its own
interpreter; without the leading dot it would be ignored in silence. It runs in ``asv publish``
alone and measures nothing. What it cannot read it reports by name and goes on; where asv's pages
are not those that it knows, it stops, so that nobody looks at a page that has lost its warnings.
"""

from asv_invariants.publisher import Invariants
from asv_invariants.tolerance import report_unreadable

__all__ = ["Invariants"]


def setup() -> None:
    """Called by asv once the plugin is imported."""
    report_unreadable()
