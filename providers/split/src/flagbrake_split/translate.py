"""Pure: Split's documents <-> the model; every loss is a value.

Three forms, all ways: the definition of the management API, the split that SDKs download, the model. See
:mod:`flagbrake_split.treatments` for the rule from treatment and configuration to a value.
"""

from flagbrake_split.definitions import definition_from_flag, flag_from_definition, split_from_definition
from flagbrake_split.hashing import BUCKETING_KEY, LEGACY, MURMUR, Hashing
from flagbrake_split.segments import (
    definition_from_segment,
    is_rule_based,
    keys_from_segment,
    segment_from_definition,
    segment_from_keys,
    segment_from_split,
    split_from_segment,
)
from flagbrake_split.splits import flag_from_split, reasons, split_from_flag
from flagbrake_split.treatments import Worth, configurations, worth

__all__ = [
    "BUCKETING_KEY",
    "LEGACY",
    "MURMUR",
    "Hashing",
    "Worth",
    "configurations",
    "definition_from_flag",
    "definition_from_segment",
    "flag_from_definition",
    "flag_from_split",
    "is_rule_based",
    "keys_from_segment",
    "reasons",
    "segment_from_definition",
    "segment_from_keys",
    "segment_from_split",
    "split_from_definition",
    "split_from_flag",
    "split_from_segment",
    "worth",
]
