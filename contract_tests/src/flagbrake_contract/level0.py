"""Level 0: kills and declarations from the vendor's own flags, without a store, on the adapter under test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import OpenFeatureError
from openfeature.provider import FeatureProvider

from flagbrake.kill.board import Board
from flagbrake.kill.flags import FlagKills
from flagbrake.kill.guard import Guard
from flagbrake.model.kill import KillSnapshot, Liveness, Scope
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.reserved import kill_flag, manifest_flag
from flagbrake.ports.kills import KillView
from flagbrake.ports.provider import FlagProvider
from flagbrake_contract.ask import Answer, ask, shown, succeeds
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.concurrency import _in_child
from flagbrake_contract.guarding import ENVIRONMENT, METADATA, killed
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Broken, Said, area, holds, rule, same

area(
    "level0",
    "Level 0: kills from the vendor's own flags",
    repair="give the provider keys(): every key it holds in memory now; and guard it with "
    "Guard(provider, board, flags=FlagKills(provider, environment=...))",
)

SAFE: Final = "another text"
#: Seconds without a look, for rules that only events may serve.
_NEVER: Final = 3600.0


@dataclass(slots=True)
class Zero:
    """A guard whose only lane is the vendor's flags, over a provider of the adapter under test."""

    h: Harness
    inner: FlagProvider
    board: Board
    guard: FeatureProvider
    declared: dict[str, Declaration]
    emitted: list[tuple[ProviderEvent, ProviderEventDetails]] = field(default_factory=list)

    def name(self, scope: str) -> str:
        """The vendor's name for the kill of a scope."""
        return kill_flag(Scope.parse(scope), dot=self.inner.reserved_dot)

    def turn(self, scope: str, *, on: bool = True) -> str:
        """Turn the kill flag of a scope on or off in the vendor; return its name."""
        name = self.name(scope)
        self.h.serving(True, key=name, on=on)
        return name

    def ask(self, key: str, default: Any = "default") -> Answer:
        """Through the guard."""
        return ask(self.guard, key, default)

    def awaits(self, key: str, value: Any) -> None:
        """The flag comes to serve a value."""
        self.h.eventually(
            lambda: self.ask(key).value == value, expected=f"{value!r}", came=lambda: shown(self.ask(key))
        )


@contextmanager
def zero(
    h: Harness, *declarations: Declaration, trust: float = 60.0, every: float = 0.25, started: bool = True
) -> Iterator[Zero]:
    """The adapter under test, guarded by the flag lane alone."""
    inner = h.make_provider()
    if not isinstance(inner, FlagProvider):
        raise Broken(Said("a FlagProvider"), Said(type(inner).__name__), "what makes kills out of flags")
    declared = {d.flag: d for d in declarations}
    board = Board(ENVIRONMENT, manifest=Manifest(declared))
    guard = Guard(inner, board, flags=FlagKills(inner, environment=ENVIRONMENT, trust=trust, every=every))
    made = Zero(h, inner, board, guard, declared)
    if not started:
        try:
            yield made
        finally:
            guard.shutdown()
        return
    with h.session(guard) as session:
        made.emitted = session.emitted
        yield made


def _safe(h: Harness, **rest: Any) -> Declaration:
    """A new flag that serves x, declared with the safe variant ``other``."""
    return Declaration(h.serving("x").key, safe_variant="other", safe_value=SAFE, **rest)


@rule(Cap.KEYS, witness=True)
def level0_keys(h: Harness) -> None:
    """The provider tells the keys that it holds: those at its start, and those that come later."""
    first = h.serving("x").key
    with h.session() as session:
        keys: Callable[[], Any] = getattr(session.provider, "keys", lambda: None)

        def told(key: str) -> bool:
            return key in (keys() or ())

        holds(told(first), expected=f"keys() with '{first}'", came=_shortened(keys()))
        second = h.serving("y").key
        h.eventually(lambda: told(second), expected=f"keys() with '{second}'", came=lambda: _shortened(keys()))


def _shortened(keys: Any) -> str:
    return "None" if keys is None else f"{len(keys)} keys without it"


