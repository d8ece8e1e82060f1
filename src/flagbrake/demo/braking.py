"""The acts about the brake: one kill for all workers, one restore."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from flagbrake.demo.settings import FLAG, SCOPE
from flagbrake.demo.stage import OPERATOR, Stage
from flagbrake.model.codec import checksum, dumps, flag_to_data
from flagbrake.model.state import FlagState
from flagbrake.model.words import counted

_SILENCE_NS: Final = 2_000_000_000
_PATIENCE_SECONDS: Final = 30.0


def kill(stage: Stage) -> None:
    """One command stops all of them, in the middle of what they do."""
    show, workers, account = stage.show, stage.workers, stage.account
    switch = stage.plane.switch
    preview = switch.preview(SCOPE)
    covered = ", ".join(f"{flag.flag} (then {flag.serves})" for flag in preview.covered or ())
    show.say(f"it would cover {covered}; {counted(len(preview.live or ()), 'live process')}")
    started = time.monotonic_ns()
    receipt = switch.kill(SCOPE, by=OPERATOR, reason="answers must stop now")
    confirmed = time.monotonic_ns()
    stage.crew.wait(
        lambda: all((worker.last("halted", "stopped") or 0) > started for worker in workers),
        seconds=_PATIENCE_SECONDS,
        why="the stop of every worker",
    )
    stops = sorted((worker.last("halted", "stopped") - started) / 1e6 for worker in workers)
    calls = sum(worker.last("halted", "calls") for worker in workers)
    show.say(f"the workers stopped after {', '.join(f'{ms:.1f}' for ms in stops)} ms", "bold")
    show.say(f"the command: killed, confirmed by {receipt.hearing}")
    show.say(f'worker-1: "{workers[0].last("halted", "why")}"')
    served = {worker.last("halted", "served") for worker in workers}
    reasons = {worker.last("halted", "reason") for worker in workers}
    show.say(f"OpenFeature now answers {', '.join(sorted(served))}, reason {', '.join(sorted(reasons))}")
    quiet_from = time.monotonic_ns()
    stage.crew.wait(
        lambda: all((worker.last("beat", "at") or 0) > quiet_from + _SILENCE_NS for worker in workers),
        seconds=_PATIENCE_SECONDS,
        why="two seconds of silence",
    )
    more = sum(worker.last("beat", "calls") for worker in workers) - calls
    show.say(f"two seconds later, their loops still turning: {more} further tool calls")
    account.fact("kill to last worker stopped", f"{stops[-1]:.1f} ms")
    account.fact("kill to confirmed by all", f"{(confirmed - started) / 1e6:.0f} ms")
    held = more == 0 and receipt.hearing.complete
    account.promise("one kill stopped all four workers, and no tool was called after it", held=held)
    account.promise("a killed flag serves its safe variant", held=served == {"v1"} and reasons == {"DISABLED"})


def restore(stage: Stage, before: FlagState, versions_before: set[str]) -> None:
    """One command brings back exactly what was there: ``before``, and the versions that answered."""
    show, workers, account = stage.show, stage.workers, stage.account
    started = time.monotonic_ns()
    stage.plane.switch.restore(SCOPE, by=OPERATOR, reason="looked into, all is well")
    stage.crew.wait(
        lambda: all((worker.last("resumed", "at") or 0) > started for worker in workers),
        seconds=_PATIENCE_SECONDS,
        why="the return of every worker",
    )
    # A vendor tells its flag to the processes in its own time; until then they serve what is safe.
    stage.crew.wait(
        lambda: all(
            worker.last("beat", "version") in versions_before
            and (worker.last("beat", "at") or 0) > worker.last("resumed", "at")
            for worker in workers
        ),
        seconds=_PATIENCE_SECONDS,
        why="every worker to answer with what was there before",
    )
    back = max(worker.last("resumed", "at") - started for worker in workers) / 1e6
    after = stage.plane.control.read(FLAG)
    standing = stage.plane.store.kills.read().kills
    show.facts([("before the kill", _print_of(before)), ("after the restore", _print_of(after))])
    versions = {worker.last("beat", "version") for worker in workers}
    show.say(f"all workers answer again, with {', '.join(sorted(versions))}; the last after {back:.0f} ms", "bold")
    account.fact("restore to last worker back", f"{back:.0f} ms")
    held = _definition(before) == _definition(after) and not standing and versions == versions_before
    account.promise("restore brought back exactly what was there", held=held)


def _print_of(state: FlagState) -> str:
    """The flag as the provider keeps it, in one line: its version and the checksum of its definition."""
    return f"version {state.version}, definition {_definition(state)}"


def _definition(state: FlagState) -> str:
    # Without the version: a vendor whose flag was switched off for the kill has counted its writes.
    return checksum(dumps(flag_to_data(replace(state.flag, version=0))))
