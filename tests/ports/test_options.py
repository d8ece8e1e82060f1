"""An adapter's table of flagbrake.toml, read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from flagbrake.errors import ConfigError
from flagbrake.ports.options import (
    Check,
    address,
    one_of,
    read,
    seconds,
    seconds_or_never,
    secret,
    switch,
    text,
    texts,
)


class Mode(StrEnum):
    """How flags arrive."""

    STREAM = "stream"
    POLL = "poll"


@pytest.mark.parametrize(
    ("check", "value", "used"),
    [
        (text, " a ", "a"),
        (text, Path("a/b"), "a/b"),
        (secret, "sdk-1", "sdk-1"),
        (address, "https://acme.example/", "https://acme.example"),
        (texts, ["a", "b"], ("a", "b")),
        (seconds, 5, 5.0),
        (seconds_or_never, 0, 0.0),
        (switch, False, False),
        (one_of(*Mode), "poll", Mode.POLL),
        (one_of("on", "off"), "off", "off"),
    ],
)
def test_a_value_is_used_in_its_own_type(check: Check, value: Any, used: Any) -> None:
    """Texts are stripped, numbers are floats, names of an enumeration are its members."""
    found = read("acme", {"option": value}, {"option": check})["option"]
    assert found == used
    assert type(found) is type(used)


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (text, 5, '[acme] option is not a text. Try: option = "..."'),
        (text, " ", '[acme] option is not a text. Try: option = "..."'),
        (secret, "two words", "[acme] option holds characters that no key has. Try: copy it again, whole"),
        (address, "acme.example", "[acme] option is 'acme.example'. Try: https://HOST"),
        (address, "https://", "[acme] option is 'https://'. Try: https://HOST"),
        (address, "https://[::1", "[acme] option is no address. Try: https://HOST"),
        (
            address,
            "https://me:hunter2@acme.example",
            "[acme] option holds a user or a password, and addresses are shown. Try: https://HOST",
        ),
        (texts, "a", '[acme] option is not a list of texts. Try: option = ["..."]'),
        (texts, ["a", 1], '[acme] option is not a list of texts. Try: option = ["..."]'),
        (seconds, 0, "[acme] option is not a number of seconds above 0. Try: option = 5"),
        (seconds, True, "[acme] option is not a number of seconds above 0. Try: option = 5"),
        (seconds_or_never, -1, "[acme] option is not a number of seconds above 0. Try: option = 5"),
        (seconds_or_never, False, "[acme] option is not a number of seconds above 0. Try: option = 5"),
        (switch, "yes", "[acme] option is not true or false. Try: option = true"),
        (one_of(*Mode), "telepathy", "[acme] option is 'telepathy'. Try: stream, poll"),
        (one_of(*Mode), 1, "[acme] option is 1. Try: stream, poll"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_named_with_a_cure(check: Check, value: Any, said: str) -> None:
    """The table, the option, the fact and what to write; a secret is not shown."""
    with pytest.raises(ConfigError) as refused:
        read("acme", {"option": value}, {"option": check})
    assert str(refused.value) == said


def test_what_is_not_given_and_what_is_not_known_is_left_out() -> None:
    """Defaults are the adapter's; the control's options are none of the provider's."""
    assert read("acme", {"token": "t"}, {"url": address}) == {}
