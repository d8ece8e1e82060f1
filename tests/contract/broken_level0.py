"""Providers, lanes and guards that do not keep what level 0 promises."""

from __future__ import annotations

from openfeature.event import ProviderEvent

from flagbrake.errors import InvalidInput
from flagbrake.kill.board import Board
from flagbrake.kill.convention import Ruling, Source
from flagbrake.kill.flags import FlagKills, _Heard
from flagbrake.kill.guard import Guard
from flagbrake.model.codec import declaration_from_data
from flagbrake.model.kill import EVERYTHING, Liveness, Scope, ScopeKind
from flagbrake.model.manifest import Manifest
from flagbrake.ports.kills import KillView
from tests.contract.reference import ReferenceProvider, reference
from tests.contract.sabotage import Sabotage, of_guard


class Keyless(ReferenceProvider):
    """Tells no keys."""

    def keys(self):
        return None


class FirstKeys(ReferenceProvider):
    """Tells the keys of its start for ever."""

    def start(self, context):
        super().start(context)
        self.first = frozenset(self.rules.keys())

    def keys(self):
        return self.first


class Childless(ReferenceProvider):
    """Does not say that it goes on after a fork."""

    follows_after_fork = False


class NoFlags(FlagKills):
    """Knows nothing of flags."""

    def _scope(self, key):
        scope = super()._scope(key)
        return None if scope is not None and scope.kind is ScopeKind.FLAG else scope


class FlagsOnly(FlagKills):
    """Knows flags only, and everything."""

    def _scope(self, key):
        scope = super()._scope(key)
        return scope if scope is not None and scope.kind in {ScopeKind.FLAG, ScopeKind.EVERYTHING} else None


class NotEverything(FlagKills):
    """Does not know everything."""

    def _scope(self, key):
        scope = super()._scope(key)
        return None if scope == EVERYTHING else scope


class EveryFlag(FlagKills):
    """Any kill flag, on or off, kills all flags."""

    def _scope(self, key):
        return EVERYTHING if super()._scope(key) else None


class AnyState(FlagKills):
    """A kill flag kills by being there."""

    def _ask(self, key):
        heard, version, why = super()._ask(key)
        return (_Heard.ON if heard is _Heard.OFF else heard), version, why


class NoUnderscores(FlagKills):
    """Takes escapes for a part of the name."""

    def _scope(self, key):
        scope = super()._scope(key)
        return Scope(scope.kind, key.split(".", 2)[2]) if scope is not None and scope.path else scope


class Guesses(FlagKills):
    """A name that it does not understand kills everything."""

    def _scope(self, key):
        return super()._scope(key) or EVERYTHING


class Nameless(FlagKills):
    """Does not say which flag it was."""

    def _kill(self, key, scope, version, why, *, corrupt):
        return super()._kill("a flag", scope, version, "it is on", corrupt=corrupt)


class Forgiving(FlagKills):
    """What cannot be read is off."""

    def _ask(self, key):
        heard, version, why = super()._ask(key)
        return (_Heard.OFF if heard is _Heard.CORRUPT else heard), version, why


class ForEver(FlagKills):
    """A kill is for ever."""

    def _standing(self, keys):
        found, sure = super()._standing(keys)
        return {**self._kills, **found}, sure


class LooksLater(FlagKills):
    """Leaves the first look to its thread."""

    def start(self, *, ready=True):
        self._ready = ready
        self._run()


class Deaf(FlagKills):
    """Hears no event."""

    def heard(self, event, details):
        """Do nothing."""


class Sleeping(FlagKills):
    """Never looks by itself."""

    def _watch(self, ended):
        ended.wait()


class Trusting(FlagKills):
    """Believes in a vendor that has gone."""

    def heard(self, event, details):
        super().heard(ProviderEvent.PROVIDER_READY if event is ProviderEvent.PROVIDER_STALE else event, details)


class GivesUp(FlagKills):
    """Lifts all kills when the vendor has gone."""

    def _standing(self, keys):
        found, sure = super()._standing(keys)
        return (found if self._ready else {}), sure


class SaysAlive(Board):
    """Takes silence for life."""

    def liveness(self, scope):
        life = super().liveness(scope)
        return life._replace(state=Liveness.ALIVE) if life.state is Liveness.UNKNOWN else life


class Undeclaring(FlagKills):
    """Reads no declarations."""

    def _read_manifest(self):
        return True