@rule(Cap.KEYS)
def level0_safe_variant(h: Harness) -> None:
    """A boolean flag `kill.flag.KEY` that is on kills KEY: its safe variant, reason DISABLED, no error."""
    flag = _safe(h)
    with zero(h, flag) as z:
        same(z.ask(flag.flag).value, "x")
        z.turn(f"flag:{flag.flag}")
        z.awaits(flag.flag, SAFE)
        answer = succeeds(z.ask(flag.flag))
        same((str(answer.reason), answer.variant), ("DISABLED", "other"))


@rule(Cap.KEYS)
def level0_metadata(h: Harness) -> None:
    """The answer of a flag killed so has the metadata of every kill, and names the vendor flag that killed it."""
    flag = _safe(h)
    with zero(h, flag) as z:
        name = z.turn(f"flag:{flag.flag}")
        z.awaits(flag.flag, SAFE)
        metadata = z.ask(flag.flag).flag_metadata
        same([key for key in METADATA if key not in metadata], [], "missing metadata")
        same((metadata["killed"], metadata["kill_scope"]), (True, f"flag:{flag.flag}"))
        for key in ("kill_id", "kill_reason"):
            holds(name in str(metadata[key]), expected=f"'{name}'", came=repr(metadata[key]), about=key)


@rule(Cap.KEYS)
def level0_lifted(h: Harness) -> None:
    """Turned off, the flag gives back the answer from before; and so three times."""
    flag = _safe(h)
    with zero(h, flag) as z:
        before = str(shown(z.ask(flag.flag)))
        for _ in range(3):
            z.turn(f"flag:{flag.flag}")
            z.awaits(flag.flag, SAFE)
            z.turn(f"flag:{flag.flag}", on=False)
            z.awaits(flag.flag, "x")
            same(str(shown(z.ask(flag.flag))), before)


@rule(Cap.KEYS)
def level0_everything(h: Harness) -> None:
    """`kill.everything` kills every flag, the undeclared ones too."""
    one, two = _safe(h), _safe(h)
    bare = h.serving("x").key
    with zero(h, one, two) as z:
        try:
            z.turn("*")
            z.awaits(one.flag, SAFE)
            same(z.ask(two.flag).value, SAFE)
            same(z.ask(bare).flag_metadata.get("safe"), "undeclared")
        finally:
            z.turn("*", on=False)
        z.awaits(one.flag, "x")


@rule(Cap.KEYS)
def level0_other_flags(h: Harness) -> None:
    """A kill flag of one flag, on or off, leaves the others alone."""
    one, two, three = _safe(h), _safe(h), _safe(h)
    with zero(h, one, two, three) as z:
        z.turn(f"flag:{three.flag}", on=False)
        z.turn(f"flag:{one.flag}")
        z.awaits(one.flag, SAFE)
        for other in (two, three):
            answer = succeeds(z.ask(other.flag))
            same((answer.value, answer.flag_metadata.get("killed")), ("x", None))


@rule(Cap.KEYS)
def level0_scopes(h: Harness) -> None:
    """`kill.agent.NAME` kills the flags declared for that agent and for what is under its path, no others."""
    agent = h.key("agent")
    exact, under, beside = (
        _safe(h, scopes=(Scope.parse(f"agent:{path}"),)) for path in (agent, f"{agent}.tools", f"{agent}2")
    )
    with zero(h, exact, under, beside) as z:
        z.turn(f"agent:{agent}")
        z.awaits(exact.flag, SAFE)
        same([z.ask(d.flag).value for d in (under, beside)], [SAFE, "x"])


@rule(Cap.KEYS)
def level0_names(h: Harness) -> None:
    """A scope with blanks, underscores and letters of other scripts is killed under its escaped name."""
    path = f"{h.key('tenant')}_Å & B"
    flag = _safe(h, scopes=(Scope.parse(f"tenant:{path}"),))
    with zero(h, flag) as z:
        z.turn(f"tenant:{path}")
        z.awaits(flag.flag, SAFE)
        same(z.ask(flag.flag).flag_metadata.get("kill_scope"), f"tenant:{path}")


