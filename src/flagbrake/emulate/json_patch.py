"""JSON Patch (RFC 6902) over plain JSON data. Pure: the document given is never changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

_MISSING: Final = object()


class PatchError(ValueError):
    """The patch is malformed, or it does not fit the document; nothing was applied."""


class TestFailed(PatchError):
    """A ``test`` operation found another value."""

    __test__ = False  # not a test class, whatever pytest thinks of the name


def apply_patch(document: Any, patch: Any) -> Any:
    """The patched copy of a document.

    Raises:
        TestFailed: a ``test`` operation does not hold.
        PatchError: an unknown operation, a path that is not there, a member that is missing.
    """
    if not isinstance(patch, list):
        raise PatchError("a JSON Patch is an array of operations")
    result = copy.deepcopy(document)
    for operation in patch:
        if not isinstance(operation, dict):
            raise PatchError("an operation is an object")
        result = _apply(result, operation)
    return result


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _put(document, path, copy.deepcopy(_value(operation)), insert=True)
        case "replace":
            _get(document, path)
            return _put(document, path, copy.deepcopy(_value(operation)), insert=False)
        case "remove":
            return _removed(document, path)
        case "test":
            if not same(_get(document, path), _value(operation)):
                raise TestFailed(f"test of {operation['path']} failed")
            return document
        case "copy":
            found = _get(document, _pointer(operation.get("from")))
            return _put(document, path, copy.deepcopy(found), insert=True)
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise PatchError("a value cannot be moved into itself")
            found = _get(document, source)
            return _put(_removed(document, source), path, found, insert=True)
        case other:
            raise PatchError(f"unknown operation {other!r}")


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: ``true`` is not ``1``, ``1`` is ``1.0``."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f"{operation.get('op')} needs a value")
    return operation["value"]


def _pointer(text: Any) -> tuple[str, ...]:
    """The tokens of a JSON Pointer (RFC 6901)."""
    if text == "":
        return ()
    if not isinstance(text, str) or not text.startswith("/"):
        raise PatchError(f"{text!r} is no JSON Pointer")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _get(document: Any, path: Sequence[str]) -> Any:
    for token in path:
        found = _child(document, token)
        if found is _MISSING:
            raise PatchError(f"there is nothing at /{'/'.join(path)}")
        document = found
    return document


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token, _MISSING)
    if isinstance(node, list):
        index = _index(token)
        return node[index] if index < len(node) else _MISSING
    return _MISSING


def _index(token: str) -> int:
    if not token.isdecimal() or (len(token) > 1 and token[0] == "0"):
        raise PatchError(f"{token!r} is no index")
    return int(token)


def _put(document: Any, path: Sequence[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if insert and last == "-" else _index(last)
        if index > len(parent) or (index == len(parent) and not insert):
            raise PatchError(f"{last!r} is beyond the end of the array")
        parent[index : index + (0 if insert else 1)] = [value]
    else:
        raise PatchError(f"nothing can be put at /{'/'.join(path)}")
    return document


def _removed(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise PatchError("the whole document cannot be removed")
    _get(document, path)
    parent, last = _get(document, path[:-1]), path[-1]
    del parent[last if isinstance(parent, dict) else _index(last)]
    return document
