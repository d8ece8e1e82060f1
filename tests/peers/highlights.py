"""The rules whose breach an application notices first, in the order in which the page shows them."""

from __future__ import annotations

#: Question -> the rules that answer it.
HIGHLIGHTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "What comes for a flag that does not exist?",
        ("errors.not_found", "errors.not_found_message", "errors.not_found_variant"),
    ),
    (
        "Is a value what its definition says?",
        ("values.boolean_false", "values.string_empty", "values.object_nested", "values.list_plain", "defaults.list"),
    ),
    (
        "What does the caller's default change?",
        ("defaults.other_type", "defaults.boolean_none_present", "defaults.integer_none_present",
         "defaults.boolean_none_missing"),
    ),
    (
        "What does an answer say about itself?",
        ("reasons.present", "reasons.static", "reasons.default", "targeting.rule_reason", "variants.named",
         "variants.boolean", "metadata.types"),
    ),
    (
        "What happens to a flag read as another type?",
        ("errors.type_mismatch", "coercion.boolean_as_integer", "coercion.boolean_as_float",
         "coercion.boolean_as_string", "coercion.string_as_boolean", "coercion.integer_as_boolean",
         "coercion.float_as_boolean", "coercion.object_as_boolean", "coercion.integer_as_string",
         "coercion.object_as_string", "coercion.fraction_as_integer", "coercion.fraction_above_one_as_integer",
         "coercion.whole_float_as_integer", "coercion.integer_as_float"),
    ),
    (
        "Who can be asked about?",
        ("context.none", "context.empty", "context.no_targeting_key", "context.long_key", "context.odd_keys",
         "targeting.anonymous"),
    ),
    (
        "What does turning a flag off do?",
        ("off.boolean", "off.serves_off_variant", "off.without_variant", "off.without_variant_boolean",
         "off.beats_targets"),
    ),
    (
        "Which keys and attributes break an evaluation?",
        ("keys.url", "keys.blanks", "attributes.datetime_utc", "attributes.datetime_naive", "targeting.after",
         "targeting.after_naive", "targeting.after_text", "targeting.datetime_text", "targeting.datetime_no_number",
         "attributes.structure", "targeting.nested", "targeting.structure_no_text", "attributes.list",
         "targeting.list_attribute", "attributes.decimal", "attributes.object", "reserved.kind", "reserved.kind_multi",
         "reserved.user_id", "reserved.properties"),
    ),
    (
        "Whose is the answer?",
        ("aliasing.object", "aliasing.list", "aliasing.metadata"),
    ),
    (
        "What is told?",
        ("events.ready_once", "events.changed", "events.changed_exact", "events.types", "events.once",
         "events.after_shutdown", "stale.told",
         "stale.recovery"),
    ),
    (
        "Does it start and stop cleanly?",
        ("lifecycle.before_start", "lifecycle.after_shutdown", "lifecycle.shutdown_twice",
         "lifecycle.no_work_in_constructor", "lifecycle.initialize_twice", "lifecycle.no_thread_left",
         "lifecycle.reinitialize"),
    ),
    (
        "Do async calls and threads work?",
        ("async.boolean", "async.object", "async.many", "async.mismatch_default", "threads.right",
         "threads.while_changing", "fork.evaluates", "fork.follows"),
    ),
    (
        "Does tracking harm the application's call, and does it arrive?",
        ("tracking.call", "tracking.bare", "tracking.direct", "tracking.arrives"),
    ),
    (
        "What if the vendor is away, refuses the key or never answers?",
        ("outage.start", "outage.rejected", "outage.hanging", "outage.goes_on", "outage.fast"),
    ),
    (
        "Who waits for the vendor?",
        ("outage.constructor", "outage.unready_fast", "outage.hanging_answer", "outage.hanging_loop"),
    ),
    (
        "What does one damaged definition do to the others?",
        ("errors.bad_definition",),
    ),
)  # fmt: skip