@rule(Cap.KEYS)
def level0_wrong_type(h: Harness) -> None:
    """A kill flag that is no boolean cannot be read: it counts as killed."""
    flag = _safe(h)
    with zero(h, flag) as z:
        h.serving("false", key=z.name(f"flag:{flag.flag}"))
        z.awaits(flag.flag, SAFE)


@rule(Cap.KEYS)
def level0_other_names(h: Harness) -> None:
    """A team's own flag whose name only begins as a kill's does (`kill.switch.payments`) kills nothing."""
    one, two = _safe(h), _safe(h)
    with zero(h, one, two) as z:
        dot = z.inner.reserved_dot
        h.serving(True, key=dot.join(("kill", "switch", h.key("payments"))))
        z.turn(f"flag:{one.flag}")
        z.awaits(one.flag, SAFE)
        same(z.ask(two.flag).value, "x")


@rule(Cap.KEYS)
def level0_before_start(h: Harness) -> None:
    """A kill that stands in the vendor before the start is in force when `initialize` returns."""
    flag = _safe(h)
    with zero(h, flag, every=_NEVER, started=False) as z:
        z.turn(f"flag:{flag.flag}")
        z.guard.initialize(EvaluationContext())
        same(z.ask(flag.flag).value, SAFE)


@rule(Cap.KEYS, Cap.CONFIGURATION_CHANGE)
def level0_told(h: Harness) -> None:
    """A kill flag takes effect with the provider's event, not at the next look; the guard tells which flags it hit."""
    flag = _safe(h)
    with zero(h, flag, every=_NEVER) as z:
        z.turn(f"flag:{flag.flag}")
        z.awaits(flag.flag, SAFE)
        h.eventually(
            lambda: any(flag.flag in (d.flags_changed or ()) for _, d in z.emitted),
            expected=f"an event that names {flag.flag}",
            came=lambda: [(e.name, d.flags_changed) for e, d in z.emitted],
        )


@rule(Cap.KEYS)
def level0_looked_for(h: Harness) -> None:
    """A kill flag of which nobody tells is found all the same, by looking."""
    flag = _safe(h)
    with zero(h, flag, started=False) as z:
        # Never attached to an event sink: nothing is told.
        z.guard.initialize(EvaluationContext())
        z.turn(f"flag:{flag.flag}")
        z.awaits(flag.flag, SAFE)


@rule(Cap.KEYS)
def level0_plain_answers(h: Harness) -> None:
    """Asked by an application, reserved flags answer as all others do."""
    with zero(h) as z:
        scope = f"tool:{h.key('tool')}"
        name = z.turn(scope)
        h.eventually(lambda: z.ask(name, False).value is True, expected="True", came=lambda: shown(z.ask(name, False)))
        z.turn(scope, on=False)
        h.eventually(lambda: z.ask(name, True).value is False, expected="False", came=lambda: shown(z.ask(name, True)))
        same(succeeds(z.ask(name, True)).flag_metadata.get("killed"), None)


@rule(Cap.KEYS)
def level0_union(h: Harness) -> None:
    """Lanes add up: a flag is killed as long as the store or the vendor's flag says so."""
    flag = _safe(h)
    with zero(h, flag) as z:

        def store(epoch: int, *kills: Any) -> None:
            z.board.receive(KillView(KillSnapshot(ENVIRONMENT, epoch, kills), Manifest(), float("inf")), lane="store")

        z.turn(f"flag:{flag.flag}")
        z.awaits(flag.flag, SAFE)
        store(1, killed(f"flag:{flag.flag}"))
        z.turn(f"flag:{flag.flag}", on=False)
        scope = Scope.parse(f"flag:{flag.flag}")

        def lanes() -> set[str]:
            return {kill.lane for kill in z.board.standing() if kill.scope == scope}

        h.eventually(lambda: lanes() == {"store"}, expected="the kill of the store alone", came=lanes)
        same(z.ask(flag.flag).value, SAFE)
        store(2)
        z.awaits(flag.flag, "x")


