"""Controls that write and refuse wrongly."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound, Unavailable
from flagbrake.model.flag import Distribution, Weight
from flagbrake.model.state import (
    Archive,
    Create,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
)
from flagbrake.model.values import WHOLE
from tests.contract.broken_reading import Frozen, ignoring
from tests.contract.reference import SECRET, ReferenceControl, Vendor
from tests.contract.sabotage import of_control


class Changing(ReferenceControl):
    """Understands changes in its own way."""

    def meant(self, change: Any, before: Any, after: Any) -> Any:
        """What becomes of the flag."""
        return after

    def changed(self, change, flag):
        return self.meant(change, flag, super().changed(change, flag))


def _changing(meant: Any) -> type[Changing]:
    return type("Mistaken", (Changing,), {"meant": lambda _self, change, before, after: meant(change, before, after)})


def _rounded(serve):
    if not isinstance(serve, Distribution):
        return serve
    one, two, *_ = serve.weights
    share = round(one.share, -3)
    return replace(serve, weights=(replace(one, share=share), replace(two, share=WHOLE - share)))


def _appended(change, before, after):
    return replace(after, targets=before.targets + after.targets) if isinstance(change, SetTargets) else after


def _into_default(change, before, after):
    if isinstance(change, SetDistribution) and change.rule:
        return replace(before, default=change.serve)
    return after


def _half_restored(change, before, after):
    if isinstance(change, Replace) and change.native is not None:
        return replace(after, on=before.on)
    return after


class ToPercents(Changing):
    """Declares percents, and makes them."""

    split_resolution = 1_000

    def meant(self, change, before, after):
        return replace(after, default=_rounded(after.default))


class OnlyOnce(ReferenceControl):
    """What is so already is a Conflict."""

    def apply(self, change, **rest):
        if isinstance(change, SetOn) and self.read(change.key).flag.on == change.on:
            raise Conflict("It is so already.")
        return super().apply(change, **rest)


class Hopeful(ReferenceControl):
    """Returns what was meant, not what was read."""

    def apply(self, change, **rest):
        before = self.read(change.key)
        after = super().apply(change, **rest)
        return replace(after, version=before.version)


class Elsewhere(ReferenceControl):
    """Writes where no provider reads."""

    def __init__(self, vendor):
        other = Vendor()
        other.documents, other.versions = dict(vendor.documents), vendor.versions
        super().__init__(other)


class UnmovedVersion(ReferenceControl):
    """The version counts creations only."""

    def read(self, key):
        state = super().read(key)
        return replace(state, version=state.flag.variants[0].name)


WRITING = [
    of_control("descriptions get lost", "writing.create", _changing(lambda c, b, a: replace(a, description=""))),
    of_control("created flags are on", "writing.create",
               _changing(lambda c, b, a: replace(a, on=True) if isinstance(c, Create) else a)),
    of_control("writes where nobody reads", "writing.served", Elsewhere),
    of_control("switching drops the targets", "writing.on", _changing(lambda c, b, a: replace(a, targets=())
                                                                     if isinstance(c, SetOn) else a)),
    of_control("what is so already is a conflict", "writing.on_twice", OnlyOnce),
    of_control("switching off is not done", "writing.off_serves", ignoring(SetOn)),
    of_control("the off variant is overheard", "writing.off_variant",
               _changing(lambda c, b, a: replace(a, off_variant=b.off_variant) if isinstance(c, SetOn) else a)),
    of_control("splits are rounded to percents", "writing.split",
               _changing(lambda c, b, a: replace(a, default=_rounded(a.default)))),
    of_control("splitting switches on", "writing.split_keeps",
               _changing(lambda c, b, a: replace(a, on=True) if isinstance(c, SetDistribution) else a)),
    of_control("a rule's split becomes the default", "writing.split_in_rule", _changing(_into_default)),
    of_control("turn_on is overheard", "writing.on_and_split",
               _changing(lambda c, b, a: replace(a, on=b.on) if isinstance(c, SetDistribution) else a)),
    of_control("targets are added", "writing.targets", _changing(_appended)),
    of_control("a replacement keeps the old targets", "writing.replace",
               _changing(lambda c, b, a: replace(a, targets=b.targets) if isinstance(c, Replace) else a)),
    of_control("a restore keeps the switch", "writing.native", _changing(_half_restored)),
    of_control("archiving is not done", "writing.archive", ignoring(Archive)),
    of_control("returns what was meant", "writing.returns_read", Hopeful),
    of_control("versions do not move", "writing.version_moves", UnmovedVersion),
]  # fmt: skip


class Overwriting(ReferenceControl):
    """Creating an existing flag replaces it."""

    def compare(self, change, before, expected):
        super().compare(change, None if isinstance(change, Create) else before, expected)


class Trusting(ReferenceControl):
    """The expected version is overheard."""

    def compare(self, change, before, expected):
        super().compare(change, before, None)


class TrustingArchiver(ReferenceControl):
    """Archiving compares nothing."""

    def compare(self, change, before, expected):
        super().compare(change, before, None if isinstance(change, Archive) else expected)


class Unlocked(ReferenceControl):
    """Compares, waits, writes."""

    def apply(self, change, *, expected=None, by="", comment=""):
        self.compare(change, self.read(change.key), expected)
        threading.Event().wait(0.02)
        return super().apply(change, by=by, comment=comment)


class WritesLate(ReferenceControl):
    """Refuses, and writes all the same."""

    def compare(self, change, before, expected):
        try:
            super().compare(change, before, expected)
        except Conflict:
            if before is not None:
                self.vendor.put(self.changed(change, before.flag))
            raise


class Inattentive(ReferenceControl):
    """Merges targets with what it read long ago."""

    def changed(self, change, flag):
        if isinstance(change, SetTargets):
            return super().changed(change, self.__dict__.setdefault("first", flag))
        return super().changed(change, flag)


class LosesTargets(ReferenceControl):
    """Every second write of targets is lost without a word."""

    def apply(self, change, **rest):
        self.count = self.__dict__.get("count", 0) + isinstance(change, SetTargets)
        if isinstance(change, SetTargets) and self.count % 2 == 0:
            return self.read(change.key)
        return super().apply(change, **rest)


class Unaudited(ReferenceControl):
    """Records nothing."""

    def record(self, key, by, comment):
        """Forget it."""


class AuditedTwice(ReferenceControl):
    """Records everything twice."""

    def record(self, key, by, comment):
        super().record(key, by, comment)
        super().record(key, by, comment)


class Anonymous(ReferenceControl):
    """Records the robot's name."""

    def record(self, key, by, comment):
        super().record(key, "robot", comment)


