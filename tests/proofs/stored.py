"""The command of a proof: what it takes, what it prints, and its last full result in ``docs/proofs/NAME.json``.

A proof ends with::

    def prove(pairs: int, seed: int) -> Proved:
        wrong, reasons = compare(pairs, seed)
        return twin(pairs, seed, wrong, reasons)  # of a proof that compares no pairs: Proved(facts, wrong)


    if __name__ == "__main__":
        raise SystemExit(command("acme-twin", __doc__, prove, pairs=100_000, seed=1))

which makes ``python -m tests.proofs.acme_twin [--pairs N] [--seed N] [--json] [--store]``, exits 1 when anything is
wrong and shows the first three things that are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "proofs"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One question that was answered differently: all that it takes to ask it again."""

    asked: str
    context: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.asked}\n{self.context}\nours   {self.ours}\ntheirs {self.theirs}"


@dataclass(frozen=True, slots=True)
class Proved:
    """What a run of a proof found."""

    #: What is stored and printed as JSON, in this order.
    facts: Mapping[str, Any]
    #: What speaks against it, each as it is shown; nothing where the proof holds.
    wrong: Sequence[object] = ()
    #: The same for people, in a line or a table; without it they are given the JSON.
    said: str = ""


def counted(counter: Mapping[str, int]) -> dict[str, int]:
    """A counter as it is stored."""
    return dict(sorted(counter.items()))


def twin(
    pairs: int, seed: int, wrong: Sequence[Disagreement], reasons: Counter[str], **counts: int | Mapping[str, int]
) -> Proved:
    """What a run found that asked pairs of flag and context of both sides; ``counts`` is what else came up."""
    facts = {
        "pairs": pairs,
        "seed": seed,
        **{name: counted(n) if isinstance(n, Mapping) else n for name, n in counts.items()},
        "reasons": counted(reasons),
        "disagreements": len(wrong),
    }
    return Proved(facts, wrong, f"{pairs:,} pairs, {len(wrong)} disagreements; {dict(reasons)}")


def command(
    name: str, about: str | None, prove: Callable[..., Proved], argv: list[str] | None = None, **options: float
) -> int:
    """Run a proof as its command line says.

    Args:
        name: as in ``docs/proofs/NAME.json``; the module is called the same, with underscores.
        about: the help, which is the module's docstring.
        prove: called with the options, by their names.
        argv: what follows the command; that of this process unless given.
        options: what the command takes besides ``--json`` and ``--store``, with its defaults.
    """
    given = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog=f"tests.proofs.{name.replace('-', '_')}", description=about)
    for option, default in options.items():
        parser.add_argument(f"--{option}", type=type(default), default=default)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--store", action="store_true", help=f"write {name}.json")
    wanted = vars(parser.parse_args(given))
    as_json, store = wanted.pop("json"), wanted.pop("store")
    began = time.monotonic()
    proved = prove(**wanted)
    result = {
        "proof": name,
        "command": " ".join(["python -m", parser.prog, *(word for word in given if word != "--json")]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - began, 1),
        **proved.facts,
    }
    if store:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result) if as_json or not proved.said else proved.said)
    for one in proved.wrong[:3]:
        print(f"\n{one}", file=sys.stderr)
    return 1 if proved.wrong else 0


def last(name: str) -> dict[str, Any]:
    """The last full result that was stored, empty where there is none yet."""
    file = FOLDER / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found
