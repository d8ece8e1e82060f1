"""The kill convention, rule by rule, on the guard over the adapter under test."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.provider import FeatureProvider

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.model.clause import Attribute, Op
from flagbrake.model.flag import Rule, Targets, ramp
from flagbrake.model.kill import Kill, KillMode, KillSnapshot, Scope, ScopeKind
from flagbrake.model.manifest import Declaration, Manifest, ScopeAttribute
from flagbrake.model.values import MISMATCH, FlagKind
from flagbrake.ports.kills import KillView
from flagbrake.ports.provider import FlagProvider
from flagbrake_contract.ask import DEFAULTS, ask, ask_async, fails_with, run, shown, succeeds, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import area, holds, rule, same
from flagbrake_contract.targeting import when

ENVIRONMENT: Final = "contract"
METADATA: Final = ("killed", "kill_id", "kill_scope", "kill_reason", "kill_epoch")


area(
    "kills",
    "Kills",
    repair="wrap the provider in flagbrake.kill.guard.Guard and let nothing of the provider answer before it",
)


@dataclass(slots=True)
class Guarded:
    """A guard over a started provider, and the means to kill."""

    guard: FeatureProvider
    board: Board
    declarations: dict[str, Declaration] = field(default_factory=dict)
    epoch: int = 0
    emitted: list[tuple[ProviderEvent, ProviderEventDetails]] = field(default_factory=list)

    def show(self, *kills: Kill, valid_until: float = math.inf) -> None:
        """The kills that stand from now on; none lifts all."""
        self.epoch += 1
        manifest = Manifest(MappingProxyType(dict(self.declarations)))
        self.board.receive(KillView(KillSnapshot(ENVIRONMENT, self.epoch, kills), manifest, valid_until))

    def kill(self, scope: str, **rest: Any) -> Kill:
        """One kill stands, and no other."""
        made = killed(scope, epoch=self.epoch + 1, **rest)
        self.show(made)
        return made

    def declare(self, flag: str, **rest: Any) -> None:
        """Declare a flag; it takes effect with the next :meth:`show`."""
        self.declarations[flag] = Declaration(flag, **rest)


def killed(scope: str, *, epoch: int = 1, **rest: Any) -> Kill:
    """A kill with everything filled in."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    rest.setdefault("id", f"k-{epoch}")
    return Kill(
        scope=Scope.parse(scope), environment=ENVIRONMENT, reason="it burns", by="ann", at=at, epoch=epoch, **rest
    )


@contextmanager
def guarded(h: Harness) -> Iterator[Guarded]:
    """The adapter under test, guarded and started."""
    board = Board(ENVIRONMENT)
    guard = Guard(h.make_provider(), board)
    with h.session(guard) as session:
        made = Guarded(session.provider, board, emitted=session.emitted)
        made.show()
        yield made


def _safe(h: Harness, g: Guarded, value: Any = "x", **rest: Any) -> str:
    """A flag that serves ``value`` and whose declared safe variant is ``other``."""
    flag = h.serving(value, **rest)
    g.declare(flag.key, safe_variant="other", safe_value=flag.variants[1].value)
    return flag.key


SAFE: Final = "another text"


@rule()
def kills_alive(h: Harness) -> None:
    """While nothing is killed the guard changes no answer: value, variant, reason, error and metadata are the same."""
    with guarded(h) as g, h.session() as plain:
        for key, default, context in (
            (h.serving("x").key, "default", user("u")),
            (h.key("missing"), "default", user("u")),
            (h.serving("x").key, 5, user("u")),
            (h.serving("x", on=False).key, "default", user("u")),
        ):
            one, two = ask(g.guard, key, default, context), ask(plain.provider, key, default, context)
            same(str(shown(one)), str(shown(two)))
            same(dict(one.flag_metadata), dict(two.flag_metadata))


@rule()
def kills_safe_variant(h: Harness) -> None:
    """A killed flag serves its declared safe variant: reason DISABLED, variant named, no error."""
    with guarded(h) as g:
        key = _safe(h, g)
        same(ask(g.guard, key, "default").value, "x")
        g.kill(f"flag:{key}")
        answer = succeeds(ask(g.guard, key, "default"))
        same(answer.value, SAFE)
        same(str(answer.reason), "DISABLED", "reason")
        same(answer.variant, "other", "variant")


@rule()
def kills_metadata(h: Harness) -> None:
    """The answer of a killed flag says who it was: killed, kill_id, kill_scope, kill_reason, kill_epoch."""
    with guarded(h) as g:
        key = _safe(h, g)
        kill = g.kill(f"flag:{key}")
        metadata = ask(g.guard, key, "default").flag_metadata
        same([name for name in METADATA if name not in metadata], [], "missing metadata")
        same([metadata[name] for name in METADATA], [True, kill.id, f"flag:{key}", "it burns", kill.epoch])
        holds(
            all(isinstance(v, (bool, str, int, float)) for v in metadata.values()),
            expected="bool, str, int or float",
            came=repr(dict(metadata)),
        )