@rule(Cap.KEYS, Cap.OBJECT)
def level0_declarations(h: Harness) -> None:
    """The object flag `flagbrake.manifest` declares safe variants and scopes; it is followed when it changes."""
    key, agent = h.serving("x").key, h.key("agent")
    with zero(h) as z:
        entry = {"safe_variant": "other", "safe_value": SAFE, "scopes": [f"agent:{agent}"]}
        _declare(z, {key: entry})
        z.turn(f"agent:{agent}")
        z.awaits(key, SAFE)
        same(z.ask(key).variant, "other")
        _declare(z, {key: {**entry, "safe_variant": "served", "safe_value": "x"}})
        h.eventually(lambda: z.ask(key).variant == "served", expected="served", came=lambda: shown(z.ask(key)))


def _declare(z: Zero, flags: dict[str, Any]) -> None:
    z.h.serving({"flags": flags}, key=manifest_flag(dot=z.inner.reserved_dot))


@rule(Cap.KEYS, Cap.OBJECT)
def level0_bad_declaration(h: Harness) -> None:
    """A declaration that cannot be read spoils no other in the same flag."""
    bad, good = h.serving("x").key, h.serving("x").key
    with zero(h) as z:
        # Not the off variant, which serves where nothing is declared.
        _declare(z, {bad: {"safe": 1}, good: {"safe_variant": "served", "safe_value": "x"}})
        z.turn(f"flag:{good}")
        h.eventually(
            lambda: z.ask(good).flag_metadata.get("killed"), expected="a kill", came=lambda: shown(z.ask(good))
        )
        same((z.ask(good).value, z.ask(good).variant), ("x", "served"))


@rule(Cap.KEYS, Cap.OBJECT)
def level0_own_declarations_last(h: Harness) -> None:
    """What the vendor's manifest flag declares goes before what this process's own settings declare."""
    key = h.serving("x").key
    with zero(h, Declaration(key, safe_variant="served", safe_value="x")) as z:
        _declare(z, {key: {"safe_variant": "other", "safe_value": SAFE}})
        z.turn(f"flag:{key}")
        z.awaits(key, SAFE)


@rule(Cap.KEYS, Cap.STALE)
def level0_vendor_away(h: Harness) -> None:
    """The vendor is cut off: what is killed stays killed, what is alive stays alive, and both become UNKNOWN."""
    one, two = _safe(h), _safe(h)
    with zero(h, one, two, trust=1.0) as z:
        z.turn(f"flag:{one.flag}")
        z.awaits(one.flag, SAFE)
        with h.broken():
            h.eventually(lambda: _life(z, two) is Liveness.UNKNOWN, expected="UNKNOWN", came=lambda: _life(z, two))
            same((z.ask(one.flag).value, z.ask(two.flag).value), (SAFE, "x"))
        h.eventually(lambda: _life(z, two) is Liveness.ALIVE, expected="ALIVE again", came=lambda: _life(z, two))
        same(z.ask(one.flag).value, SAFE)


def _life(z: Zero, flag: Declaration) -> Liveness:
    return z.board.liveness(f"flag:{flag.flag}").state


@rule(Cap.KEYS, Cap.UNAVAILABLE_INIT)
def level0_vendor_never_there(h: Harness) -> None:
    """With the vendor away at the start nobody knows what is killed: UNKNOWN, never ALIVE."""
    with h.broken(), zero(h, started=False) as z:
        try:
            z.guard.initialize(EvaluationContext())
        except OpenFeatureError:
            same(z.board.liveness("agent:any").state, Liveness.UNKNOWN)


@rule(Cap.KEYS, Cap.FORK)
def level0_fork(h: Harness) -> None:
    """After a fork the child still sees kill flags that are turned on."""
    flag = _safe(h)
    with zero(h, flag) as z:
        same(z.ask(flag.flag).value, "x")
        reading, writing = os.pipe()

        def child() -> str:
            os.read(reading, 1)
            if h.in_process:
                z.turn(f"flag:{flag.flag}")
            pause = threading.Event()
            for _ in range(int(h.patience / 0.02)):
                if z.ask(flag.flag).value == SAFE:
                    break
                pause.wait(0.02)
            return str(z.ask(flag.flag).value)

        def turn() -> None:
            if not h.in_process:
                z.turn(f"flag:{flag.flag}")
            os.write(writing, b"!")

        came = _in_child(child, h.patience + 5, then=turn)
        os.close(reading)
        os.close(writing)
    holds(came == SAFE, expected=SAFE, came=came)
