"""Words for people."""

from __future__ import annotations

import pytest

from flagbrake.model.receipt import Hearing
from flagbrake.model.words import counted


@pytest.mark.parametrize(
    ("number", "thing", "told"),
    [
        (1, "flag", "1 flag"),
        (0, "flag", "0 flags"),
        (2, "live process", "2 live processes"),
        (2, "company", "2 companies"),
        (2, "key", "2 keys"),
        (2, "box", "2 boxes"),
    ],
)
def test_how_many_of_what(number: int, thing: str, told: str) -> None:
    """One is one, and any other number takes the plural."""
    assert counted(number, thing) == told


def test_one_live_process() -> None:
    """A receipt is read aloud."""
    assert str(Hearing(live=("a",), missing=("a",))) == "0/1 live process; missing: a"
    assert str(Hearing(live=("a", "b"), missing=("a", "b"))).startswith("0/2 live processes")
