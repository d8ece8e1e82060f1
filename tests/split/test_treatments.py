"""What a treatment is worth: one rule from names and configurations to values, and its inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagbrake.model.flag import Variant
from flagbrake.model.values import FlagKind
from flagbrake_split.treatments import configurations, same, worth
from tests.support import nouns

RULE = [
    # treatments and their configurations, declared kind, kind, values
    ({"on": None, "off": None}, None, "boolean", {"on": True, "off": False}),
    ({"True": None, "OFF": ""}, None, "boolean", {"True": True, "OFF": False}),
    ({"on": None, "off": None, "v3": None}, None, "string", {"on": "on", "off": "off", "v3": "v3"}),
    ({"red": None, "blue": None}, None, "string", {"red": "red", "blue": "blue"}),
    ({"red": None, "blue": None}, FlagKind.INTEGER, "string", {"red": "red", "blue": "blue"}),
    ({"10": None, "20": None}, None, "string", {"10": "10", "20": "20"}),
    ({"10": None, "20": None}, FlagKind.INTEGER, "integer", {"10": 10, "20": 20}),
    ({"10": None, "0.5": None}, FlagKind.FLOAT, "float", {"10": 10.0, "0.5": 0.5}),
    ({"on": None, "off": None}, FlagKind.STRING, "string", {"on": "on", "off": "off"}),
    ({"a": '{"value": "x"}', "b": '"y"'}, None, "string", {"a": "x", "b": "y"}),
    ({"on": '{"value": 5}', "off": "0"}, None, "integer", {"on": 5, "off": 0}),
    ({"on": '{"value": 5}', "off": "0.5"}, None, "float", {"on": 5.0, "off": 0.5}),
    ({"on": '{"value": true}', "old": "false"}, None, "boolean", {"on": True, "old": False}),
    ({"v1": '{"color": "red"}', "off": None}, None, "object", {"v1": {"color": "red"}, "off": {}}),
    ({"on": '{"color": "red"}', "off": None}, None, "boolean", {"on": True, "off": False}),
    ({"on": '{"color": "red"}', "off": None}, FlagKind.OBJECT, "object", {"on": {"color": "red"}, "off": {}}),
    ({"v1": "[1]", "v2": '{"value": []}'}, None, "object", {"v1": [1], "v2": []}),
    ({"v1": '{"value": 1, "unit": "s"}'}, None, "object", {"v1": {"value": 1, "unit": "s"}}),
    ({"v1": '{"value": 5}'}, FlagKind.OBJECT, "object", {"v1": {"value": 5}}),
    ({"v1": "{not json", "v2": "NaN"}, None, "string", {"v1": "v1", "v2": "v2"}),
]


@pytest.mark.parametrize(("treatments", "declared", "kind", "values"), RULE)
def test_the_rule(treatments, declared, kind, values):
    """Names and configurations become values as the docstring of the module says, types included."""
    found = worth(treatments, declared)
    assert found.kind == kind
    assert same(found.values, values)


def test_what_fits_nothing_is_text():
    """Values of several kinds that only some treatments have make a flag of texts."""
    found = worth({"on": "5", "off": '"x"'})
    assert (found.kind, found.values) == (FlagKind.STRING, {"on": "on", "off": "x"})


def test_losses():
    """A configuration beside the value, one that is not JSON, one that is missing and a kind that does not fit."""
    assert [loss.where for loss in worth({"on": '{"why": 1}', "off": None}).losses] == ["configurations.on"]
    assert [loss.what for loss in worth({"on": "{", "off": None}).losses] == ["not JSON"]
    assert [loss.effect for loss in worth({"v1": "{}", "off": None}).losses] == ["its value is {}"]
    assert [loss.where for loss in worth({"red": None}, FlagKind.BOOLEAN).losses] == ["treatments"]
    assert not worth({"on": None, "off": None}, FlagKind.BOOLEAN).losses


@given(st.sampled_from(FlagKind), st.lists(nouns.names, min_size=1, max_size=4, unique=True), st.data())
def test_inverse(kind, names, data):
    """Whatever values variants have, the configurations written for them are worth just these, without a loss."""
    variants = tuple(Variant(name, data.draw(nouns.values_of[kind])) for name in names)
    texts = configurations(variants, kind)
    found = worth({name: texts.get(name) for name in names})
    assert found.kind is kind
    assert same(found.values, {v.name: v.value for v in variants})
    assert not found.losses


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ({"on": True, "off": False}, FlagKind.BOOLEAN, {}),
        ({"red": "red", "blue": "blue"}, FlagKind.STRING, {}),
        ({"v1": {"a": 1}, "v2": {"b": 2}}, FlagKind.OBJECT, {"v1": '{"a": 1}', "v2": '{"b": 2}'}),
        ({"on": {"a": 1}}, FlagKind.OBJECT, {"on": '{"value": {"a": 1}}'}),
        ({"on": "on", "off": "off"}, FlagKind.STRING, {"on": '{"value": "on"}', "off": '{"value": "off"}'}),
        ({"a": 5}, FlagKind.INTEGER, {"a": '{"value": 5}'}),
    ],
)
def test_the_plainest_form(values, kind, texts):
    """What Split's own users would have written is written; ``{"value": ...}`` only where nothing less will do."""
    assert configurations(tuple(Variant(n, v) for n, v in values.items()), kind) == texts