class FirstDeclared(FlagKills):
    """Reads the declarations once."""

    def _declared(self, key, document):
        return self._manifest if self._manifest.declarations else super()._declared(key, document)


class AllOrNothing(FlagKills):
    """One bad declaration spoils all."""

    def _declared(self, key, document):
        try:
            for flag, entry in document["flags"].items():
                declaration_from_data({**entry, "flag": flag})
        except InvalidInput:
            return Manifest()
        return super()._declared(key, document)


class OwnFirst(Board):
    """Its own declarations go before those of all lanes."""

    def _merged(self, lane, manifest, state):
        return super()._merged(lane, manifest, state).merged(self._base)


class LastLane(Board):
    """The lane that spoke last is right."""

    def receive(self, view, *, lane="store"):
        for other in self.view.state.lanes:
            if other != lane:
                self.epochs = getattr(self, "epochs", 10**6) + 1
                snapshot = type(view.snapshot)(self.environment, self.epochs, view.snapshot.kills)
                super().receive(KillView(snapshot, view.manifest, view.valid_until), lane=other)
        super().receive(view, lane=lane)


class Hiding(Guard):
    """Applications do not see reserved flags."""

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        if flag_key.startswith("kill."):
            return self._served(
                Ruling(self.board.standing()[0], "halt", Source.NAMED, "on", value=True),
                "boolean", flag_key, default_value,
            ) if self.board.standing() else super().resolve_boolean_details("-", default_value)  # fmt: skip
        return super().resolve_boolean_details(flag_key, default_value, evaluation_context)


class Untold(Guard):
    """Tells nothing of kills."""

    def _kills_changed(self, old, new):
        """Say nothing."""


def of_provider(defect, rule, provider):
    """A defect in the provider."""
    return Sabotage(defect, rule, lambda: reference(provider))


LEVEL0 = [
    of_provider("tells no keys", "level0.keys", Keyless),
    of_provider("tells the keys of its start", "level0.keys", FirstKeys),
    of_provider("tells no keys, so nothing is killed", "level0.safe_variant", Keyless),
    of_guard("knows nothing of flags", "level0.safe_variant", FlagKills=NoFlags),
    of_guard("does not say which flag it was", "level0.metadata", FlagKills=Nameless),
    of_guard("a kill flag is for ever", "level0.lifted", FlagKills=ForEver),
    of_guard("a kill flag kills by being there", "level0.lifted", FlagKills=AnyState),
    of_guard("does not know everything", "level0.everything", FlagKills=NotEverything),
    of_guard("any kill flag kills all", "level0.other_flags", FlagKills=EveryFlag),
    of_guard("kill flags that are off kill", "level0.other_flags", FlagKills=AnyState),
    of_guard("knows kills of flags only", "level0.scopes", FlagKills=FlagsOnly),
    of_guard("any kill flag kills all agents", "level0.scopes", FlagKills=EveryFlag),
    of_guard("takes escapes for names", "level0.names", FlagKills=NoUnderscores),
    of_guard("what cannot be read is off", "level0.wrong_type", FlagKills=Forgiving),
    of_guard("guesses what a name means", "level0.other_names", FlagKills=Guesses),
    of_guard("looks after the start", "level0.before_start", FlagKills=LooksLater),
    of_guard("hears no event", "level0.told", FlagKills=Deaf),
    of_guard("tells nothing", "level0.told", Guard=Untold),
    of_guard("never looks by itself", "level0.looked_for", FlagKills=Sleeping),
    of_guard("hides reserved flags", "level0.plain_answers", Guard=Hiding),
    of_guard("the last lane is right", "level0.union", Board=LastLane),
    of_guard("reads no declarations", "level0.declarations", FlagKills=Undeclaring),
    of_guard("reads declarations once", "level0.declarations", FlagKills=FirstDeclared),
    of_guard("one bad declaration spoils all", "level0.bad_declaration", FlagKills=AllOrNothing),
    of_guard("its own declarations first", "level0.own_declarations_last", Board=OwnFirst),
    of_guard("believes in a vendor that has gone", "level0.vendor_away", FlagKills=Trusting),
    of_guard("lifts all when the vendor has gone", "level0.vendor_away", FlagKills=GivesUp),
    of_guard("takes silence for life", "level0.vendor_never_there", Board=SaysAlive),
    of_provider("does not go on after a fork", "level0.fork", Childless),
]
