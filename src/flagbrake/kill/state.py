"""One moment of the kill state, immutable: what each lane said and what counts under each policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from flagbrake.kill.convention import covering, unheard
from flagbrake.model.kill import EVERYTHING, Kill, Scope, UnknownPolicy
from flagbrake.model.manifest import Manifest

NEVER: Final = -math.inf
_STRICTEST_POLICY: Final = (UnknownPolicy.CLOSED, UnknownPolicy.LAST_KNOWN, UnknownPolicy.OPEN)


@dataclass(frozen=True, slots=True)
class Lane:
    """What one lane last said.

    ``highest`` is the highest epoch ever seen from it. A lane that reads below it is ``suspect``: something
    it had is gone, so nothing it says can be believed until it has caught up. ``stale`` is set once
    ``valid_until`` has passed. Times are ``time.monotonic()`` seconds.
    """

    name: str
    kills: tuple[Kill, ...] = ()
    epoch: int = 0
    highest: int = 0
    received_at: float = NEVER
    valid_until: float = NEVER
    stale: bool = True
    suspect: bool = False

    @property
    def known(self) -> bool:
        """May be believed now."""
        return not self.stale and not self.suspect

    def why_unknown(self) -> str:
        """One line for metadata and errors."""
        if self.suspect:
            return f"lane '{self.name}' went back from epoch {self.highest} to {self.epoch}"
        if self.received_at == NEVER:
            return f"lane '{self.name}' has not been heard yet (policy closed)"
        return f"lane '{self.name}' has gone silent (policy closed)"


@dataclass(frozen=True)
class State:
    """All lanes at one moment. Everything derived is computed once, when first asked."""

    environment: str
    at: datetime
    lanes: Mapping[str, Lane] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    policy: UnknownPolicy = UnknownPolicy.LAST_KNOWN
    policies: Mapping[Scope, UnknownPolicy] = field(default_factory=dict)

    @cached_property
    def kills(self) -> tuple[Kill, ...]:
        """Every kill any lane last said, whether that lane may be believed or not."""
        return tuple(k for lane in self.lanes.values() for k in lane.kills)

    @cached_property
    def epoch(self) -> int:
        """The highest epoch that any lane has reached."""
        return max((lane.highest for lane in self.lanes.values()), default=0)

    @cached_property
    def valid_until(self) -> float:
        """When the first lane that is still believed goes stale; infinity when none is."""
        return min((lane.valid_until for lane in self.lanes.values() if not lane.stale), default=math.inf)

    @cached_property
    def unknown(self) -> bool:
        """Some lane cannot be believed now, or there is none at all."""
        return not self.lanes or not all(lane.known for lane in self.lanes.values())

    @cached_property
    def may_close(self) -> bool:
        """Silence alone may kill something here: a policy is ``closed``."""
        closed = UnknownPolicy.CLOSED
        return (
            self.policy is closed
            or closed in self.policies.values()
            or any(d.unknown_policy is closed for d in self.manifest.declarations.values())
        )

    @cached_property
    def timed(self) -> bool:
        """Silence alone changes what is killed: a policy is ``closed`` or ``open``."""
        opened = UnknownPolicy.OPEN
        return (
            self.may_close
            or self.policy is opened
            or opened in self.policies.values()
            or any(d.unknown_policy is opened for d in self.manifest.declarations.values())
        )

    @cached_property
    def quiet(self) -> bool:
        """Nothing is killed, and neither silence nor doubt can kill anything: no clock need be asked."""
        return not self.kills and not self.may_close and not any(lane.suspect for lane in self.lanes.values())

    def policy_of(self, scope: Scope) -> UnknownPolicy:
        """The policy of the nearest scope that covers this one, else the general one."""
        if not self.policies:
            return self.policy
        covers = [s for s in self.policies if s.covers(scope)]
        return self.policies[max(covers, key=lambda s: len(s.path))] if covers else self.policy

    def policy_of_flag(self, flag: str, scopes: tuple[Scope, ...]) -> UnknownPolicy:
        """The flag's declared policy, else the strictest of its scopes'."""
        declaration = self.manifest.get(flag)
        if declaration is not None and declaration.unknown_policy is not None:
            return declaration.unknown_policy
        policies = {self.policy_of(s) for s in scopes}
        return next((p for p in _STRICTEST_POLICY if p in policies), self.policy)

    def standing(self, policy: UnknownPolicy) -> tuple[Kill, ...]:
        """The kills that count under a policy, with a stand-in that kills everything where it is closed.

        A suspect lane is closed whatever the policy says. A lane that is merely silent keeps its last known
        kills, except under ``open``, which is what ``open`` means.
        """
        found = self._standing.get(policy)
        if found is None:
            found = self._standing[policy] = self._count(policy)
        return found

    @cached_property
    def _standing(self) -> dict[UnknownPolicy, tuple[Kill, ...]]:
        return {}

    def _count(self, policy: UnknownPolicy) -> tuple[Kill, ...]:
        counted: list[Kill] = []
        lanes = self.lanes.values() or (Lane("any"),)
        for lane in lanes:
            if lane.known or lane.suspect or policy is not UnknownPolicy.OPEN:
                counted += lane.kills
            if lane.suspect or (lane.stale and policy is UnknownPolicy.CLOSED):
                why = f"the kill state is unknown: {lane.why_unknown()}"
                counted.append(
                    unheard(EVERYTHING, self.environment, lane=lane.name, why=why, at=self.at, epoch=lane.highest)
                )
        return tuple(counted)

    def covering(self, scope: Scope) -> tuple[Kill, ...]:
        """The kills that count for one scope under its own policy."""
        return covering(self.standing(self.policy_of(scope)), (scope,))

    def surely_killed(self, scope: Scope) -> bool:
        """A lane that may be believed says so."""
        return any(lane.known and covering(lane.kills, (scope,)) for lane in self.lanes.values())

    def aged(self, now: float) -> State:
        """This state with every lane whose time has passed marked stale; itself when there is none."""
        if now < self.valid_until:
            return self
        lanes = {n: replace(v, stale=True) if v.valid_until <= now else v for n, v in self.lanes.items()}
        return self._successor(lanes, self.manifest, self.at)

    def with_lane(self, lane: Lane, *, at: datetime, manifest: Manifest | None = None) -> State:
        """This state after one lane has spoken."""
        return self._successor({**self.lanes, lane.name: lane}, manifest or self.manifest, at)

    def _successor(self, lanes: Mapping[str, Lane], manifest: Manifest, at: datetime) -> State:
        new = replace(self, lanes=lanes, manifest=manifest, at=at)
        if manifest is self.manifest:
            # Refreshes come several times a second; looking through 10,000 declarations each time would show.
            new.__dict__.update(may_close=self.may_close, timed=self.timed)
        return new

    def same_as(self, other: State) -> bool:
        """Equal but for times and epochs: every question has the same answer."""
        return (
            self.manifest is other.manifest or self.manifest == other.manifest
        ) and self._answers() == other._answers()

    def _answers(self) -> list[tuple[str, tuple[Kill, ...], bool, bool]]:
        return [(v.name, v.kills, v.stale, v.suspect) for v in self.lanes.values()]
