"""What was known of published providers before the contract was: each difference, and the rule that must find it.

Gathered by hand on the same versions. A difference that no rule finds would be a hole in the contract; one that is
found no more was repaired upstream, or the rule has gone blind: either way somebody should look.
"""

from __future__ import annotations

from typing import Final

LD, NO_WAIT, SPLIT, FLAGD = "launchdarkly", "launchdarkly-no-wait", "split", "flagd"
UNLEASH, CONTRIB, OFREP, MEMORY, ENV = "unleash", "unleash-contrib", "ofrep", "in-memory", "env-var"

#: What is different, the rule that finds it, the providers that break it.
KNOWN: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    # values, reasons, errors
    ("a list flag with a list as the default", "defaults.list", (SPLIT,)),
    ("a flag that does not exist", "errors.not_found", (SPLIT, UNLEASH, CONTRIB)),
    ("no message for it", "errors.not_found_message", (LD, SPLIT)),
    ("a variant for it", "errors.not_found_variant", (SPLIT, UNLEASH)),
    ("reasons that no specification knows", "reasons.present", (LD,)),
    ("always the same reason", "reasons.static", (SPLIT, UNLEASH, CONTRIB)),
    ("no variant on boolean flags", "variants.boolean", (UNLEASH, CONTRIB)),
    ("metadata of other types", "metadata.types", (SPLIT,)),
    ("a boolean as an integer", "coercion.boolean_as_integer", (MEMORY, OFREP)),
    ("a boolean as a float", "coercion.boolean_as_float", (FLAGD,)),
    ("a boolean as a text", "coercion.boolean_as_string", (SPLIT,)),
    ("a text as a boolean", "coercion.string_as_boolean", (UNLEASH, CONTRIB)),
    ("a number as a boolean", "coercion.integer_as_boolean", (UNLEASH, CONTRIB)),
    ("an object as a boolean", "coercion.object_as_boolean", (UNLEASH, CONTRIB)),
    ("a number as a text", "coercion.integer_as_string", (SPLIT, CONTRIB)),
    ("an object as a text", "coercion.object_as_string", (SPLIT, CONTRIB)),
    ("a fraction cut off", "coercion.fraction_as_integer", (LD,)),
    ("a whole float refused as an integer", "coercion.whole_float_as_integer", (MEMORY, FLAGD, SPLIT, CONTRIB, OFREP)),
    ("an integer refused as a float", "coercion.integer_as_float", (MEMORY, OFREP)),
    ("the default's type decides", "defaults.other_type", (SPLIT,)),
    ("None as the default of a flag that is there", "defaults.integer_none_present", (SPLIT,)),
    ("None as the default of a missing flag", "defaults.integer_none_missing", (LD,)),
    ("nobody without a targeting key", "context.no_targeting_key", (LD, SPLIT)),
    ("no context at all", "context.none", (LD, SPLIT)),
    # turned off
    ("disabled and served all the same", "off.without_variant", (MEMORY,)),
    ("killed without a treatment is a missing flag", "off.without_variant", (SPLIT,)),
    ("off without any signal", "off.without_variant", (UNLEASH, CONTRIB)),
    ("DISABLED without a variant is an exception", "off.without_variant", (OFREP,)),
    ("a boolean without an off variant, asked with True and False", "off.without_variant_boolean",
     (MEMORY, SPLIT, OFREP)),
    # keys and contexts
    ("a key that needs quoting in a URL", "keys.url", (OFREP,)),
    ("blanks around a key", "keys.blanks", (SPLIT,)),
    ("a long targeting key", "context.long_key", (SPLIT,)),
    ("a datetime attribute fails every evaluation", "attributes.datetime_utc", (OFREP,)),
    ("a datetime and a text", "targeting.datetime_text", (FLAGD,)),
    ("a datetime greater than a number", "targeting.datetime_no_number", (FLAGD,)),
    ("a datetime does not match", "targeting.after", (SPLIT,)),
    ("a naive datetime does not match", "targeting.after_naive", (UNLEASH, CONTRIB)),
    ("nested attributes dropped", "targeting.nested", (UNLEASH, CONTRIB)),
    ("nested attributes turned into text", "targeting.structure_no_text", (CONTRIB,)),
    ("lists dropped or turned into text", "targeting.list_attribute", (UNLEASH, CONTRIB)),
    ("an attribute called kind", "reserved.kind", (LD,)),
    ("a kind called multi", "reserved.kind_multi", (LD,)),
    ("an attribute called userId", "reserved.user_id", (CONTRIB,)),
    ("an attribute called properties", "reserved.properties", (CONTRIB,)),
    ("attributes that are no JSON", "attributes.decimal", (OFREP,)),
    ("the live stored object handed out", "aliasing.object", (MEMORY, FLAGD, LD)),
    # events, lifecycle, async
    ("READY twice", "events.ready_once", (FLAGD, SPLIT)),
    ("every flag named as changed", "events.changed_exact", (SPLIT,)),
    ("a list in an event's metadata", "events.types", (SPLIT,)),
    ("changes not told", "events.changed", (UNLEASH, CONTRIB)),
    ("an interruption is not told", "stale.told", (UNLEASH, CONTRIB)),
    ("listeners doubled by a second start", "events.once", (LD,)),
    ("a thread more with a second start", "lifecycle.initialize_twice", (FLAGD,)),
    ("answers after shutdown", "lifecycle.after_shutdown", (MEMORY, FLAGD, LD, SPLIT, UNLEASH, CONTRIB, OFREP)),
    ("threads left by shutdown", "lifecycle.no_thread_left", (SPLIT,)),
    ("a second start of what was closed", "lifecycle.reinitialize", (LD, UNLEASH)),
    ("one bad flag rejects the whole file", "errors.bad_definition", (FLAGD,)),
    ("async calls fail", "async.boolean", (SPLIT,)),
    ("async calls hold the event loop", "outage.hanging_loop", (OFREP,)),
    ("tracking does nothing", "tracking.arrives", (SPLIT,)),
    ("tracking raises", "tracking.call", (CONTRIB,)),
    # a vendor that is away
    ("the constructor blocks", "outage.constructor", (LD, SPLIT)),
    ("READY with nothing", "outage.start", (SPLIT, UNLEASH, CONTRIB, OFREP)),
    ("a refused key is not fatal", "outage.rejected", (LD, SPLIT, UNLEASH, CONTRIB, OFREP)),
    ("a start without an end", "outage.hanging", (NO_WAIT, UNLEASH, CONTRIB)),
    ("each call waits while it is not ready", "outage.unready_fast", (SPLIT,)),
    ("an answer waits for a vendor that hangs", "outage.hanging_answer", (OFREP,)),
    # no vendor at all
    ('"false" is True', "values.boolean_false", (ENV,)),
)  # fmt: skip
