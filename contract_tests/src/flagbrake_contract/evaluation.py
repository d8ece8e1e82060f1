"""What every provider must answer: errors, reasons, variants, the off state, aliasing, async, and the client's view."""

from __future__ import annotations

from typing import Any, ClassVar

from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from flagbrake.model.flag import Targets
from flagbrake.model.values import FlagKind
from flagbrake_contract import answers as _answers
from flagbrake_contract import bounds as _bounds
from flagbrake_contract import cases as _cases
from flagbrake_contract import client as _client
from flagbrake_contract import concurrency as _concurrency
from flagbrake_contract import context as _context
from flagbrake_contract import lifecycle as _lifecycle
from flagbrake_contract import targeting as _targeting
from flagbrake_contract.ask import DEFAULTS, ask, fails_with, shown, succeeds, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.contract import Contract
from flagbrake_contract.guard import check_deviations
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Level, add, area, holds, rule, same

_MODULES = (_cases, _answers, _client, _targeting, _context, _lifecycle, _bounds, _concurrency)


class ProviderContract(Contract):
    """Everything that an agent may rely on, whatever the vendor."""

    areas: ClassVar[tuple[str, ...]] = (
        "harness", "values", "coercion", "defaults", "errors", "reasons", "variants", "metadata", "off", "targeting",
        "splits", "keys", "context", "attributes", "reserved", "aliasing", "async", "client", "tracking", "hooks",
        "lifecycle", "outage", "threads", "fork", "secrets",
    )  # fmt: skip


area("harness", "What the harness declares", repair="declare it in the harness")
area("defaults", "The caller's default", repair="on every error the value is the default that the caller passed in")
area("errors", "Errors", repair="answer with the standard error code (or raise its OpenFeature error), see 2.2.7")
area("reasons", "Reasons", repair="map the vendor's reason to a standard one: STATIC, DEFAULT, TARGETING_MATCH, SPLIT, "
     "DISABLED, ERROR")  # fmt: skip
area("variants", "Variants", repair="put the variant's name in `variant`, and nothing there on an error")
area("metadata", "Metadata", repair="flag metadata has text keys and values of bool, str, int or float")
area("off", "Flags that are off", repair="an off flag serves its off variant with reason DISABLED; without one, the "
     "caller's default (resolve returns USE_DEFAULT)")  # fmt: skip


@rule()
def harness_capabilities(h: Harness) -> None:
    """Every provider capability is declared."""
    missing = [c.value for c in Cap if c not in h.capabilities]
    holds(not missing, expected="all declared", came=f"undeclared: {', '.join(missing)}")


@rule()
def harness_deviations(h: Harness) -> None:
    """Every known deviation names a rule and gives a reason."""
    wrong = check_deviations(h.known_deviations)
    holds(not wrong, expected="rule ids with reasons", came="; ".join(wrong))


# --- defaults ------------------------------------------------------------------------------------------


def _default_rows() -> None:
    for kind, default in DEFAULTS.items():

        def not_found(h: Harness, kind: FlagKind = kind, default: Any = default) -> None:
            fails_with(ask(h.provider, h.key("missing"), default, kind=kind), ErrorCode.FLAG_NOT_FOUND, default)

        def zero(h: Harness, kind: FlagKind = kind) -> None:
            default = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}[kind.value]
            fails_with(ask(h.provider, h.key("missing"), default, kind=kind), ErrorCode.FLAG_NOT_FOUND, default)

        def none_missing(h: Harness, kind: FlagKind = kind) -> None:
            fails_with(ask(h.provider, h.key("missing"), None, kind=kind), ErrorCode.FLAG_NOT_FOUND, None)

        def none_present(h: Harness, kind: FlagKind = kind) -> None:
            value = {"boolean": True, "string": "t", "integer": 3, "float": 3.5, "object": {"a": 1}}[kind.value]
            flag = h.serving(value)
            same(succeeds(ask(h.provider, flag.key, None, kind=kind)).value, value)

        needs = (Cap.OBJECT,) if kind is FlagKind.OBJECT else ()
        name = kind.value
        add(f"defaults.{name}", not_found, text=f"A missing {name} flag answers the caller's default.",
            spec="1.4.10")  # fmt: skip
        add(f"defaults.{name}_zero", zero, text=f"The default may be the zero value of {name}.", spec="1.4.10")
        add(f"defaults.{name}_none_missing", none_missing,
            text=f"A missing flag asked as {name} with default None answers None and FLAG_NOT_FOUND.")  # fmt: skip
        add(f"defaults.{name}_none_present", none_present, needs=needs,
            text=f"A flag of kind {name}, asked with default None, answers its value.")  # fmt: skip


