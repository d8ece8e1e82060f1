"""Pure: an Unleash feature in one environment <-> a flag.

Strategies are asked in order; the first that holds decides the variant. So targets become the first strategies,
rules the next, and the default serve is the last one, the *owned* strategy, without constraints. A strategy's
rollout is the gate of its rule: units outside go on to the next. A plain boolean is what Unleash's own clients
expect: on where a strategy holds, off elsewhere. Everything else has its values as payloads of strategy variants.

What Unleash has no field for (the order of variants, the off variant, which strategy is a rule) stands as JSON in
the strategy parameter ``flagbrake``, which the server keeps and clients ignore. A feature made by others has none
and is read without.
"""

from flagbrake_unleash.translate.reading import flag_from_feature, read_feature, segment_from
from flagbrake_unleash.translate.serves import bucketings_of, passes_on, shares_of
from flagbrake_unleash.translate.strategies import (
    BUCKETING,
    DISABLED,
    MARK,
    PERCENT,
    Document,
    Part,
    is_denial,
    is_list,
    is_plain,
    leaves_out,
    left_out,
    lists_of,
    mark_of,
    names_units,
    owned_strategy,
    rollout_of,
    stickiness_of,
    takes_share,
)
from flagbrake_unleash.translate.variants import served_values
from flagbrake_unleash.translate.writing import feature_from_flag, strategy_from_serve

__all__ = [
    "BUCKETING",
    "DISABLED",
    "MARK",
    "PERCENT",
    "Document",
    "Part",
    "bucketings_of",
    "feature_from_flag",
    "flag_from_feature",
    "is_denial",
    "is_list",
    "is_plain",
    "leaves_out",
    "left_out",
    "lists_of",
    "mark_of",
    "names_units",
    "owned_strategy",
    "passes_on",
    "read_feature",
    "rollout_of",
    "segment_from",
    "served_values",
    "shares_of",
    "stickiness_of",
    "strategy_from_serve",
    "takes_share",
]