@rule()
def kills_every_kind(h: Harness) -> None:
    """Flags of all five kinds serve their safe value, whatever the default."""
    with guarded(h) as g:
        for value in (True, "x", 3, 2.75, {"a": 1}):
            flag = h.serving(value)
            g.declare(flag.key, safe_variant="other", safe_value=flag.variants[1].value)
            g.kill(f"flag:{flag.key}")
            for default in (DEFAULTS[flag.kind], flag.variants[0].value):
                same(succeeds(ask(g.guard, flag.key, default, kind=flag.kind)).value, flag.variants[1].value)


@rule()
def kills_boolean_default_true(h: Harness) -> None:
    """A killed boolean flag answers False with the default True: published providers give five different answers."""
    with guarded(h) as g:
        key = _safe(h, g, value=True)
        g.kill(f"flag:{key}")
        same(succeeds(ask(g.guard, key, True)).value, False)


@rule(Cap.TARGETING)
def kills_beat_targets(h: Harness) -> None:
    """A kill beats targets and rules."""
    with guarded(h) as g:
        matching = Rule("matching", (when("plan", Op.IN, "pro"),), "served")
        key = _safe(h, g, targets=(Targets("served", ("ann",)),), rules=(matching,))
        g.kill(f"flag:{key}")
        for context in (user("ann"), user("bob", plan="pro"), user("cleo")):
            same(succeeds(ask(g.guard, key, "default", context)).value, SAFE)


@rule(Cap.SPLITS)
def kills_beat_splits(h: Harness) -> None:
    """A kill beats percentages: every one of 500 units gets the safe variant."""
    with guarded(h) as g:
        key = _safe(h, g, default=ramp("served", 90_000, "other"))
        g.kill(f"flag:{key}")
        same({ask(g.guard, key, "default", user(f"unit-{n}")).value for n in range(500)}, {SAFE})


@rule()
def kills_declared_scope(h: Harness) -> None:
    """A kill of an agent kills the flags declared for it, and what is under its path."""
    with guarded(h) as g:
        key = h.serving("x").key
        g.declare(key, safe_variant="other", safe_value=SAFE, scopes=(Scope.parse("agent:refunds.tools"),))
        for scope in ("agent:refunds", "agent:refunds.tools"):
            g.kill(scope)
            same(ask(g.guard, key, "default").value, SAFE, scope)


@rule()
def kills_only_covered(h: Harness) -> None:
    """A kill covers its own path and what is under it, nothing beside it."""
    with guarded(h) as g:
        key = h.serving("x").key
        g.declare(key, safe_variant="other", safe_value=SAFE, scopes=(Scope.parse("agent:refunds"),))
        for scope in ("agent:refund", "agent:refunds2", "agent:refunds.tools", "service:refunds", "flag:refunds"):
            g.kill(scope)
            same(ask(g.guard, key, "default").value, "x", scope)


@rule()
def kills_everything(h: Harness) -> None:
    """`*` kills every flag."""
    with guarded(h) as g:
        one, two = _safe(h, g), _safe(h, g)
        g.kill("*")
        same([ask(g.guard, key, "default").value for key in (one, two)], [SAFE, SAFE])


@rule()
def kills_other_flags(h: Harness) -> None:
    """A kill of one flag leaves the others alone."""
    with guarded(h) as g:
        one, two = _safe(h, g), _safe(h, g)
        g.kill(f"flag:{one}")
        same(succeeds(ask(g.guard, two, "default")).value, "x")
        holds("killed" not in ask(g.guard, two, "default").flag_metadata, expected="no kill metadata", came="some")


@rule()
def kills_tenant(h: Harness) -> None:
    """A tenant kill counts for the contexts of that tenant only."""
    with guarded(h) as g:
        key = h.serving("x").key
        attributes = (ScopeAttribute(ScopeKind.TENANT, Attribute.parse("tenantId")),)
        g.declare(key, safe_variant="other", safe_value=SAFE, scope_attributes=attributes)
        g.kill("tenant:acme")
        same(ask(g.guard, key, "default", user("u", tenantId="acme")).value, SAFE)
        same(ask(g.guard, key, "default", user("u", tenantId="other")).value, "x")
        same(ask(g.guard, key, "default", user("u")).value, "x")


