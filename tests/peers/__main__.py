"""``make peers``: ``python -m tests.peers --write`` in an environment that has the published providers.

Without ``--write`` nothing is stored. ``--only NAME`` runs one provider and keeps what is stored of the others.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from flagbrake_contract import EventsContract, ProviderContract
from tests.peers.catalogue import HOMES, peer
from tests.peers.page import page
from tests.peers.runner import ROOT, run

STORED = ROOT / "docs" / "proofs" / "comparison.json"
PAGE = ROOT / "docs" / "comparison.md"
COMMAND = "make peers"


def rules() -> list[str]:
    """What a provider and its events must do; what a harness declares is no affair of a provider."""
    asserted = [*ProviderContract.contract_rules(), *EventsContract.contract_rules()]
    return [rule.id for rule in asserted if rule.area != "harness"]


def compare(names: list[str], wanted: list[str]) -> dict[str, Any]:
    """Run these providers, one after the other."""
    found: dict[str, Any] = {}
    for name in names:
        subject = peer(name)
        began = time.monotonic()
        result = run(name, [rule for rule in wanted if not subject.only or rule.startswith(subject.only)])
        counts: dict[str, int] = {}
        for one in result.values():
            counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
        took = time.monotonic() - began
        print(f"{name}: {counts}, {took:.0f} s", flush=True)
        found[name] = {
            "title": subject.title,
            "packages": {package: version(package) for package in subject.packages},
            "how": subject.how,
            "ours": subject.ours,
            "cannot": {capability.value: why for capability, why in subject.cannot.items()},
            "seconds": round(took, 1),
            "rules": result,
        }
    return found


def stored(result: dict[str, Any]) -> str:
    """One line for each rule, so that two runs can be compared by eye."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    return re.sub(r"\{\n\s+(\"outcome\"[^\n]*(?:\n\s+\"[^\n]*)*)\n\s+\}", _one_line, text) + "\n"


def _one_line(found: re.Match[str]) -> str:
    return "{" + re.sub(r"\n\s+", " ", found.group(1)) + "}"


def main(argv: list[str] | None = None) -> int:
    """Run, print, store. What a provider breaks never fails this program."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(HOMES), help="one provider (may be repeated)")
    parser.add_argument("--rule", action="append", help="rules that begin so (may be repeated); never stored")
    parser.add_argument("--write", action="store_true", help="write docs/comparison.md and docs/proofs/comparison.json")
    parser.add_argument("--page", action="store_true", help="write the page anew from the stored result")
    options = parser.parse_args(argv)
    if options.page:
        PAGE.write_text(page(json.loads(STORED.read_text("utf-8"))), encoding="utf-8")
        return 0
    if options.write and options.rule:
        parser.error("--write stores whole runs: leave out --rule")
    wanted = [rule for rule in rules() if not options.rule or rule.startswith(tuple(options.rule))]
    found = compare(options.only or list(HOMES), wanted)
    if options.rule:
        for name, result in found.items():
            for rule, one in result["rules"].items():
                print(f"{name} {rule}: {one}")
    if not options.write:
        return 0
    kept = json.loads(STORED.read_text("utf-8"))["providers"] if options.only and STORED.exists() else {}
    result = {
        "proof": "comparison",
        "command": COMMAND,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "contract": version("flagbrake-contract"),
        "openfeature-sdk": version("openfeature-sdk"),
        "rules": len(wanted),
        "providers": {name: {**kept, **found}[name] for name in HOMES if name in {**kept, **found}},
    }
    STORED.parent.mkdir(parents=True, exist_ok=True)
    STORED.write_text(stored(result), encoding="utf-8")
    PAGE.write_text(page(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
