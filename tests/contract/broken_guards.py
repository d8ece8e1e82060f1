"""Guards and boards that do not keep the kill convention."""

from __future__ import annotations

import threading
from dataclasses import replace

from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.model.kill import EVERYTHING, KillMode, KillSnapshot, Scope, ScopeKind
from flagbrake.model.manifest import Manifest
from flagbrake.ports.kills import KillView
from tests.contract.sabotage import of_guard


class Open(Guard):
    """Guards nothing."""

    def _ruled(self, kind, getter, flag_key, default, context):
        return getter(flag_key, default, context)


class OpenAsync(Guard):
    """Guards the sync getters only."""

    async def _awaited(self, kind, flag_key, default, context):
        return await self._async[kind](flag_key, default, context)


class OpenTo(Guard):
    """Lets somebody through."""

    def through(self, context) -> bool:
        """Who."""
        return False

    def _ruled(self, kind, getter, flag_key, default, context):
        if self.through(context):
            return getter(flag_key, default, context)
        return super()._ruled(kind, getter, flag_key, default, context)


class OpenToAnn(OpenTo):
    """Targets beat kills."""

    def through(self, context):
        return context is not None and context.targeting_key == "ann"


class OpenToSome(OpenTo):
    """One in ten percent is let through."""

    def through(self, context):
        return context is not None and (context.targeting_key or "").endswith("7")


class Serving(Guard):
    """Serves a killed flag in its own way."""

    def say(self, answer, default):
        """What it makes of the answer."""
        return answer

    def _served(self, ruling, kind, flag_key, default):
        return self.say(super()._served(ruling, kind, flag_key, default), default)


class ServesDefault(Serving):
    """A killed flag serves the default."""

    def say(self, answer, default):
        return replace(answer, value=default)


class SaysStatic(Serving):
    """A killed flag is STATIC."""

    def say(self, answer, default):
        return replace(answer, reason=Reason.STATIC)


class NoEpoch(Serving):
    """The metadata lacks the epoch."""

    def say(self, answer, default):
        metadata = {k: v for k, v in answer.flag_metadata.items() if k != "kill_epoch"}
        return replace(answer, flag_metadata=metadata)


class Unexplained(Serving):
    """The metadata of an undeclared flag says nothing."""

    def say(self, answer, default):
        metadata = {k: v for k, v in answer.flag_metadata.items() if k != "safe"}
        return replace(answer, flag_metadata=metadata)


class Mismatched(Serving):
    """A killed flag of another type serves its default without an error."""

    def say(self, answer, default):
        if answer.error_code is ErrorCode.TYPE_MISMATCH:
            return FlagResolutionDetails(default, reason=Reason.DISABLED)
        return answer


class VendorFirst(Guard):
    """Asks the vendor before it looks at the kills."""

    def _ruled(self, kind, getter, flag_key, default, context):
        answer = getter(flag_key, default, context)
        return answer if answer.error_code else super()._ruled(kind, getter, flag_key, default, context)


class VendorOff(Guard):
    """A flag that is off is left to the vendor."""

    def _ruled(self, kind, getter, flag_key, default, context):
        answer = getter(flag_key, default, context)
        if answer.reason == Reason.DISABLED:
            return answer
        return super()._ruled(kind, getter, flag_key, default, context)


class Live(Guard):
    """Hands out the manifest's own object."""

    def _served(self, ruling, kind, flag_key, default):
        answer = super()._served(ruling, kind, flag_key, default)
        if ruling.value is not None and isinstance(ruling.value, dict):
            answer.value = ruling.value
        return answer


class Marking(Guard):
    """Marks every answer."""

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        answer = super().resolve_string_details(flag_key, default_value, evaluation_context)
        return replace(answer, flag_metadata={**answer.flag_metadata, "killed": False})


class Remembering(Guard):
    """Answers a flag once."""

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        kept = self.__dict__.setdefault("kept", {})
        if flag_key not in kept:
            kept[flag_key] = super().resolve_string_details(flag_key, default_value, evaluation_context)
        return kept[flag_key]


class Silent(Guard):
    """Tells nothing of kills."""

    def _kills_changed(self, old, new):
        """Say nothing."""


