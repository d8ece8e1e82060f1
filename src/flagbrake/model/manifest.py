"""What vendors do not store and agents need: declarations per flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flagbrake.model.clause import Attribute
from flagbrake.model.kill import Scope, ScopeKind, UnknownPolicy
from flagbrake.model.values import FlagKind


@dataclass(frozen=True, slots=True)
class ScopeAttribute:
    """A scope read from the context: ``tenant`` from attribute ``tenantId`` gives ``tenant:acme``."""

    kind: ScopeKind
    attribute: Attribute


@dataclass(frozen=True, slots=True)
class Declaration:
    """One flag's entry: kind, safe variant (name and value), scopes, hold-back attributes of a migration.

    ``safe_variant`` is never guessed: ``None`` means undeclared. ``safe_value`` is the variant's value,
    which a vendor adapter that cannot look it up serves from here.
    """

    flag: str
    kind: FlagKind | None = None
    safe_variant: str | None = None
    safe_value: Any = None
    scopes: tuple[Scope, ...] = ()
    scope_attributes: tuple[ScopeAttribute, ...] = ()
    unknown_policy: UnknownPolicy | None = None
    holdback: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All declarations of one environment."""

    declarations: Mapping[str, Declaration] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, flag: str) -> Declaration | None:
        """The declaration of a flag, if there is one."""
        return self.declarations.get(flag)

    def merged(self, over: Manifest) -> Manifest:
        """This manifest with the entries of ``over`` taking precedence."""
        return Manifest(MappingProxyType({**self.declarations, **over.declarations}))
