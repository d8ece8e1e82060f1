"""One provider in a process of its own: ``python -m tests.peers.child NAME DESCRIPTOR``, rule ids on standard input.

Each rule gets a harness of its own, unless the peer shares one. What came of it goes to the descriptor, one JSON
object a line, at once: whoever started this process ends it when a rule does not end.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from flagbrake_contract import Outcome, Verdict, all_rules, judge
from flagbrake_contract.rules import Broken, Rule
from tests.peers.catalogue import peer
from tests.peers.kit import NotExpressible, Peer

#: Beside the contract's own outcomes.
NOT_EXPRESSIBLE = "not expressible"


def main(name: str, descriptor: int, wanted: list[str]) -> None:
    """Run the rules."""
    logging.disable(logging.NOTSET)
    logging.lastResort = None  # vendors' logs are no finding; the rules about logs install handlers of their own
    subject = peer(name)
    rules = {rule.id: rule for rule in all_rules()}
    chosen = [rules[rule_id] for rule_id in wanted]
    # Each rule its own harness, or all of them one.
    for batch in [chosen] if subject.shared else [[rule] for rule in chosen]:
        _run(subject, batch, descriptor)


def _run(subject: Peer, batch: list[Rule], descriptor: int) -> None:
    left = list(batch)
    _tell(descriptor, rule=left[0].id, state="begun")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            with subject.harness(Path(folder)) as harness, harness:
                while left:
                    rule = left[0]
                    _tell(descriptor, rule=rule.id, state="begun")
                    NotExpressible.seen.clear()
                    found = finding(judge(rule, harness))
                    _tell(descriptor, rule=rule.id, state="done", **found)
                    left.pop(0)
        except BaseException as error:
            if left:
                came = f"{type(error).__name__}: {error}"
                _tell(descriptor, rule=left[0].id, state="done", outcome="failed", expected="a harness", came=came)
            if not isinstance(error, Exception):
                raise


def finding(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data."""
    if verdict.outcome is Outcome.PASSED:
        return {"outcome": "passed"}
    if verdict.outcome is Outcome.SKIPPED:
        return {"outcome": "cannot", "came": verdict.message}
    if NotExpressible.seen:
        return {"outcome": NOT_EXPRESSIBLE, "came": NotExpressible.seen[0]}
    cause = verdict.cause
    if isinstance(cause, Broken):
        expected, came = cause.expected, cause.came
        if cause.about:
            came = f"{cause.about}: {came}"
    else:
        expected, came = "the rule holds", f"{type(cause).__name__}: {cause}"
    made = {"outcome": "failed", "expected": expected, "came": came}
    if verdict.outcome is Outcome.DEVIATION:
        made["tracked"] = verdict.message
    return made


def _tell(descriptor: int, **data: Any) -> None:
    os.write(descriptor, (json.dumps(data, ensure_ascii=True) + "\n").encode())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1], int(sys.argv[2]), sys.stdin.read().split())
    sys.stdout.flush()
    os._exit(0)  # some vendors' threads outlive everything
