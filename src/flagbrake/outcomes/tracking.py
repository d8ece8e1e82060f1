"""From ``client.track(name, context, details)`` to an outcome."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from flagbrake.kill.runtime import Recorder
from flagbrake.model.outcome import Outcome, Result
from flagbrake.outcomes.run import RUN, Run, current_run
from flagbrake.outcomes.token import RunToken, unit_hash

_FALSE = frozenset({"false", "no", "0", "failure", "failed", "error"})


@dataclass(frozen=True, slots=True)
class Tracker:
    """What the guard calls for every tracked event.

    An event becomes an outcome if its attributes name ``flag`` and ``variant``, or if it happens inside a
    run. Optional attributes: ``run_id`` (several events of one run), ``version`` (the flag's), ``ok`` or
    ``success`` (a boolean), ``error`` (its type; means a failure). The event's value is the outcome's value.
    Everything else is left to the provider.
    """

    queue: Recorder
    environment: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __call__(self, name: str, context: EvaluationContext | None, details: TrackingEventDetails | None) -> None:
        """Queue the outcome, if the event is one."""
        found = outcome_of(name, context, details, environment=self.environment, now=self.now(), run=current_run())
        if found is not None:
            self.queue.put(found)


def outcome_of(
    name: str,
    context: EvaluationContext | None,
    details: TrackingEventDetails | None,
    *,
    environment: str,
    now: datetime,
    run: Run | None = None,
) -> Outcome | None:
    """The outcome a tracked event stands for, ``None`` if it names no flag and variant and no run is on."""
    attributes: Mapping[str, Any] = (details.attributes if details is not None else None) or {}
    flag, variant = attributes.get("flag"), attributes.get("variant")
    if not name or name == RUN:
        return None
    inside = RunToken.parse(run.token) if run is not None and run.token and flag in {None, run.flag} else None
    if inside is not None and variant in {None, inside.variant} and not attributes.get("run_id"):
        token = inside
    elif isinstance(flag, str) and flag and isinstance(variant, str) and variant:
        version = attributes.get("version")
        token = RunToken(
            str(attributes.get("run_id") or uuid.uuid4().hex),
            environment,
            flag,
            version if type(version) is int else 0,
            variant,
            unit_hash(context.targeting_key if context is not None else None, environment),
            now,
        )
    else:
        return None
    error = str(attributes.get("error") or "")
    value = details.value if details is not None else None
    return Outcome(
        run_id=token.run_id,
        flag=token.flag,
        variant=token.variant,
        revision=token.version,
        unit=token.unit,
        started_at=token.started_at,
        finished_at=now,
        result=Result.FAILURE if error or _said_no(attributes) else Result.SUCCESS,
        metric=name,
        error_type=error[:200],
        value=float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None,
    )


def _said_no(attributes: Mapping[str, Any]) -> bool:
    for name in ("ok", "success"):
        said = attributes.get(name)
        if said is not None:
            return said.strip().lower() in _FALSE if isinstance(said, str) else not said
    return False
