"""Pure: the calls of the admin API that turn one document of a feature into another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from flagbrake_unleash.steps import Steps, bare, orders, steps
from flagbrake_unleash.translate import Document, Part

#: The tag of a feature that is being made: until it is whole it is not there.
UNFINISHED: Final = "flagbrake-unfinished"
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
    return _document(
        feature,
        enabled=bool(found.get("enabled")),
        strategies=orders(found.get("strategies") or ()),
        variants=found.get("variants") or feature.get("variants") or (),
        tags=feature.get("tags") or (),
        dependencies=feature.get("dependencies") or (),
    )


def documents_of(export: Part, *, unfinished: bool = False) -> Iterator[Document]:
    """The documents of all features of an export, as :func:`document_of` has them, but for the strategies' order.

    Those that are being made still are left out, or are the only ones.
    """
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
        made = _document(
            feature,
            enabled=bool(environment.get("enabled")),
            strategies=strategies.get(key, ()),
            variants=environment.get("variants") or (),
            tags=tags.get(key, ()),
            dependencies=needs.get(key, ()),
        )
        if is_unfinished(made) is unfinished:
            yield made


def native(document: Part) -> Document:
    """The document without the numbers of its strategies: two features made alike have the same one."""
    made: Document = json.loads(json.dumps({**document, "strategies": [bare(s) for s in document["strategies"]]}))
    made.pop("unfinished", None)
    return made


def is_unfinished(document: Part) -> bool:
    """Is it being made still, or has whoever made it come to grief? Once it is on it is somebody's."""
    return bool(document["unfinished"] and not document["enabled"])


def plan(place: Place, now: Part, meant: Part) -> Iterator[Call]:
    """The calls, in an order in which each may be the last: nobody is served who was not and is not to be.

    Turning off comes first and turning on last; a new strategy is there before an old one goes, for a feature
    that loses its last one is switched off by the server. In between see :mod:`flagbrake_unleash.steps`.
    """
    unfinished = Call("DELETE", f"{_tags_of(place)}/simple/{UNFINISHED}")
    if now["enabled"] and not meant["enabled"]:
        yield Call("POST", f"{place.here}/off")
    # What a change request would be wanted for comes before what none is wanted for: refused, nothing is written.
    yield from _dependencies(place, now["dependencies"], meant["dependencies"])
    yield from _strategies(place, steps(now["strategies"], meant["strategies"]))
    if any(now[name] != meant[name] for name in _FIELDS):
        yield Call("PUT", place.feature, {"name": place.key, **{name: meant[name] for name in _FIELDS}})
    yield from _tags(place, now["tags"], meant["tags"])
    if now["unfinished"]:
        yield unfinished
    if meant["enabled"] and not now["enabled"]:
        yield Call("POST", f"{place.here}/on")


def _strategies(place: Place, made: Steps) -> Iterator[Call]:
    path = f"{place.here}/strategies"
    if made.moved:
        body = [{"id": number, "sortOrder": order} for number, order in made.moved.items()]
        yield Call("POST", f"{path}/set-sort-order", body)
    for number, strategy in made.written:
        yield Call("POST", path, strategy) if number is None else Call("PUT", f"{path}/{number}", strategy)
    for number in made.deleted:
        yield Call("DELETE", f"{path}/{number}")


def _tags(place: Place, now: Sequence[Part], meant: Sequence[Part]) -> Iterator[Call]:
    path = _tags_of(place)
    for tag in meant:
        if tag not in now:
            yield Call("POST", path, dict(tag))
    for tag in now:
        if tag not in meant:
            yield Call("DELETE", f"{path}/{_quoted(tag['type'])}/{_quoted(tag['value'])}")


def _tags_of(place: Place) -> str:
    return f"/features/{_quoted(place.key)}/tags"


def _dependencies(place: Place, now: Sequence[Part], meant: Sequence[Part]) -> Iterator[Call]:
    path = f"{place.feature}/dependencies"
    # A feature that depends on nothing in between would be open to everybody.
    for new in meant:
        if new not in now:
            body = {"feature": new["feature"], "enabled": new["enabled"]}
            yield Call("POST", path, {**body, "variants": new["variants"]} if new["variants"] else body)
    for old in now:
        if not any(new["feature"] == old["feature"] for new in meant):
            yield Call("DELETE", f"{path}/{_quoted(old['feature'])}")


def _document(
    feature: Part,
    *,
    enabled: bool,
    strategies: Sequence[Part],
    variants: Sequence[Part],
    tags: Sequence[Part],
    dependencies: Sequence[Part],
) -> Document:
    named = [{"type": t["type"], "value": t["value"]} for t in tags]
    mark = {"type": "simple", "value": UNFINISHED}
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
        "tags": sorted((t for t in named if t != mark), key=lambda t: (t["type"], t["value"])),
        "unfinished": mark in named,
        "dependencies": sorted((_dependency(d) for d in dependencies), key=lambda d: str(d["feature"])),
    }


def _strategy(strategy: Part) -> Document:
    return {
        "id": strategy["id"],
        "sortOrder": strategy.get("sortOrder") or 0,
        "name": strategy["name"],
        "title": strategy.get("title") or "",
        "disabled": bool(strategy.get("disabled")),
        "parameters": dict(sorted((strategy.get("parameters") or {}).items())),
        "constraints": [_constraint(c) for c in strategy.get("constraints") or ()],
        "segments": sorted(strategy.get("segments") or ()),
        # In their order, by which units are dealt to them.
        "variants": [_variant(v) for v in strategy.get("variants") or ()],
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
    if variant.get("overrides"):  # of the feature itself, from servers of old
        made["overrides"] = [
            {"contextName": o["contextName"], "values": list(o["values"])} for o in variant["overrides"]
        ]
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