class Lazy(Guard):
    """Sees a kill a little later."""

    def _ruled(self, kind, getter, flag_key, default, context):
        first = self.__dict__.setdefault("first", threading.Event())
        if not first.is_set():
            timer = threading.Timer(0.02, first.set)
            timer.daemon = True
            timer.start()
            return getter(flag_key, default, context)
        return super()._ruled(kind, getter, flag_key, default, context)


class BooleansOnly(Guard):
    """Guards booleans."""

    def _ruled(self, kind, getter, flag_key, default, context):
        if kind.value != "boolean":
            return getter(flag_key, default, context)
        return super()._ruled(kind, getter, flag_key, default, context)


class TrueWins(Guard):
    """A boolean default of True wins."""

    def _served(self, ruling, kind, flag_key, default):
        answer = super()._served(ruling, kind, flag_key, default)
        return replace(answer, value=True) if default is True else answer


class Hearing(Board):
    """Hears kills in its own way."""

    def hear(self, kill):
        """What it makes of a kill; ``None`` forgets it."""
        return kill

    def declared(self, manifest):
        """What it makes of the manifest."""
        return manifest

    def receive(self, view, *, lane="store"):
        kills = tuple(k for k in map(self.hear, view.snapshot.kills) if k is not None)
        snapshot = KillSnapshot(view.snapshot.environment, view.snapshot.epoch, kills)
        super().receive(KillView(snapshot, self.declared(view.manifest), view.valid_until), lane=lane)


class Deaf(Hearing):
    """Hears nothing."""

    def hear(self, kill):
        return None


class DeafToCorrupt(Hearing):
    """Forgets what it cannot read."""

    def hear(self, kill):
        return None if kill.corrupt else kill


class Forgiving(Hearing):
    """An expired kill is over."""

    def hear(self, kill):
        return None if kill.expires_at else kill


class Flags(Hearing):
    """Knows kills of flags only."""

    def hear(self, kill):
        return kill if kill.scope.kind is ScopeKind.FLAG else None


class NoEverything(Hearing):
    """Does not know ``*``."""

    def hear(self, kill):
        return None if kill.scope == EVERYTHING else kill


class Broad(Hearing):
    """Every kill kills everything."""

    def hear(self, kill):
        return replace(kill, scope=EVERYTHING)


class Loose(Hearing):
    """Compares the beginnings of names."""

    def hear(self, kill):
        kind, path = kill.scope.kind, kill.scope.path
        return replace(kill, scope=Scope(kind, "refunds")) if path.startswith("refund") else kill


class Exact(Hearing):
    """A path covers itself only."""

    def hear(self, kill):
        return None if kill.scope.path == "refunds" else kill


class HaltOnly(Hearing):
    """Knows the mode halt only."""

    def hear(self, kill):
        return kill if kill.mode is KillMode.HALT else None


class NoFallback(Hearing):
    """A fallback is a halt."""

    def hear(self, kill):
        return replace(kill, mode=KillMode.HALT, serve=None, serve_value=None)


class FallbackWins(Hearing):
    """A fallback goes before everything else."""

    def receive(self, view, *, lane="store"):
        kills = sorted(view.snapshot.kills, key=lambda k: (k.mode is not KillMode.FALLBACK, k.id))[:1]
        snapshot = KillSnapshot(view.snapshot.environment, view.snapshot.epoch, tuple(kills))
        super().receive(KillView(snapshot, view.manifest, view.valid_until), lane=lane)


class Unnamed(Hearing):
    """The variant that the killer named is overheard."""

    def hear(self, kill):
        return replace(kill, serve=None, serve_value=None)


class DeclaredOnly(Board):
    """An undeclared flag is not killed."""

    def ruling(self, flag, context=None):
        return super().ruling(flag, context) if self.manifest.get(flag) else None


class Tenantless(Hearing):
    """Reads no scope from the context."""

    def declared(self, manifest):
        entries = {k: replace(d, scope_attributes=()) for k, d in manifest.declarations.items()}
        return Manifest(entries)


class EveryTenant(Hearing):
    """A tenant's kill is everybody's."""

    def hear(self, kill):
        return replace(kill, scope=EVERYTHING) if kill.scope.kind is ScopeKind.TENANT else kill


class Sticky(Hearing):
    """A kill is for ever."""

    def receive(self, view, *, lane="store"):
        kept = self.__dict__.setdefault("kept", {})
        kept.update({k.id: k for k in view.snapshot.kills})
        snapshot = KillSnapshot(view.snapshot.environment, view.snapshot.epoch, tuple(kept.values()))
        super().receive(KillView(snapshot, view.manifest, view.valid_until), lane=lane)


