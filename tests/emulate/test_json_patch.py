"""JSON Patch as RFC 6902 says."""

from __future__ import annotations

from typing import Any

import pytest

from flagbrake.emulate.json_patch import PatchError, TestFailed, apply_patch

DOCUMENT: Any = {"a": {"b": [1, 2, 3]}, "c~/d": True}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([{"op": "add", "path": "/a/b/1", "value": 9}], {"a": {"b": [1, 9, 2, 3]}, "c~/d": True}),
        ([{"op": "add", "path": "/a/b/-", "value": 9}], {"a": {"b": [1, 2, 3, 9]}, "c~/d": True}),
        ([{"op": "add", "path": "/e", "value": None}], {**DOCUMENT, "e": None}),
        ([{"op": "replace", "path": "/a/b/0", "value": 9}], {"a": {"b": [9, 2, 3]}, "c~/d": True}),
        ([{"op": "replace", "path": "/c~0~1d", "value": 0}], {"a": {"b": [1, 2, 3]}, "c~/d": 0}),
        ([{"op": "replace", "path": "", "value": 7}], 7),
        ([{"op": "remove", "path": "/a/b/2"}], {"a": {"b": [1, 2]}, "c~/d": True}),
        ([{"op": "move", "from": "/a/b", "path": "/f"}], {"a": {}, "c~/d": True, "f": [1, 2, 3]}),
        ([{"op": "copy", "from": "/a/b/0", "path": "/a/b/3"}], {"a": {"b": [1, 2, 3, 1]}, "c~/d": True}),
        ([{"op": "test", "path": "/a/b", "value": [1.0, 2, 3]}], DOCUMENT),
    ],
)
def test_operations(patch: Any, expected: Any) -> None:
    """Every operation gives what the RFC says and leaves the document given as it was."""
    before = {"a": {"b": [1, 2, 3]}, "c~/d": True}
    assert apply_patch(DOCUMENT, patch) == expected
    assert before == DOCUMENT


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "add"},
        ["add"],
        [{"op": "increase", "path": "/a"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "replace", "path": "/a/b/3", "value": 1}],
        [{"op": "add", "path": "/a/b/5", "value": 1}],
        [{"op": "add", "path": "/a/b/01", "value": 1}],
        [{"op": "add", "path": "/x/y", "value": 1}],
        [{"op": "remove", "path": "/a/b/9"}],
        [{"op": "remove", "path": ""}],
        [{"op": "move", "from": "/a", "path": "/a/b"}],
        [{"op": "add", "path": "no-slash", "value": 1}],
    ],
)
def test_refusals(patch: Any) -> None:
    """A malformed patch, or one that does not fit, is refused as a whole."""
    with pytest.raises(PatchError):
        apply_patch(DOCUMENT, patch)


@pytest.mark.parametrize("value", [1, False, "true", None])
def test_test(value: Any) -> None:
    """``test`` tells true from 1: a value of another JSON type is another value."""
    with pytest.raises(TestFailed):
        apply_patch(DOCUMENT, [{"op": "test", "path": "/c~0~1d", "value": value}])
