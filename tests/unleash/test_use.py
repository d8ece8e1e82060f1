"""What a provider tells besides answers: use, to the server, and impressions, to hooks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
from openfeature.hook import Hook, HookContext, HookHints

from tests.support.waiting import wait_until
from tests.unleash.harnesses import Vendor
from tests.unleash.test_faults import ANN, between
from tests.unleash.test_provider import feature, started, strategy, variant


# The contract's odd keys would spoil the batch in which a server stores what it is told: so the other server.
@pytest.mark.timeout(60)
def test_use_arrives_at_the_server(true_vendor: Vendor) -> None:
    """What was counted is sent at the latest at shutdown, under the variants' own names, and stored by the
    server, which does so every five seconds."""
    blue = feature("used", strategy(constraints=[], variants=[variant("blue")]))
    with between(true_vendor) as proxy:
        with started(true_vendor, blue, url=f"{proxy.url}/api", app_name="counting") as provider:
            for _ in range(3):
                provider.resolve("used", ANN)
        (sent,) = [json.loads(asked.body) for asked in proxy.asked if asked.path == "/api/client/metrics"]
        assert sent["bucket"]["toggles"]["used"] == {"yes": 3, "no": 0, "variants": {"blue": 3}}
    admin = {"Authorization": true_vendor.server.admin_token}
    url = f"{true_vendor.server.url}/api/admin/client-metrics/features/used/raw"

    def stored() -> list[dict[str, Any]]:
        rows = httpx.get(url, headers=admin, timeout=10).json()["data"]
        return [row for row in rows if row["appName"] == "counting"]

    wait_until(stored, timeout=20, why="the server to store it")
    # An hour may begin between two of them.
    assert sum(row["yes"] for row in stored()) == 3


class _Watching(Hook):
    def __init__(self) -> None:
        self.seen: dict[str, bool] = {}

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[FlagValueType], hints: HookHints) -> None:
        self.seen[hook_context.flag_key] = bool(details.flag_metadata.get("unleash_impression_data"))


def test_impression_data_for_a_hook(quick_vendor: Vendor) -> None:
    """A hook of the application sees at every evaluation whether Unleash wants impressions of the feature."""
    quick_vendor.back.write(feature("impressed", strategy(), impressionData=True))
    quick_vendor.back.write(feature("unimpressed", strategy()))
    quick_vendor.seen()
    hook = _Watching()
    api.set_provider_and_wait(quick_vendor.provider(), "impressions")
    try:
        client = api.get_client("impressions")
        client.add_hooks([hook])
        assert client.get_boolean_value("impressed", default_value=False)
        assert client.get_boolean_value("unimpressed", default_value=False)
        assert hook.seen == {"impressed": True, "unimpressed": False}
    finally:
        api.shutdown()