class OpenWhenStale(Hearing):
    """A silent feed lifts all kills."""

    def receive(self, view, *, lane="store"):
        snapshot = view.snapshot if view.valid_until > 0 else replace(view.snapshot, kills=())
        super().receive(KillView(snapshot, view.manifest, view.valid_until), lane=lane)


class ClosedWhenStale(Hearing):
    """A silent feed kills everything."""

    def hear(self, kill):
        return kill

    def receive(self, view, *, lane="store"):
        kills = view.snapshot.kills
        if view.valid_until <= 0:
            kills = tuple(replace(k, scope=EVERYTHING) for k in kills)
        snapshot = replace(view.snapshot, kills=kills)
        super().receive(KillView(snapshot, view.manifest, view.valid_until), lane=lane)


class Worldwide(Hearing):
    """Kills of every environment count."""

    def hear(self, kill):
        return replace(kill, environment=self.environment)


GUARDS = [
    of_guard("guards nothing", "kills.safe_variant", Guard=Open),
    of_guard("a killed flag is STATIC", "kills.safe_variant", Guard=SaysStatic),
    of_guard("hears nothing", "kills.safe_variant", Board=Deaf),
    of_guard("serves the default", "kills.every_kind", Guard=ServesDefault),
    of_guard("guards booleans only", "kills.every_kind", Guard=BooleansOnly),
    of_guard("the default True wins", "kills.boolean_default_true", Guard=TrueWins),
    of_guard("no epoch", "kills.metadata", Guard=NoEpoch),
    of_guard("targets beat kills", "kills.beat_targets", Guard=OpenToAnn),
    of_guard("some are let through", "kills.beat_splits", Guard=OpenToSome),
    of_guard("the async getters are open", "kills.async", Guard=OpenAsync),
    of_guard("knows kills of flags only", "kills.declared_scope", Board=Flags),
    of_guard("a path covers itself only", "kills.declared_scope", Board=Exact),
    of_guard("compares beginnings", "kills.only_covered", Board=Loose),
    of_guard("does not know everything", "kills.everything", Board=NoEverything),
    of_guard("every kill kills everything", "kills.other_flags", Board=Broad),
    of_guard("reads no tenant", "kills.tenant", Board=Tenantless),
    of_guard("one tenant is all", "kills.tenant", Board=EveryTenant),
    of_guard("a kill is for ever", "kills.lifted", Board=Sticky),
    of_guard("answers once", "kills.repeatedly", Guard=Remembering),
    of_guard("a fallback is a halt", "kills.fallback", Board=NoFallback),
    of_guard("the first fallback wins", "kills.two_fallbacks", Board=FallbackWins),
    of_guard("a fallback beats a halt", "kills.strictest", Board=FallbackWins),
    of_guard("the named variant is overheard", "kills.named_variant", Board=Unnamed),
    of_guard("undeclared flags are not killed", "kills.undeclared", Board=DeclaredOnly),
    of_guard("undeclared is not said", "kills.undeclared", Guard=Unexplained),
    of_guard("asks the vendor first", "kills.missing_flag", Guard=VendorFirst),
    of_guard("asks the vendor before start", "kills.before_start", Guard=VendorFirst),
    of_guard("leaves an off flag to the vendor", "kills.off_flag", Guard=VendorOff),
    of_guard("a mismatch is no error", "kills.mismatch", Guard=Mismatched),
    of_guard("hands out the live object", "kills.aliasing", Guard=Live),
    of_guard("marks what is alive", "kills.alive", Guard=Marking),
    of_guard("forgets what it cannot read", "kills.corrupt", Board=DeafToCorrupt),
    of_guard("expiry resurrects", "kills.expired", Board=Forgiving),
    of_guard("a silent feed resurrects", "kills.stale_feed", Board=OpenWhenStale),
    of_guard("a silent feed kills everything", "kills.stale_feed", Board=ClosedWhenStale),
    of_guard("kills of every environment", "kills.other_environment", Board=Worldwide),
    of_guard("knows halt only", "kills.modes", Board=HaltOnly),
    of_guard("tells nothing", "kills.told", Guard=Silent),
    of_guard("sees a kill later", "kills.at_once", Guard=Lazy),
]
