"""Fetch the libraries of the pages beforehand: ``python -m asv_invariants [CACHE]``.

With them in the cache, ``asv publish`` needs no network. Exit status 2 when they cannot be had.
"""

from __future__ import annotations

import sys
from pathlib import Path

from asv_invariants.vendor import VendorError, fetch

if __name__ == "__main__":
    try:
        print(fetch(Path(sys.argv[1] if len(sys.argv) > 1 else ".asv/vendor")))
    except VendorError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
