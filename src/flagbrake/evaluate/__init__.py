"""Pure: flags to closures, bucketing algorithms, clause semantics."""

from flagbrake.evaluate.checks import check, check_segment
from flagbrake.evaluate.explanation import Explanation
from flagbrake.evaluate.ruleset import Ruleset

__all__ = ["Explanation", "Ruleset", "check", "check_segment"]
