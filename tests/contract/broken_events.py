"""Providers that tell wrongly."""

from __future__ import annotations

from openfeature.event import ProviderEventDetails

from tests.contract.reference import ReferenceProvider
from tests.contract.sabotage import of_provider


class ListeningTwice(ReferenceProvider):
    """Listens again with each initialize."""

    def initialize(self, evaluation_context):
        if self._serving:
            self.vendor.listeners.append(self.heard)
        super().initialize(evaluation_context)

    def stop(self):
        while self.heard in self.vendor.listeners:
            super().stop()


class Echo(ReferenceProvider):
    """Emits READY itself as well."""

    def start(self, context):
        super().start(context)
        self.emit_provider_ready(ProviderEventDetails())


class Told(ReferenceProvider):
    """Tells of changes in its own way."""

    def tell(self, keys: frozenset[str]) -> None:
        """The event."""

    def heard(self, what, keys):
        if what == "changed":
            self.take(keys)
            self.tell(keys)
        else:
            super().heard(what, keys)


class Mute(Told):
    """Tells nothing."""


class TellsAll(Told):
    """Names every flag."""

    def tell(self, keys):
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(self.rules.flags)))


class TellsNone(Told):
    """Names no flag."""

    def tell(self, keys):
        self.emit_provider_configuration_changed(ProviderEventDetails())


class TellsTwice(Told):
    """Says it twice."""

    def tell(self, keys):
        for _ in range(2):
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys)))


class TellsTuples(Told):
    """A list in the metadata."""

    def tell(self, keys):
        details = ProviderEventDetails(flags_changed=sorted(keys), metadata={"split_names": sorted(keys)})
        self.emit_provider_configuration_changed(details)


class TellsLiving(Told):
    """Tells nothing of what was deleted."""

    def tell(self, keys):
        if keys & self.rules.flags.keys():
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys)))


class TellsKnown(Told):
    """Tells nothing of what is new."""

    def take(self, keys):
        self.known = frozenset(self.rules.flags)
        super().take(keys)

    def tell(self, keys):
        if keys & self.known:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys)))


class TellsBackwards(Told):
    """Keeps events and tells them the other way round."""

    def tell(self, keys):
        kept = self.__dict__.setdefault("kept", [])
        kept.append(sorted(keys))
        if len(kept) == 5:
            for one in kept[::-1]:
                self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=one))


class TellsFirst(ReferenceProvider):
    """Tells, then changes."""

    def heard(self, what, keys):
        if what == "changed":
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys)))
            self.take(keys)
        else:
            super().heard(what, keys)


class TellsQuestions(ReferenceProvider):
    """Tells when it is asked."""

    def resolve(self, flag_key, context):
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=[flag_key]))
        return super().resolve(flag_key, context)


class TellsAfterwards(ReferenceProvider):
    """Goes on telling after shutdown."""

    def stop(self):
        """Keep listening."""


class RaisesUnattached(ReferenceProvider):
    """Cannot emit into nothing."""

    def emit(self, event, details):
        if not hasattr(self, "_on_emit"):
            self.stop()
            raise RuntimeError("nobody is attached")
        super().emit(event, details)


class NoStale(ReferenceProvider):
    """Says nothing of an outage."""

    def emit_provider_stale(self, details):
        """Say nothing."""


class NoReady(ReferenceProvider):
    """Says nothing of the end of an outage."""

    def emit_provider_ready(self, details):
        """Say nothing."""


class StaleAgain(ReferenceProvider):
    """Says STALE with every failed attempt."""

    def heard(self, what, keys):
        for _ in range(3 if what == "away" else 1):
            super().heard(what, keys)


class StaleSilently(ReferenceProvider):
    """STALE without a word."""

    def emit_provider_stale(self, details):
        super().emit_provider_stale(ProviderEventDetails())


class MissesOutage(ReferenceProvider):
    """Does not tell what changed while the vendor was away."""

    def heard(self, what, keys):
        if what == "changed" and self.__dict__.get("outage"):
            self.take(keys)
            return
        self.outage = what == "away" or self.__dict__.get("outage", False)
        super().heard(what, keys)


class MuteAgain(ReferenceProvider):
    """Started again, it follows and says nothing."""

    def stop(self):
        super().stop()
        self.before = True

    def emit_provider_configuration_changed(self, details):
        if not self.__dict__.get("before"):
            super().emit_provider_configuration_changed(details)


class ListeningOn(ReferenceProvider):
    """Stopping leaves its listener, starting adds another."""

    def stop(self):
        """Go on listening."""


EVENTS = [
    of_provider("READY twice", "events.ready_once", Echo),
    of_provider("tells nothing", "events.changed", Mute, patience=0.3),
    of_provider("names every flag", "events.changed_exact", TellsAll),
    of_provider("names no flag", "events.changed_exact", TellsNone),
    of_provider("tells nothing of new flags", "events.created", TellsKnown, patience=0.3),
    of_provider("tells nothing of deleted flags", "events.deleted", TellsLiving, patience=0.3),
    of_provider("tells, then changes", "events.after_the_fact", TellsFirst),
    of_provider("tells when it is asked", "events.quiet", TellsQuestions),
    of_provider("tells twice", "events.once", TellsTwice),
    of_provider("listens twice after two starts", "events.once", ListeningTwice),
    of_provider("tells backwards", "events.order", TellsBackwards, patience=0.5),
    of_provider("a list in the metadata", "events.types", TellsTuples),
    of_provider("goes on after shutdown", "events.after_shutdown", TellsAfterwards),
    of_provider("started again, it says nothing", "events.after_restart", MuteAgain, patience=0.3),
    of_provider("started again, it tells twice", "events.after_restart", ListeningOn),
    of_provider("cannot emit into nothing", "events.without_listener", RaisesUnattached, patience=0.3),
    of_provider("tells the client nothing", "events.through_client", Mute, patience=0.3),
    of_provider("no STALE", "stale.told", NoStale, patience=0.3),
    of_provider("no READY", "stale.recovery", NoReady, patience=0.3),
    of_provider("STALE again and again", "stale.once", StaleAgain),
    of_provider("STALE without a word", "stale.message", StaleSilently),
    of_provider("changes after an outage are not told", "stale.changes_told", MissesOutage, patience=0.3),
]