_default_rows()


@rule(Cap.OBJECT)
def defaults_list(h: Harness) -> None:
    """A list is a default like any object, and a list flag answers whatever container the default is."""
    fails_with(ask(h.provider, h.key("missing"), [9]), ErrorCode.FLAG_NOT_FOUND, [9])
    flag = h.serving(["a"])
    same(succeeds(ask(h.provider, flag.key, {"d": 1})).value, ["a"])
    flag = h.serving({"a": 1})
    same(succeeds(ask(h.provider, flag.key, [9])).value, {"a": 1})


@rule()
def defaults_other_type(h: Harness) -> None:
    """The type asked for is the getter's, not the default's: a float flag with default 1 answers its float."""
    flag = h.serving(2.75)
    same(succeeds(ask(h.provider, flag.key, 1, kind=FlagKind.FLOAT)).value, 2.75)


# --- errors --------------------------------------------------------------------------------------------


@rule(spec="2.2.7")
def errors_not_found(h: Harness) -> None:
    """A missing flag is FLAG_NOT_FOUND with reason ERROR.

    Repair: ask the vendor's SDK whether the flag exists before you take its answer for one.
    """
    answer = ask(h.provider, h.key("missing"), True)
    fails_with(answer, ErrorCode.FLAG_NOT_FOUND, True)
    same(str(answer.reason), "ERROR", "reason")


@rule(spec="2.2.7", level=Level.SHOULD)
def errors_not_found_message(h: Harness) -> None:
    """The error message of a missing flag names the flag."""
    key = h.key("missing")
    answer = ask(h.provider, key, True)
    holds(key in (answer.error_message or ""), expected=f"a message with {key!r}", came=answer.error_message)


@rule()
def errors_not_found_variant(h: Harness) -> None:
    """A missing flag has no variant: neither "control" nor "disabled"."""
    same(ask(h.provider, h.key("missing"), "default").variant, None)


@rule()
def errors_empty_key(h: Harness) -> None:
    """The empty flag key is a missing flag, not a crash."""
    fails_with(ask(h.provider, "", True), ErrorCode.FLAG_NOT_FOUND, True)


@rule()
def errors_deleted(h: Harness) -> None:
    """A flag that was deleted is missing."""
    flag = h.serving("here")
    same(succeeds(ask(h.provider, flag.key, "default")).value, "here")
    h.delete(flag.key)
    fails_with(ask(h.provider, flag.key, "default"), ErrorCode.FLAG_NOT_FOUND, "default")


@rule(Cap.FULLY_TYPED_VALUES, spec="2.2.7")
def errors_type_mismatch(h: Harness) -> None:
    """A flag of another type is TYPE_MISMATCH with reason ERROR, a message, and no variant."""
    flag = h.serving("text")
    answer = ask(h.provider, flag.key, 5)
    fails_with(answer, ErrorCode.TYPE_MISMATCH, 5)
    same(str(answer.reason), "ERROR", "reason")
    holds(answer.error_message, expected="a message", came=answer.error_message)
    same(answer.variant, None, "variant")


@rule(Cap.FULLY_TYPED_VALUES)
def errors_type_mismatch_message(h: Harness) -> None:
    """The message of a mismatch says which flag it is and of what kind, in OpenFeature's words."""
    flag = h.serving("text")
    message = ask(h.provider, flag.key, 5).error_message or ""
    holds(flag.key in message and "string" in message, expected=f"{flag.key!r} and 'string'", came=message)


