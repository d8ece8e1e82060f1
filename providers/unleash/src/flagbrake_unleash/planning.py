"""Pure: the calls of the admin API that turn one document of a feature into another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flagbrake_unleash.translate import Document, Part, mark_of

#: What a strategy is, without its number.
STRATEGY = ("name", "title", "disabled", "parameters", "constraints", "segments", "variants")
_FIELDS = ("type", "description", "impressionData", "stale")


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the admin API."""

    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a feature is."""

    project: str
    environment: str
    key: str

    @property
    def feature(self) -> str:
        """Its path."""
        return f"/projects/{_quoted(self.project)}/features/{_quoted(self.key)}"

    @property
    def here(self) -> str:
        """Its path in the environment."""
        return f"{self.feature}/environments/{_quoted(self.environment)}"


def document_of(feature: Part, environment: str) -> Document:
    """The document of a feature as ``GET .../features/{name}`` answers it; its strategies have an ``id`` yet."""
    found: Part = next((e for e in feature.get("environments") or () if e["name"] == environment), {})
    strategies = sorted(found.get("strategies") or (), key=lambda s: s.get("sortOrder") or 0)
    return _document(
        feature,
        enabled=bool(found.get("enabled")),
        strategies=strategies,
        variants=found.get("variants") or feature.get("variants") or (),
        tags=feature.get("tags") or (),
        dependencies=feature.get("dependencies") or (),
    )


def documents_of(export: Part) -> Iterator[Document]:
    """The documents of all features of an export, as :func:`document_of` has them."""
    strategies: dict[str, list[Part]] = {}
    for strategy in export.get("featureStrategies") or ():
        strategies.setdefault(strategy["featureName"], []).append(strategy)
    environments = {e["featureName"]: e for e in export.get("featureEnvironments") or ()}
    tags: dict[str, list[Part]] = {}
    for tag in export.get("featureTags") or ():
        made = {"type": tag.get("tagType") or tag.get("type"), "value": tag.get("tagValue") or tag.get("value")}
        tags.setdefault(tag["featureName"], []).append(made)
    needs = {d["feature"]: d["dependencies"] for d in export.get("dependencies") or ()}
    for feature in export.get("features") or ():
        key = feature["name"]
        environment = environments.get(key, {})
        if feature.get("archived"):
            continue
        yield _document(
            feature,
            enabled=bool(environment.get("enabled")),
            strategies=strategies.get(key, ()),
            variants=environment.get("variants") or (),
            tags=tags.get(key, ()),
            dependencies=needs.get(key, ()),
        )


def native(document: Part) -> Document:
    """The document without the numbers of its strategies: two features made alike have the same one."""
    made: Document = json.loads(json.dumps({**document, "strategies": [bare(s) for s in document["strategies"]]}))
    return made


def bare(strategy: Part) -> Document:
    """A strategy without its number."""
    return {name: strategy[name] for name in STRATEGY}


def plan(place: Place, now: Part, meant: Part) -> Iterator[Call]:
    """The calls, in an order in which nobody is served who was not and is not to be.

    Turning off comes first and turning on last; a new strategy is there before an old one goes, for a feature
    that loses its last one is switched off by the server. The strategies' order is set apart (:func:`ordered`).
    """
    if now["enabled"] and not meant["enabled"]:
        yield Call("POST", f"{place.here}/off")
    if any(now[name] != meant[name] for name in _FIELDS):
        yield Call("PUT", place.feature, {"name": place.key, **{name: meant[name] for name in _FIELDS}})
    yield from _tags(place, now["tags"], meant["tags"])
    yield from _dependencies(place, now["dependencies"], meant["dependencies"])
    pairs = paired(now["strategies"], meant["strategies"])
    for number, strategy in enumerate(meant["strategies"]):
        old = pairs.get(number)
        if old is None:
            yield Call("POST", f"{place.here}/strategies", {**bare(strategy), "sortOrder": number})
        elif bare(old) != bare(strategy):
            yield Call("PUT", f"{place.here}/strategies/{old['id']}", {**bare(strategy), "sortOrder": number})
    kept = {old["id"] for old in pairs.values()}
    for old in now["strategies"]:
        if old["id"] not in kept:
            yield Call("DELETE", f"{place.here}/strategies/{old['id']}")


def ordered(place: Place, now: Part, meant: Part) -> Iterator[Call]:
    """The call that puts strategies that are all there into their order, if they are not."""
    wanted = [bare(s) for s in meant["strategies"]]
    left = list(now["strategies"])
    if [bare(s) for s in left] == wanted:
        return
    order = []
    for number, strategy in enumerate(wanted):
        found = next((s for s in left if bare(s) == strategy), None)
        if found is None:
            return  # somebody else writes: the caller sees it when it reads back
        left.remove(found)
        order.append({"id": found["id"], "sortOrder": number})
    yield Call("POST", f"{place.here}/strategies/set-sort-order", order)


def in_place(now: Part, meant: Part) -> bool:
    """True if every strategy stays where it is: none is new, gone or moved."""
    pairs = paired(now["strategies"], meant["strategies"])
    alike = len(now["strategies"]) == len(meant["strategies"]) == len(pairs)
    return alike and all(pairs[n] is strategy for n, strategy in enumerate(now["strategies"]))


def paired(now: Sequence[Part], meant: Sequence[Part]) -> dict[int, Part]:
    """By place of a meant strategy the present one that stays for it: the equal one, else the one it was."""
    left = list(now)
    pairs: dict[int, Part] = {}
    for same in (_equal, _alike):
        for number, strategy in enumerate(meant):
            found = None if number in pairs else next((s for s in left if same(s, strategy)), None)
            if found is not None:
                pairs[number] = found
                left.remove(found)
    return pairs


def _equal(one: Part, two: Part) -> bool:
    return bare(one) == bare(two)


def _alike(one: Part, two: Part) -> bool:
    return bool(one["name"] == two["name"]) and _role(one) == _role(two)


def _role(strategy: Part) -> Any:
    mark = mark_of(strategy)
    return (mark.get("rule"), mark.get("target"), bool(strategy["constraints"]) and "denied" not in mark)


def _tags(place: Place, now: Sequence[Part], meant: Sequence[Part]) -> Iterator[Call]:
    path = f"/features/{_quoted(place.key)}/tags"
    for tag in meant:
        if tag not in now:
            yield Call("POST", path, dict(tag))
    for tag in now:
        if tag not in meant:
            yield Call("DELETE", f"{path}/{_quoted(tag['type'])}/{_quoted(tag['value'])}")


def _dependencies(place: Place, now: Sequence[Part], meant: Sequence[Part]) -> Iterator[Call]:
    path = f"{place.feature}/dependencies"
    for old in now:
        if not any(new["feature"] == old["feature"] for new in meant):
            yield Call("DELETE", f"{path}/{_quoted(old['feature'])}")
    for new in meant:
        if new not in now:
            body = {"feature": new["feature"], "enabled": new["enabled"]}
            yield Call("POST", path, {**body, "variants": new["variants"]} if new["variants"] else body)


def _document(
    feature: Part,
    *,
    enabled: bool,
    strategies: Sequence[Part],
    variants: Sequence[Part],
    tags: Sequence[Part],
    dependencies: Sequence[Part],
) -> Document:
    return {
        "name": feature["name"],
        "type": feature.get("type") or "release",
        "description": feature.get("description") or "",
        "impressionData": bool(feature.get("impressionData")),
        "stale": bool(feature.get("stale")),
        "archived": bool(feature.get("archived")),
        "enabled": enabled,
        "strategies": [_strategy(s) for s in strategies],
        "variants": [_variant(v) for v in variants],
        "tags": sorted(({"type": t["type"], "value": t["value"]} for t in tags), key=lambda t: (t["type"], t["value"])),
        "dependencies": sorted((_dependency(d) for d in dependencies), key=lambda d: str(d["feature"])),
    }


def _strategy(strategy: Part) -> Document:
    return {
        "id": strategy["id"],
        "name": strategy["name"],
        "title": strategy.get("title") or "",
        "disabled": bool(strategy.get("disabled")),
        "parameters": dict(sorted((strategy.get("parameters") or {}).items())),
        "constraints": [_constraint(c) for c in strategy.get("constraints") or ()],
        "segments": sorted(strategy.get("segments") or ()),
        "variants": sorted((_variant(v) for v in strategy.get("variants") or ()), key=lambda v: str(v["name"])),
    }


def _constraint(constraint: Part) -> Document:
    made: Document = {
        "contextName": constraint["contextName"],
        "operator": constraint["operator"],
        "values": list(constraint.get("values") or ()),
        "inverted": bool(constraint.get("inverted")),
        "caseInsensitive": bool(constraint.get("caseInsensitive")),
    }
    if constraint.get("value") is not None:
        made["value"] = constraint["value"]
    return made


def _variant(variant: Part) -> Document:
    made = {name: variant.get(name) for name in ("name", "weight", "weightType", "stickiness")}
    if variant.get("payload"):
        made["payload"] = {"type": variant["payload"]["type"], "value": variant["payload"]["value"]}
    return made


def _dependency(dependency: Part) -> Document:
    return {
        "feature": dependency["feature"],
        "enabled": dependency.get("enabled", True) is not False,
        "variants": list(dependency.get("variants") or ()),
    }


def canonical(document: Mapping[str, Any]) -> Document:
    """A document that was made here, in the form in which one that was read comes."""
    made = _document(
        document,
        enabled=document["enabled"],
        strategies=[{"id": None, **s} for s in document["strategies"]],
        variants=document["variants"],
        tags=document["tags"],
        dependencies=document["dependencies"],
    )
    return native(made)


def _quoted(text: str) -> str:
    return quote(text, safe="")