class Uncommented(ReferenceControl):
    """Records no reason."""

    def record(self, key, by, comment):
        super().record(key, by, "")


class AuditedBefore(ReferenceControl):
    """Records before it compares."""

    def compare(self, change, before, expected):
        self.vendor.audit.append((change.key, "ann", "done"))
        super().compare(change, before, expected)


CONFLICTS = [
    of_control("creating replaces", "conflicts.create", Overwriting),
    of_control("the expected version is overheard", "conflicts.version", Trusting),
    of_control("archiving compares nothing", "conflicts.version", TrustingArchiver),
    of_control("refuses and writes", "conflicts.version", WritesLate),
    of_control("compares outside the lock", "conflicts.race", Unlocked),
    of_control("loses every second write", "conflicts.lock", LosesTargets),
    of_control("one version for all", "conflicts.writer_expected", Frozen),
    of_control("records nothing", "audit.entry", Unaudited),
    of_control("records twice", "audit.entry", AuditedTwice),
    of_control("records the robot", "audit.entry", Anonymous),
    of_control("records no reason", "audit.comment", Uncommented),
    of_control("records before it is done", "audit.refused", AuditedBefore),
]


class Obliging(ReferenceControl):
    """Checks nothing."""

    def check(self, flag):
        """Take anything."""