@rule(spec="2.2.6")
def errors_none_on_success(h: Harness) -> None:
    """A good answer has no error code."""
    same(ask(h.provider, h.serving(True).key, False).error_code, None)


@rule(spec="2.3.2")
def errors_no_message_on_success(h: Harness) -> None:
    """A good answer has no error message."""
    holds(
        not ask(h.provider, h.serving(True).key, False).error_message,
        expected="no message",
        came=ask(h.provider, h.serving(True).key, False).error_message,
    )


@rule()
def errors_repeat(h: Harness) -> None:
    """An error does not stick: the flag answers as soon as it exists."""
    key = h.key("later")
    fails_with(ask(h.provider, key, "default"), ErrorCode.FLAG_NOT_FOUND, "default")
    h.serving("here", key=key)
    same(succeeds(ask(h.provider, key, "default")).value, "here")


@rule()
def errors_bad_definition(h: Harness) -> None:
    """A definition that is none takes no other flag with it: the others are served and followed, also by a new start.

    The damaged one answers something, an error or what was known before; the call does not raise.

    Repair: read each definition by itself; what cannot be read is one flag's error and an alarm in the log.
    """
    flag, bad = h.serving("x"), h.key("bad")
    same(succeeds(ask(h.provider, flag.key, "default")).value, "x", "before the damage")
    h.damage(bad)
    same(succeeds(ask(h.provider, flag.key, "default")).value, "x", "another flag")
    with h.session() as session:
        same(succeeds(ask(session.provider, flag.key, "default")).value, "x", "another flag, after a new start")
        h.serving("y", key=flag.key)
        for provider, who in ((session.provider, "the new one"), (h.provider, "the old one")):
            same(succeeds(ask(provider, flag.key, "default")).value, "y", f"a change of another flag, {who}")
            ask(provider, bad, "default")


# --- reasons, variants, metadata -------------------------------------------------------------------------

STANDARD = frozenset(str(reason) for reason in Reason)


@rule(Cap.STANDARD_REASONS, spec="2.2.5", level=Level.SHOULD, witness=True)
def reasons_static(h: Harness) -> None:
    """A flag that serves one variant to everybody says STATIC."""
    same(str(ask(h.provider, h.serving("x").key, "default").reason), "STATIC")


@rule(Cap.STANDARD_REASONS, spec="2.2.5", level=Level.SHOULD)
def reasons_default(h: Harness) -> None:
    """A flag with targets that did not match says DEFAULT."""
    flag = h.serving("x", targets=(Targets("other", ("the-unit",)),))
    same(str(ask(h.provider, flag.key, "default", user("nobody")).reason), "DEFAULT")


@rule(Cap.STANDARD_REASONS, Cap.TARGETING, spec="2.2.5", level=Level.SHOULD)
def reasons_target(h: Harness) -> None:
    """A unit named in the flag's targets gets TARGETING_MATCH."""
    flag = h.serving("x", targets=(Targets("other", ("the-unit",)),))
    same(str(ask(h.provider, flag.key, "default", user("the-unit")).reason), "TARGETING_MATCH")


@rule(spec="2.2.5", level=Level.SHOULD)
def reasons_present(h: Harness) -> None:
    """Every good answer has one of the standard reasons, as text."""
    reason = ask(h.provider, h.serving("x").key, "default").reason
    holds(isinstance(reason, str) and str(reason) in STANDARD, expected="a standard reason", came=repr(reason))


@rule(Cap.VARIANTS, spec="2.2.4", level=Level.SHOULD, witness=True)
def variants_named(h: Harness) -> None:
    """A good answer names the variant it serves."""
    same(ask(h.provider, h.serving("x").key, "default").variant, "served")


@rule(Cap.VARIANTS, spec="2.2.4", level=Level.SHOULD)
def variants_boolean(h: Harness) -> None:
    """A boolean flag names its variant too."""
    same(ask(h.provider, h.serving(True).key, False).variant, "served")