@rule()
def kills_lifted(h: Harness) -> None:
    """A lifted kill gives back exactly the answer from before."""
    with guarded(h) as g:
        key = _safe(h, g)
        before = str(shown(ask(g.guard, key, "default")))
        g.kill(f"flag:{key}")
        g.show()
        same(str(shown(ask(g.guard, key, "default"))), before)
        holds("killed" not in ask(g.guard, key, "default").flag_metadata, expected="no kill metadata", came="some")


@rule()
def kills_repeatedly(h: Harness) -> None:
    """Kill and lift, ten times: each is seen at the next evaluation."""
    with guarded(h) as g:
        key = _safe(h, g)
        for _ in range(10):
            g.kill(f"flag:{key}")
            same(ask(g.guard, key, "default").value, SAFE)
            g.show()
            same(ask(g.guard, key, "default").value, "x")


@rule()
def kills_fallback(h: Harness) -> None:
    """A fallback kill serves the variant that it names."""
    with guarded(h) as g:
        key = h.serving("x").key
        g.declare(key, safe_variant="served", safe_value="x")
        g.kill(f"flag:{key}", mode=KillMode.FALLBACK, serve="other", serve_value=SAFE)
        answer = succeeds(ask(g.guard, key, "default"))
        same((answer.value, answer.variant), (SAFE, "other"))


@rule()
def kills_two_fallbacks(h: Harness) -> None:
    """Two different fallbacks at once serve the safe variant."""
    with guarded(h) as g:
        key = _safe(h, g)
        one = killed(f"flag:{key}", id="a", mode=KillMode.FALLBACK, serve="served", serve_value="x")
        two = killed(f"flag:{key}", id="b", mode=KillMode.FALLBACK, serve="third", serve_value="third")
        g.show(one, two)
        same(ask(g.guard, key, "default").value, SAFE)


@rule()
def kills_strictest(h: Harness) -> None:
    """A halt beside a fallback serves the safe variant: the strictest wins."""
    with guarded(h) as g:
        key = _safe(h, g)
        fallback = killed(f"flag:{key}", id="a", mode=KillMode.FALLBACK, serve="served", serve_value="x")
        g.show(fallback, killed("*", id="b"))
        same(ask(g.guard, key, "default").value, SAFE)


@rule()
def kills_named_variant(h: Harness) -> None:
    """An undeclared flag serves the variant that the killer named on the spot."""
    with guarded(h) as g:
        key = h.serving("x").key
        g.kill(f"flag:{key}", serve="named", serve_value="a third text")
        answer = succeeds(ask(g.guard, key, "default"))
        same((answer.value, answer.variant), ("a third text", "named"))


@rule()
def kills_named_without_value(h: Harness) -> None:
    """A variant named by its name alone serves the value that the provider knows for it, if it can tell."""
    with guarded(h) as g:
        key = h.serving("x").key
        inner = getattr(g.guard, "value_of", None)
        known = inner(key, "served") if callable(inner) else MISMATCH
        g.kill(f"flag:{key}", serve="served")
        answer = succeeds(ask(g.guard, key, "default"))
        if isinstance(h.provider, FlagProvider) and h.provider.value_of(key, "served") is not MISMATCH:
            same((known, answer.value, answer.variant), ("x", "x", "served"))
        holds(answer.value in ("x", SAFE, "default"), expected="a value of the flag or the default", came=shown(answer))


@rule()
def kills_undeclared(h: Harness) -> None:
    """An undeclared flag is killed all the same: its off variant or the default, DISABLED, `safe` is undeclared."""
    with guarded(h) as g:
        key = h.serving("x").key
        g.kill(f"flag:{key}")
        answer = succeeds(ask(g.guard, key, "default"))
        holds(answer.value in (SAFE, "default"), expected="the off variant or the default", came=shown(answer))
        same(str(answer.reason), "DISABLED")
        same(answer.flag_metadata.get("safe"), "undeclared")


@rule()
def kills_missing_flag(h: Harness) -> None:
    """A killed flag that the vendor does not know serves its declared safe value."""
    with guarded(h) as g:
        key = h.key("missing")
        g.declare(key, safe_variant="other", safe_value=SAFE)
        g.kill(f"flag:{key}")
        same(succeeds(ask(g.guard, key, "default")).value, SAFE)


@rule()
def kills_off_flag(h: Harness) -> None:
    """A killed flag that is off at the vendor serves its safe variant, not the vendor's off variant."""
    with guarded(h) as g:
        key = _safe(h, g, on=False, off_variant="served")
        same(ask(g.guard, key, "default").value, "x")
        g.kill(f"flag:{key}")
        same(ask(g.guard, key, "default").value, SAFE)


