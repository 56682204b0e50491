"""``python -m benchmarks.harness VERB``."""

from benchmarks.harness.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
