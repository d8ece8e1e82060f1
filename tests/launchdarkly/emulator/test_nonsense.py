"""Bodies that make no sense: refused, never half done, never an error of the emulator's own."""

from __future__ import annotations

import json
from typing import Any

import launchdarkly_api as generated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from flagbrake_launchdarkly.emulator.instructions import KINDS
from tests.launchdarkly.emulator.clients import SEMANTIC, Api, parsed

SCALAR = st.none() | st.booleans() | st.integers(-2, 100_001) | st.floats(allow_nan=False) | st.text(max_size=5)
ANY = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
NAMES = [
    "variationId",
    "values",
    "contextKind",
    "targets",
    "clauses",
    "ruleId",
    "ruleIds",
    "clauseId",
    "clauseIds",
    "clause",
    "rules",
    "prerequisites",
    "key",
    "name",
    "value",
    "rolloutWeights",
    "rolloutBucketBy",
    "rolloutContextKind",
    "trackEvents",
    "description",
    "beforeRuleId",
    "onVariationValue",
]
INSTRUCTION = st.fixed_dictionaries({"kind": st.sampled_from(sorted(KINDS - {"deleteFlag"}))}).flatmap(
    lambda kind: st.dictionaries(st.sampled_from(NAMES), ANY, max_size=4).map(lambda more: {**more, **kind})
)
PATHS = (
    "", "/name", "/tags", "/tags/0", "/variations", "/variations/0", "/variations/0/value", "/defaults", "/archived",
    "/environments", "/environments/test", "/environments/test/on", "/environments/test/rules",
    "/environments/test/rules/0", "/environments/test/targets", "/environments/test/targets/0",
    "/environments/test/contextTargets", "/environments/test/fallthrough", "/environments/test/offVariation",
    "/environments/test/prerequisites", "/environments/test/version", "/clientSideAvailability", "/customProperties",
)  # fmt: skip
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove", "test", "copy"]), "path": st.sampled_from(PATHS), "value": ANY}
)
BODY = (
    ANY
    | st.lists(OPERATION, max_size=3)
    | st.fixed_dictionaries({"merge": ANY})
    | st.fixed_dictionaries({"environmentKey": st.just("test"), "instructions": st.lists(INSTRUCTION, max_size=3)})
)


def test_whatever_is_sent() -> None:
    """Any JSON at all is answered as the vendor answers, and what is kept can still be shown and streamed."""
    with LaunchDarklyEmulator() as ld, Api(ld) as api:
        api.create("f")

        @settings(max_examples=400, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(body=BODY, semantic=st.booleans())
        def send(body: Any, semantic: bool) -> None:
            headers = {"Content-Type": SEMANTIC if semantic else "application/json"}
            answer = api.http.patch("/flags/default/f", content=json.dumps(body), headers=headers)
            assert answer.status_code in {200, 400, 409, 422}, answer.text
            if answer.status_code == 200:
                parsed(generated.FeatureFlag, answer.text)
                assert ld.everything("test")["flags"].keys() <= {"f"}
            else:
                assert set(answer.json()) == {"code", "message", "id"}

        send()
        assert api.flag("f", None)["key"] == "f"