@rule()
def kills_mismatch(h: Harness) -> None:
    """A killed flag asked as another type is TYPE_MISMATCH with the caller's default, and the metadata of the kill."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.kill(f"flag:{key}")
        answer = ask(g.guard, key, 5)
        fails_with(answer, ErrorCode.TYPE_MISMATCH, 5)
        same(answer.flag_metadata.get("killed"), True)


@rule()
def kills_async(h: Harness) -> None:
    """The async getters see a kill as the sync ones do."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.kill(f"flag:{key}")
        same(str(shown(run(ask_async(g.guard, key, "default")))), str(shown(ask(g.guard, key, "default"))))
        same(run(ask_async(g.guard, key, "default")).value, SAFE)


@rule(Cap.OBJECT)
def kills_aliasing(h: Harness) -> None:
    """A caller may change the safe object that it was given."""
    with guarded(h) as g:
        key = h.serving({"a": 1}).key
        g.declare(key, safe_variant="other", safe_value={"safe": [1]})
        g.kill(f"flag:{key}")
        answer: Any = ask(g.guard, key, {}).value
        answer["safe"].append("spoilt")
        same(ask(g.guard, key, {}).value, {"safe": [1]})


@rule()
def kills_corrupt(h: Harness) -> None:
    """A kill that cannot be read counts as killed."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.kill(f"flag:{key}", corrupt=True)
        same(ask(g.guard, key, "default").value, SAFE)


@rule()
def kills_expired(h: Harness) -> None:
    """An expired kill still stands: expiry never resurrects."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.kill(f"flag:{key}", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        same(ask(g.guard, key, "default").value, SAFE)


@rule()
def kills_stale_feed(h: Harness) -> None:
    """When the kill feed goes silent, what was killed stays killed (policy last-known) and what was not stays alive."""
    with guarded(h) as g:
        one, two = _safe(h, g), _safe(h, g)
        g.show(killed(f"flag:{one}"), valid_until=0.0)
        same(ask(g.guard, one, "default").value, SAFE)
        same(ask(g.guard, two, "default").value, "x")


@rule()
def kills_other_environment(h: Harness) -> None:
    """A kill of another environment kills nothing here."""
    with guarded(h) as g:
        key = _safe(h, g)
        foreign = Kill("k", Scope.parse(f"flag:{key}"), "staging", "r", "ann", datetime(2026, 3, 1, tzinfo=UTC), 9)
        g.show(foreign)
        same(ask(g.guard, key, "default").value, "x")


@rule()
def kills_before_start(h: Harness) -> None:
    """A killed flag serves its safe value even before the provider has started: a kill needs no vendor."""
    board = Board(ENVIRONMENT)
    g = Guarded(Guard(h.make_provider(), board), board)
    key = _safe(h, g)
    g.kill(f"flag:{key}")
    same(succeeds(ask(g.guard, key, "default")).value, SAFE)


@rule(Cap.STALE)
def kills_vendor_away(h: Harness) -> None:
    """With the vendor away a kill works all the same."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.show()
        with h.broken():
            g.kill(f"flag:{key}")
            same(succeeds(ask(g.guard, key, "default")).value, SAFE)


@rule()
def kills_told(h: Harness) -> None:
    """A kill is told as PROVIDER_CONFIGURATION_CHANGED that names the flag, and so is its lifting."""
    with guarded(h) as g:
        key = _safe(h, g)
        for step in (lambda: g.kill(f"flag:{key}"), g.show):
            g.emitted.clear()
            step()
            h.eventually(
                lambda: any(key in (d.flags_changed or ()) for _, d in g.emitted),
                expected=f"an event that names {key}",
                came=lambda: [(e.name, d.flags_changed) for e, d in g.emitted],
            )


@rule()
def kills_at_once(h: Harness) -> None:
    """From the moment the board has a kill, no thread gets another answer."""
    with guarded(h) as g:
        key = _safe(h, g)
        g.show()
        late: list[str] = []
        after, stop = threading.Event(), threading.Event()

        def read() -> None:
            while not stop.is_set():
                known = after.is_set()
                value = str(ask(g.guard, key, "default").value)
                if known and value != SAFE:
                    late.append(value)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            g.kill(f"flag:{key}")
            after.set()
            threading.Event().wait(0.05)
        finally:
            stop.set()
            for reader in readers:
                reader.join(10)
        holds(not late, expected="the safe variant only", came=f"{len(late)} other answers")


@rule()
def kills_modes(h: Harness) -> None:
    """A halt, a drain and a deny-tool kill of a flag all serve the safe variant."""
    with guarded(h) as g:
        key = _safe(h, g)
        for mode in (KillMode.HALT, KillMode.DRAIN, KillMode.DENY_TOOL):
            g.kill(f"flag:{key}", mode=mode)
            same(ask(g.guard, key, "default", kind=FlagKind.STRING).value, SAFE, mode.value)