class Normalising(ReferenceControl):
    """Shares that do not add up are made to."""

    def changed(self, change, flag):
        after = super().changed(change, flag)
        if isinstance(after.default, Distribution) and after.default.total != WHOLE:
            one, two = after.default.weights
            share = max(0, min(WHOLE, one.share))
            weights = (Weight(one.variant, share), Weight(two.variant, WHOLE - share))
            return replace(after, default=Distribution(weights))
        return after


class Inventing(ReferenceControl):
    """A flag that is not there is made."""

    def apply(self, change, **rest):
        try:
            return super().apply(change, **rest)
        except NotFound:
            from flagbrake_contract import plain

            self.vendor.put(plain(change.key, "x"))
            return super().apply(change, **rest)


class Lax(ReferenceControl):
    """An unknown rule is no rule."""

    def changed(self, change, flag):
        if isinstance(change, SetDistribution) and change.rule and flag and not flag.rules:
            return flag
        return super().changed(change, flag)


def _translating(kind: type[Exception], into: Any) -> type[ReferenceControl]:
    class Translating(ReferenceControl):
        def apply(self, change, **rest):
            try:
                return super().apply(change, **rest)
            except kind as error:
                raise into(str(error)) from error

        def read(self, key):
            try:
                return super().read(key)
            except kind as error:
                raise into(str(error)) from error

    return Translating


class Pushing(ReferenceControl):
    """A refusal is tried around."""

    def apply(self, change, **rest):
        try:
            return super().apply(change, **rest)
        except FlagbrakeError:
            self.vendor.refusal = None
            return super().apply(change, **rest)


class Blind(ReferenceControl):
    """Does not notice that the vendor is away."""

    def read(self, key):
        up, self.vendor.up = self.vendor.up, True
        try:
            return super().read(key)
        finally:
            self.vendor.up = up


class Blabbing(ReferenceControl):
    """The key stands in the error."""

    def read(self, key):
        try:
            return super().read(key)
        except Unavailable as error:
            raise Unavailable(f"GET {key} with {SECRET}: {error}") from error


class Showing(ReferenceControl):
    """The key stands in the repr."""

    def __repr__(self):
        return f"Showing({SECRET})"


REFUSALS = [
    of_control("a missing flag is made", "refusals.missing_flag", Inventing),
    of_control("a missing flag is a ValueError", "refusals.missing_flag", _translating(NotFound, ValueError)),
    of_control("an unknown variant is InvalidInput's cousin", "refusals.unknown_variant",
               _translating(InvalidInput, Conflict)),
    of_control("an unknown variant is taken", "refusals.unknown_variant", Obliging),
    of_control("an unknown variant of targets is taken", "refusals.unknown_target_variant", Obliging),
    of_control("an unknown rule is overheard", "refusals.unknown_rule", Lax),
    of_control("shares are made to add up", "refusals.shares", Normalising),
    of_control("a bad definition is taken", "refusals.bad_definition", Obliging),
    of_control("a bad value is taken", "refusals.bad_value", Obliging),
    of_control("a bad replacement is taken", "refusals.bad_replacement", Obliging),
    of_control("an absent vendor breaks through", "refusals.unreachable", _translating(Unavailable, ConnectionError)),
    of_control("an absent vendor is not noticed", "refusals.unreachable", Blind),
    of_control("an absent vendor is NotFound", "refusals.unreachable", _translating(Unavailable, NotFound)),
    of_control("the key in the error", "refusals.no_secret", Blabbing),
    of_control("the key in the repr", "refusals.no_secret", Showing),
    of_control("a refusal is Unavailable", "refusals.not_allowed", _translating(FlagbrakeError, Unavailable)),
    of_control("an approval is worked around", "refusals.approval_required", Pushing),
    of_control("a rate limit is worked around", "refusals.retry_later", Pushing),
]  # fmt: skip

WRITERS = [*WRITING, *CONFLICTS, *REFUSALS]
