"""Which flags a scope covers, which depend on those, which scopes exist at all. Pure."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flagbrake.errors import InvalidInput, NotFound
from flagbrake.kill.convention import flag_scopes
from flagbrake.model.flag import Flag
from flagbrake.model.kill import EVERYTHING, Scope, ScopeKind
from flagbrake.model.manifest import Manifest
from flagbrake.model.receipt import Covered

#: Kinds that agents check without declaring them (``halt.check("agent:x")``): killed unseen with ``arm``.
_CHECKED_UNDECLARED = frozenset(set(ScopeKind) - {ScopeKind.FLAG, ScopeKind.EVERYTHING})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What exists in one environment.

    ``flags`` are those that were read, ``names`` the keys of more that exist; ``all_flags`` is False if
    there may be others. ``registered``
    are scopes that live processes check without declaring them. ``declared`` is False when the manifest
    could not be read: then no scope can be called unknown.
    """

    environment: str
    manifest: Manifest = field(default_factory=Manifest)
    flags: Mapping[str, Flag] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    all_flags: bool = True
    declared: bool = True
    registered: frozenset[Scope] = frozenset()

    def keys(self) -> frozenset[str]:
        """Every flag key known here."""
        return self.names | frozenset(self.flags) | frozenset(self.manifest.declarations)

    def scopes(self) -> frozenset[Scope]:
        """Every scope known by name."""
        declared = {scope for d in self.manifest.declarations.values() for scope in d.scopes}
        return frozenset(Scope(ScopeKind.FLAG, key) for key in self.keys()) | declared | self.registered

    def kinds(self) -> frozenset[ScopeKind]:
        """Kinds whose paths come from contexts, so that no list of them exists."""
        return frozenset(a.kind for d in self.manifest.declarations.values() for a in d.scope_attributes)


@dataclass(frozen=True, slots=True)
class Found:
    """The scope that a text names. ``known`` is ``None`` when the flags could not be read."""

    scope: Scope
    known: bool | None


def find(text: str, catalogue: Catalogue, *, arm: bool = False) -> Found:
    """The scope that an operator means.

    ``kind:path`` must exist; a text without a kind must be exactly one flag or scope. With ``arm`` a scope
    that no list shows is taken at its word, except a flag's.

    Raises:
        NotFound: nothing here has this name; the nearest are told. Nothing was written.
        InvalidInput: several have it, or it is no scope.
    """
    text = text.strip()
    if text == "*":
        return Found(EVERYTHING, known=True)
    if ":" not in text:
        return _without_kind(text, catalogue)
    scope = Scope.parse(text)
    if scope.kind in catalogue.kinds() or any(scope.covers(known) for known in catalogue.scopes()):
        return Found(scope, known=True)
    if not catalogue.declared or (not catalogue.all_flags and scope.kind is ScopeKind.FLAG):
        return Found(scope, known=None)
    if arm and scope.kind in _CHECKED_UNDECLARED:
        return Found(scope, known=False)
    raise _unknown(text, catalogue, armable=scope.kind in _CHECKED_UNDECLARED)


def _without_kind(text: str, catalogue: Catalogue) -> Found:
    if not text:
        raise InvalidInput("No scope was given.", cure="KIND:PATH, a flag's key, or *")
    scopes = catalogue.scopes()
    exact = sorted(scope for scope in scopes if scope.path == text)
    # Nothing has just this name: what everything under it has in common is meant.
    under = sorted({Scope(scope.kind, text) for scope in scopes if scope.path.startswith(f"{text}.")})
    matches = exact or under
    if len(matches) == 1:
        return Found(matches[0], known=True)
    if matches:
        raise InvalidInput(
            f"'{text}' is {len(matches)} things in {catalogue.environment}.",
            cure=" or ".join(str(scope) for scope in matches),
        )
    if not (catalogue.all_flags and catalogue.declared):
        raise NotFound(
            f"No flag or scope '{text}' is declared in {catalogue.environment}, and the flags cannot be read now.",
            cure=f"flag:{text} or agent:{text}, with its kind",
        )
    raise _unknown(text, catalogue, armable=True)


def _unknown(text: str, catalogue: Catalogue, *, armable: bool) -> NotFound:
    names: dict[str, str] = {}
    for scope in sorted(catalogue.scopes()):
        names[str(scope)] = names[scope.path] = str(scope)
    near = list(dict.fromkeys(names[n] for n in nearest(text, names)))
    cures = [*near, *(("--arm, if no list can show it",) if armable and ":" in text else ())]
    return NotFound(
        f"There is no flag or scope '{text}' in {catalogue.environment}; nothing was killed.",
        cure=", or ".join(cures) or "flagbrake flag list",
    )


def nearest(text: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """The names most like ``text``; fast among thousands, because only those that share letters are compared."""
    grams = {text[i : i + 2] for i in range(max(1, len(text) - 1))}
    alike = heapq.nlargest(100, names, key=lambda name: sum(gram in name for gram in grams))
    return difflib.get_close_matches(text, alike, n=most, cutoff=0.5)


def covered(scope: Scope, catalogue: Catalogue) -> tuple[Covered, ...]:
    """The flags that a kill of ``scope`` covers, by key.

    Flags are found by their static scopes; for a kind that comes from contexts, every flag that declares
    an attribute of the kind is listed as conditional.
    """
    listed: list[Covered] = []
    for key in sorted(catalogue.keys()):
        declaration = catalogue.manifest.get(key)
        why = next((own for own in flag_scopes(key, declaration) if scope.covers(own)), None)
        conditional = why is None
        if why is None:
            kinds = {a.kind for a in declaration.scope_attributes} if declaration else set()
            if scope.kind not in kinds:
                continue
            why = scope
        listed.append(_covered(key, why, catalogue, conditional=conditional))
    return tuple(listed)


def dependents(keys: Iterable[str], catalogue: Catalogue) -> tuple[Covered, ...]:
    """The flags that need one of ``keys`` as a prerequisite, directly or through others, nearest first."""
    reached = dict.fromkeys(keys, "")
    listed: list[Covered] = []
    wave = set(reached)
    while wave:
        following: dict[str, str] = {}
        for key, flag in sorted(catalogue.flags.items()):
            needs = next((p.flag for p in flag.prerequisites if p.flag in wave), None)
            if needs is not None and key not in reached:
                following[key] = needs
        for key, needs in following.items():
            listed.append(_covered(key, Scope(ScopeKind.FLAG, key), catalogue, needs=needs))
        reached |= following
        wave = set(following)
    return tuple(listed)


def _covered(key: str, why: Scope, catalogue: Catalogue, *, conditional: bool = False, needs: str = "") -> Covered:
    declaration, flag = catalogue.manifest.get(key), catalogue.flags.get(key)
    return Covered(
        flag=key,
        because=why,
        safe=declaration.safe_variant if declaration else None,
        off_variant=flag.off_variant if flag else None,
        conditional=conditional,
        needs=needs,
    )
