"""OpenFeature contexts as LaunchDarkly contexts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext

from flagbrake_launchdarkly.context import NOBODY, context_maker


def translated(unit: str | None, of: str = "user", **attributes: Any) -> dict[str, Any]:
    """The context as LaunchDarkly's JSON."""
    made = context_maker(of)(EvaluationContext(unit, attributes))
    assert made.valid, made.error
    return made.to_dict()


def test_key_and_plain_attributes() -> None:
    """The targeting key is the key of a user; strings, numbers and booleans are attributes as they are."""
    expected = {"kind": "user", "key": "ann", "plan": "pro", "age": 41, "beta": False, "score": 0.5}
    assert translated("ann", plan="pro", age=41, beta=False, score=0.5) == expected


def test_types_are_kept() -> None:
    """1, True and 1.0 are three values: contexts are not mixed up because Python calls them equal."""
    make = context_maker()
    for value in (1, True, 1.0):
        made = make(EvaluationContext("ann", {"a": value})).get("a")
        assert made == value
        assert type(made) is type(value)


@pytest.mark.parametrize("key", [None, ""])
def test_nobody_is_anonymous(key: str | None) -> None:
    """Without a targeting key the context is anonymous; its attributes count."""
    assert translated(key, plan="pro") == {"kind": "user", "key": NOBODY, "anonymous": True, "plan": "pro"}


def test_another_kind_for_the_targeting_key() -> None:
    """The targeting key may belong to another kind."""
    assert translated("svc-1", "service", region="eu") == {"kind": "service", "key": "svc-1", "region": "eu"}


def test_nested_kinds() -> None:
    """A structure with a targetingKey is a context of its own kind as well as an attribute."""
    org = {"targetingKey": "acme", "plan": "pro", "name": "Acme", "anonymous": True}
    made = context_maker()(EvaluationContext("ann", {"org": org, "plan": "free"}))
    assert made.multiple
    assert made.get_individual_context("org").to_dict() == {
        "kind": "org",
        "key": "acme",
        "plan": "pro",
        "name": "Acme",
        "anonymous": True,
    }
    user = made.get_individual_context("user")
    assert user.get("plan") == "free"
    assert user.get("org")["plan"] == "pro"


def test_only_another_kind() -> None:
    """Without a targeting key and without attributes of a user there is no user, and nobody is made up."""
    assert translated(None, org={"targetingKey": "acme"}) == {"kind": "org", "key": "acme"}


@pytest.mark.parametrize("name", ["kind", "multi", "two words", "größe", "flagbrake-variant", "flagbrake-dropped"])
def test_what_cannot_be_a_kind(name: str) -> None:
    """A structure whose name LaunchDarkly takes for no kind stays an attribute; the unit is the same.

    Nor is one of the kinds by which names of variants travel: a context of it would choose its variant.
    """
    made = context_maker()(EvaluationContext("ann", {name: {"targetingKey": "x"}}))
    assert not made.multiple
    assert made.key == "ann"


def test_a_structure_without_a_key_is_an_attribute() -> None:
    """Any Mapping is a structure; its nulls are left out."""
    made = translated("ann", org=MappingProxyType({"plan": "pro", "tags": ("a", None), "x": None}))
    assert made["org"] == {"plan": "pro", "tags": ["a"]}


def test_launchdarklys_own_words() -> None:
    """anonymous, name and privateAttributes mean what they mean there, when they have the right type."""
    made = translated("ann", anonymous=True, name="Ann", privateAttributes=["mail"], mail="a@b.c")
    assert (made["anonymous"], made["name"], made["_meta"]) == (True, "Ann", {"privateAttributes": ["mail"]})
    other = translated("ann", anonymous="yes", name=5, privateAttributes="mail")
    assert (other["anonymous_"], other["name_"], other["privateAttributes_"]) == ("yes", 5, "mail")
    assert "anonymous" not in other


def test_reserved_words_change_nobody() -> None:
    """key, kind and _meta are plain attributes under another name."""
    made = translated("ann", key="bob", kind="multi", _meta={"privateAttributes": ["key"]})
    assert (made["kind"], made["key"], made["key_"], made["kind_"]) == ("user", "ann", "bob", "multi")
    assert made["_meta_"] == {"privateAttributes": ["key"]}


_OFFSET = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
        (datetime(2026, 3, 1, 12, 30, tzinfo=_OFFSET), "2026-03-01T07:00:00+00:00"),
        (datetime(2026, 3, 1, 12), "2026-03-01T12:00:00+00:00"),  # noqa: DTZ001 - the case
        (Decimal(10), 10),
        (Decimal("10.5"), 10.5),
        ({"a"}, ["a"]),
        (("a", 1), ["a", 1]),
        (2**60, 2**60),
    ],
)
def test_values_that_are_translated(value: Any, expected: Any) -> None:
    """Moments, decimals, sets and tuples become what JSON has for them."""
    made = translated("ann", a=value)["a"]
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), Decimal("NaN"), b"bytes", object(), lambda: None])
def test_values_that_are_left_out(value: Any) -> None:
    """What JSON has not is left out, and the rest goes on."""
    assert translated("ann", a=value, b="here") == {"kind": "user", "key": "ann", "b": "here"}


def test_a_list_that_holds_itself_ends() -> None:
    """No depth is endless."""
    endless: list[Any] = ["a"]
    endless.append(endless)
    assert translated("ann", a=endless)["a"][0] == "a"


def test_the_context_is_not_changed_and_not_shared() -> None:
    """A context that the application changes later does not change what was handed to the SDK."""
    attributes: dict[str, Any] = {"tags": ["a"], "org": {"plan": "pro"}}
    made = context_maker()(EvaluationContext("ann", attributes))
    attributes["tags"].append("b")
    attributes["org"]["plan"] = "free"
    assert made.get("tags") == ["a"]
    assert made.get("org") == {"plan": "pro"}
