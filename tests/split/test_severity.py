"""How grave it is that something in a split cannot be said in our model."""

from __future__ import annotations

from flagbrake.model.loss import Severity
from flagbrake_split.treatments import worth


def test_a_configuration_that_is_not_the_value() -> None:
    """Beside a value it is a note; one that was meant to be the value and is not used answers otherwise."""
    assert [loss.severity for loss in worth({"on": '{"why": 1}', "off": None}).losses] == [Severity.NOTE]
    assert [loss.severity for loss in worth({"a": "5", "b": '"x"'}).losses] == [Severity.ANSWERS]
