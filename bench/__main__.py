"""Run every benchmark and print, as the last line, one JSON object of ratios. `--quick` for small sizes, or names."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

QUICK: Final[dict[str, dict[str, Any]]] = {
    "checkin": {"tablets": 500, "history": 50, "seconds": 0.5, "rounds": 2},
    "results": {"tablets": 500, "history": 50, "rounds": 2},
    "apns": {"pushes": 1500, "rounds": 3},
    "ledger": {"tablets": 1000},
    "push": {"tablets": 600},
    "urgent": {"tablets": 1500, "orders": 20, "seconds": 5.0},
    "cases": {"tablets": 1500, "cases": 20, "seconds": 5.0},
    "throttle": {"tablets": 3200, "schools": 8, "seconds": 10.0},
    "growth": {"small": 500, "large": 2000, "sample": 300},
    "usage": {"lines": 500, "months_kept": 3, "rounds": 1},
    "forecast": {"seeds": 6},
    "manifests": {"tablets": 1000, "schools": 4, "classes": 20, "exceptions": 6, "rounds": 1},
}
"""Each benchmark is a module of this package with `measure(**sizes) -> dict`; these are the sizes of a quick run."""


def _measure(name: str) -> Callable[..., dict[str, Any]]:
    measure: Callable[..., dict[str, Any]] = importlib.import_module(f"bench.{name}").measure
    return measure


def main() -> int:
    """Run the benchmarks asked for, one after the other, for they would disturb each other."""
    present = [name for name in QUICK if find_spec(f"bench.{name}") is not None]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(present)}; all when absent")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a look at whether everything runs")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(present)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for name in asked.names or present:
        started = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        found |= _measure(name)(**(QUICK[name] if asked.quick else {}))
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