@rule(Cap.VARIANTS, Cap.TARGETING, spec="2.2.4", level=Level.SHOULD)
def variants_targeted(h: Harness) -> None:
    """The variant named is the one that this unit was served."""
    flag = h.serving("x", targets=(Targets("other", ("the-unit",)),))
    same(ask(h.provider, flag.key, "default", user("the-unit")).variant, "other")


@rule(spec="2.1.1")
def metadata_name(h: Harness) -> None:
    """The provider's metadata has a name: a text that is not empty, the same before and after start.

    Repair: return Metadata(name=...) from get_metadata, before start as well.
    """
    fresh = h.make_provider().get_metadata().name
    holds(isinstance(fresh, str) and fresh.strip(), expected="a name", came=repr(fresh))
    same(h.provider.get_metadata().name, fresh)


@rule(spec="2.2.10")
def metadata_types(h: Harness) -> None:
    """Flag metadata has text keys, and values of bool, str, int or float: on success, on error, when off."""
    off = h.serving("x", on=False)
    for key, default in ((h.serving("x").key, "d"), (h.key("missing"), "d"), (h.serving("x").key, 5), (off.key, "d")):
        answer = ask(h.provider, key, default)
        for name, value in answer.flag_metadata.items():
            holds(
                isinstance(name, str) and isinstance(value, (bool, str, int, float)),
                expected="text -> bool, str, int or float",
                came=f"{name!r} -> {value!r} in {shown(answer)}",
            )


# --- off -------------------------------------------------------------------------------------------------


@rule(Cap.DISABLED_FLAGS, witness=True)
def off_serves_off_variant(h: Harness) -> None:
    """A flag that is off serves its off variant, with reason DISABLED, whatever the default."""
    flag = h.serving("x", on=False)
    answer = succeeds(ask(h.provider, flag.key, "default"))
    same(answer.value, "another text")
    same(str(answer.reason), "DISABLED", "reason")


@rule(Cap.DISABLED_FLAGS)
def off_boolean(h: Harness) -> None:
    """A boolean flag that is off answers False, also when the default is True."""
    flag = h.serving(True, on=False)
    for default in (True, False):
        same(succeeds(ask(h.provider, flag.key, default)).value, False, f"default {default}")


@rule(Cap.DISABLED_FLAGS, Cap.VARIANTS)
def off_variant_named(h: Harness) -> None:
    """The off variant is named in the answer."""
    same(ask(h.provider, h.serving("x", on=False).key, "default").variant, "other")


@rule(Cap.DISABLED_FLAGS)
def off_without_variant(h: Harness) -> None:
    """A flag that is off and has no off variant serves the caller's default: DISABLED, and no error."""
    flag = h.serving("x", on=False, off_variant=None)
    answer = succeeds(ask(h.provider, flag.key, "default"))
    same(answer.value, "default")
    same(str(answer.reason), "DISABLED", "reason")
    same(answer.variant, None, "variant")


@rule(Cap.DISABLED_FLAGS)
def off_without_variant_boolean(h: Harness) -> None:
    """A boolean flag that is off and has no off variant serves the caller's default as well, True or False."""
    flag = h.serving(True, on=False, off_variant=None)
    for default in (True, False):
        same(succeeds(ask(h.provider, flag.key, default), f"default {default}").value, default, f"default {default}")


@rule(Cap.DISABLED_FLAGS, Cap.TARGETING)
def off_beats_targets(h: Harness) -> None:
    """Off beats targets: a unit named for a variant gets the off variant."""
    flag = h.serving("x", on=False, targets=(Targets("served", ("the-unit",)),))
    same(succeeds(ask(h.provider, flag.key, "default", user("the-unit"))).value, "another text")


@rule(Cap.DISABLED_FLAGS)
def off_and_on_again(h: Harness) -> None:
    """Off and on are seen in both directions."""
    key = h.key("switch")
    for on, expected in ((True, "x"), (False, "another text"), (True, "x")):
        h.serving("x", key=key, on=on)
        same(succeeds(ask(h.provider, key, "default")).value, expected, f"on={on}")
