"""OpenFeature contexts as a key and attributes of Split. Never raises, never changes what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext

from flagbrake.evaluate.bucketing import unit_text
from flagbrake.evaluate.vendors.split_values import plain
from flagbrake.model.clause import Attribute
from flagbrake_split.hashing import BUCKETING_KEY

#: The key that stands for "no targeting key": Split's SDK answers nothing without one.
NOBODY: Final = "flagbrake-anonymous"
_PLAIN: Final = frozenset((str, int, bool, float))


def split_context(context: EvaluationContext) -> tuple[str, str | None, dict[str, Any] | None]:
    """The matching key, the bucketing key (if it is another) and the attributes for one evaluation.

    * The targeting key is the matching key, the attribute ``bucketingKey`` (a text, a whole number) the other one.
    * Datetimes become whole seconds since 1970 (naive ones are UTC), Decimals numbers; tuples and sets lists.
    * What stands inside a structure is also an attribute of its own, named as :class:`~flagbrake.model.clause.
      Attribute` writes it: ``/org/name`` and, as the attribute of a context kind, ``org:name``.
    * None, bytes and arbitrary objects are left out.
    """
    key = context.targeting_key or NOBODY
    given = context.attributes
    if not given:
        return key, None, None
    attributes: dict[str, Any] = {}
    for name, value in given.items():
        if type(value) in _PLAIN:
            attributes[name] = value
        elif (said := plain(value)) is not None:
            attributes[name] = said
            if isinstance(said, dict):
                _inside((name,), said, attributes)
    bucketing = unit_text(given[BUCKETING_KEY]) if BUCKETING_KEY in given else None
    return key, bucketing, attributes


def _inside(path: tuple[str, ...], structure: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    if len(path) == 1:
        for name, value in structure.items():
            attributes.setdefault(str(Attribute((name,), path[0])), value)
    for name, value in structure.items():
        attributes.setdefault(str(Attribute((*path, name))), value)
        if isinstance(value, dict):
            _inside((*path, name), value, attributes)
