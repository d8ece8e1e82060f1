"""Runs a benchmark by its module's name."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def names() -> list[str]:
    """The benchmarks there are."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if not name.startswith("_") and name not in {"vendor_floor", "vendors"})


def main(argv: list[str]) -> int:
    """Run ``NAME`` with the remaining arguments."""
    if not argv or argv[0] not in names():
        print(f"Name one of: {', '.join(names())}.", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"tests.bench.{argv[0]}").main(argv[1:]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
