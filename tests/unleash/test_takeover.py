"""Flags of an Unleash server, served by the SQL provider without moving anybody."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import httpx
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from flagbrake.model.values import USE_DEFAULT
from flagbrake.ports.provider import FlagProvider
from flagbrake.store import open_store
from flagbrake.store.feed import StoreFeed
from flagbrake_sql.provider import SqlProvider
from tests.proofs.unleash_random import random_context, random_feature
from tests.proofs.unleash_twin import OWN, by_lot
from tests.support.storing import put
from tests.unleash.harnesses import Vendor

HOME: dict[str, Any] = {"project": "shop", "environment": "test"}
#: As the SDK knows of its own program; the SQL provider is told by the context.
APP = {"app_name": OWN["appName"], "environment": OWN["environment"]}


def as_stored(feature: dict[str, Any]) -> dict[str, Any]:
    """A feature of the client API, as the server's tables have it."""
    return {
        "type": "release",
        "description": "",
        "stale": False,
        "impressionData": False,
        "archived": False,
        "tags": [],
        **feature,
        "strategies": [
            {"title": "", "disabled": False, "variants": [], **s, "segments": []} for s in feature["strategies"]
        ],
        "dependencies": [{"enabled": True, "variants": [], **d} for d in feature.get("dependencies", ())],
    }


def random_features(random: Random, count: int) -> list[dict[str, Any]]:
    """Features that the server's tables can hold: with strategies, their variants and one level of dependencies."""
    made: list[dict[str, Any]] = []
    while len(made) < count:
        alone = [f for f in made if not f.get("dependencies")]
        feature = random_feature(random, f"taken-over-{len(made)}", alone)
        asked = {d["feature"] for d in feature.get("dependencies", ())}
        if feature.get("variants") or not asked <= {f["name"] for f in alone} or len(asked) > 1:
            continue
        feature["dependencies"] = feature.get("dependencies", [])[:1]
        if not by_lot(feature, {f["name"]: f for f in made}):
            made.append(feature)
    return made


def beta_testers(vendor: Vendor) -> None:
    """A segment, and a feature that serves half of it: made by the server's own API, as a person makes them."""
    headers = {"Authorization": vendor.server.admin_token}
    with httpx.Client(base_url=f"{vendor.server.url}/api/admin", headers=headers, timeout=10) as client:
        german = {"contextName": "country", "operator": "IN", "values": ["DE", "FR"]}
        segment = client.post("/segments", json={"name": "beta-testers", "constraints": [german]})
        segment.raise_for_status()
        client.post("/projects/default/features", json={"name": "for-testers"}).raise_for_status()
        here = "/projects/default/features/for-testers/environments/development"
        half = {"rollout": "50", "stickiness": "default", "groupId": "testers"}
        strategy = {"name": "flexibleRollout", "parameters": half, "segments": [segment.json()["id"]]}
        client.post(f"{here}/strategies", json=strategy).raise_for_status()
        client.post(f"{here}/on").raise_for_status()


def told(provider: FlagProvider, key: str, context: EvaluationContext) -> Any:
    """The value that an application is given, or the error."""
    try:
        value = provider.resolve(key, context).value
    except OpenFeatureError as error:
        return str(error.error_code)
    return "the default" if value is USE_DEFAULT else value


def test_nobody_moves(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Read from the server and put into a store, 31 features answer as the SDK did, 40 contexts each."""
    random, url = Random(4), f"sqlite:///{tmp_path / 'flags.db'}"
    features = random_features(random, 30)
    for feature in features:
        quick_vendor.back.write(as_stored(feature))
    beta_testers(quick_vendor)
    quick_vendor.seen()
    keys = [*(f["name"] for f in features), "for-testers"]
    with open_store(url, create=True, **HOME) as store, closing(quick_vendor.control()) as control:
        states = [state for state in control.states() if state.flag.key in keys]
        put(store, *(s for s in control.segments() if s.key == "beta-testers"), *(state.flag for state in states))
        unleash, sql = quick_vendor.provider(**APP), SqlProvider(StoreFeed(url, state_dir=tmp_path / "state", **HOME))
        came: Counter[str] = Counter()
        unleash.initialize(EvaluationContext())
        try:
            sql.initialize(EvaluationContext())
            for key in keys:
                for _ in range(40):
                    unit, attributes = random_context(random)
                    ours = told(sql, key, EvaluationContext(unit, {**attributes, **OWN}))
                    theirs = told(unleash, key, EvaluationContext(unit, attributes))
                    assert ours == theirs or "TARGETING_KEY_MISSING" in {ours, theirs}, (key, unit, attributes)
                    came[str(theirs)] += 1
        finally:
            sql.shutdown()
            unleash.shutdown()
            for key in reversed(keys):
                quick_vendor.back.remove(key)
    assert came["True"] > 50
    assert came["False"] > 50
    assert len(came) > 4
