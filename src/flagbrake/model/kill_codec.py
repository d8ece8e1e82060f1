"""Declarations and kills to JSON data and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import Attribute
from flagbrake.model.kill import Kill, KillMode, OnExpiry, Scope, ScopeKind, UnknownPolicy
from flagbrake.model.manifest import Declaration, Manifest, ScopeAttribute
from flagbrake.model.reading import (
    Malformed,
    boolean,
    choice,
    each,
    fields,
    inside,
    integer,
    json_value,
    key,
    members,
    moment,
    reading,
    shown,
    text,
)
from flagbrake.model.values import FlagKind

_FLAG_KINDS: Final = members(FlagKind)
_SCOPE_KINDS: Final = members(ScopeKind)
_POLICIES: Final = members(UnknownPolicy)
_MODES: Final = members(KillMode)
_EXPIRY: Final = members(OnExpiry)

_DECLARATION: Final = frozenset(field.name for field in dataclasses.fields(Declaration))
_SCOPE_ATTRIBUTE: Final = frozenset(("kind", "attribute"))
_KILL: Final = frozenset(field.name for field in dataclasses.fields(Kill))


def declaration_to_data(declaration: Declaration) -> dict[str, Any]:
    """A manifest entry as JSON data; what is undeclared is left out."""
    data: dict[str, Any] = {"flag": declaration.flag}
    if declaration.kind is not None:
        data["kind"] = declaration.kind.value
    if declaration.safe_variant is not None:
        data["safe_variant"] = declaration.safe_variant
    if declaration.safe_value is not None:
        data["safe_value"] = declaration.safe_value
    if declaration.scopes:
        data["scopes"] = [str(s) for s in declaration.scopes]
    if declaration.scope_attributes:
        data["scope_attributes"] = [
            {"kind": s.kind.value, "attribute": str(s.attribute)} for s in declaration.scope_attributes
        ]
    if declaration.unknown_policy is not None:
        data["unknown_policy"] = declaration.unknown_policy.value
    if declaration.holdback:
        data["holdback"] = [str(a) for a in declaration.holdback]
    return data


def declaration_from_data(data: Any, *, where: str = "") -> Declaration:
    """JSON data to a manifest entry; ``scope_attributes`` may be written ``{"tenant": "tenantId"}``.

    Raises:
        InvalidInput: unknown field, wrong type, not a scope; names path, fact and cure.
    """
    return reading(_declaration, data, where)


def manifest_from_data(data: Any, *, where: str = "") -> tuple[Manifest, tuple[InvalidInput, ...]]:
    """``{"flags": {KEY: declaration}}`` to a manifest, and the complaints about entries that had to be left out.

    Raises:
        InvalidInput: not of this form at all.
    """
    entries = data.get("flags") if isinstance(data, Mapping) else None
    if not isinstance(entries, Mapping):
        raise InvalidInput(f"{where}: must be an object with flags, not {shown(data)}.", cure='{"flags": {KEY: ...}}')
    declared: dict[str, Declaration] = {}
    bad: list[InvalidInput] = []
    for flag, entry in entries.items():
        try:
            told = {**entry, "flag": flag} if isinstance(entry, Mapping) else entry
            declared[flag] = declaration_from_data(told, where=f"{where}.flags.{flag}")
        except InvalidInput as error:
            bad.append(error)
    return Manifest(MappingProxyType(declared)), tuple(bad)


def kill_to_data(kill: Kill) -> dict[str, Any]:
    """A kill as JSON data; moments in UTC, ISO 8601."""
    data: dict[str, Any] = {
        "id": kill.id,
        "scope": str(kill.scope),
        "environment": kill.environment,
        "reason": kill.reason,
        "by": kill.by,
        "at": _moment_to(kill.at),
        "epoch": kill.epoch,
        "mode": kill.mode.value,
        "on_expiry": kill.on_expiry.value,
        "lane": kill.lane,
    }
    if kill.serve is not None:
        data["serve"] = kill.serve
    if kill.serve_value is not None:
        data["serve_value"] = kill.serve_value
    if kill.expires_at is not None:
        data["expires_at"] = _moment_to(kill.expires_at)
    if kill.corrupt:
        data["corrupt"] = True
    return data


def kill_from_data(data: Any, *, where: str = "") -> Kill:
    """JSON data to a kill.

    Raises:
        InvalidInput: unknown field, wrong type, not a scope, a moment without an offset.
    """
    return reading(_kill, data, where)


def _moment_to(moment: datetime) -> str:
    # A naive moment is read as UTC everywhere in flagbrake.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()


def _declaration(data: Any) -> Declaration:
    fields(data, _DECLARATION, ("flag",), "a declaration")
    attributes = data.get("scope_attributes", [])
    if type(attributes) is dict:
        attributes = [{"kind": kind, "attribute": name} for kind, name in attributes.items()]
    return Declaration(
        flag=key(data, "flag"),
        kind=choice(_FLAG_KINDS, data, "kind") if data.get("kind") is not None else None,
        safe_variant=text(data, "safe_variant") if data.get("safe_variant") is not None else None,
        safe_value=inside("safe_value", json_value, data.get("safe_value")),
        scopes=each("scopes", _scope, data.get("scopes", [])),
        scope_attributes=each("scope_attributes", _scope_attribute, attributes),
        unknown_policy=choice(_POLICIES, data, "unknown_policy") if data.get("unknown_policy") is not None else None,
        holdback=each("holdback", _attribute, data.get("holdback", [])),
    )


def _scope(data: Any) -> Scope:
    if type(data) is not str:
        raise Malformed(f"must be a scope, not {shown(data)}.", "'agent:refunds'")
    try:
        return Scope.parse(data)
    except InvalidInput as error:
        raise Malformed(error.fact, error.cure) from None


def _scope_attribute(data: Any) -> ScopeAttribute:
    fields(data, _SCOPE_ATTRIBUTE, ("kind", "attribute"), "a scope's attribute")
    return ScopeAttribute(choice(_SCOPE_KINDS, data, "kind"), inside("attribute", _attribute, data["attribute"]))


def _attribute(data: Any) -> Attribute:
    if type(data) is not str or not data:
        raise Malformed(f"must name an attribute, not {shown(data)}.", "'tenantId', '/org/id' or 'org:targetingKey'")
    return Attribute.parse(data)


def _kill(data: Any) -> Kill:
    fields(data, _KILL, ("id", "scope", "environment", "reason", "by", "at", "epoch"), "a kill")
    return Kill(
        id=key(data, "id"),
        scope=inside("scope", _scope, data["scope"]),
        environment=text(data, "environment"),
        reason=text(data, "reason"),
        by=text(data, "by"),
        at=moment(data, "at"),
        epoch=integer(data, "epoch"),
        mode=choice(_MODES, data, "mode") if "mode" in data else KillMode.HALT,
        serve=text(data, "serve") if data.get("serve") is not None else None,
        serve_value=inside("serve_value", json_value, data.get("serve_value")),
        expires_at=moment(data, "expires_at") if data.get("expires_at") is not None else None,
        on_expiry=choice(_EXPIRY, data, "on_expiry") if "on_expiry" in data else OnExpiry.STAY,
        lane=text(data, "lane", "store"),
        corrupt=boolean(data, "corrupt", default=False),
    )
