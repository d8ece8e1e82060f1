"""The real SDK on the emulator: start, stream, every kind of message, and bad days."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from splitio.client.client import Client

from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.emulator.desk import Words
from flagbrake_split.emulator.wire import Instant
from tests.split.sdk import definition, factory, seen
from tests.support.waiting import wait_until

WORDS = Words("ann", "a title", "a comment")


def test_starts(split: SplitEmulator) -> None:
    """The SDK is ready with what is there: treatments, configurations, individual keys, shares."""
    treatments = [{"name": "on", "keys": ["ann"], "configurations": '{"a":1}'}, {"name": "off"}]
    split.put_definition(definition("refunds", "off", treatments=treatments))
    with factory(split) as made:
        client = made.client()
        assert client.get_treatment_with_config("ann", "refunds") == ("on", '{"a":1}')
        assert client.get_treatment("bob", "refunds") == "off"
        assert client.get_treatment("bob", "nothing") == "control"


def test_environments_apart(split: SplitEmulator) -> None:
    """A change in one environment is seen in that one only."""
    split.put_definition(definition("refunds", "on"), "production")
    split.put_definition(definition("refunds", "off"), "test")
    with factory(split, "production") as live, factory(split, "test") as test:
        split.put_definition(definition("marker"), "production")
        split.put_definition(definition("refunds", "on"), "test")
        seen(test.client(), "refunds", "on")
        seen(live.client(), "marker", "on")
        assert test.client().get_treatment("ann", "marker") == "control"


@pytest.mark.parametrize("instant", list(Instant))
def test_instant_updates(split: SplitEmulator, instant: Instant) -> None:
    """An update arrives inside the message, packed in each of three ways: nothing is downloaded for it."""
    split.publisher.instant = instant
    with factory(split) as made:
        assert quiet(split, made.client())


def test_updates_by_call(split: SplitEmulator) -> None:
    """A message may only call to download."""
    with factory(split) as made:
        assert quiet(split, made.client())
        split.publisher.instant = None
        assert downloads(split, made.client(), "called") > 0


def quiet(split: SplitEmulator, client: Client) -> bool:
    """True as soon as an update needs no download: what the SDK downloads when its stream opens is over then."""
    return any(downloads(split, client, f"round-{number}") == 0 for number in range(500))


def downloads(split: SplitEmulator, client: Client, flag: str) -> int:
    """How many times the SDK downloaded flags until it saw a new one."""
    fault = split.faults.add("/api/splitChanges", delay=1e-9)
    split.put_definition(definition(flag))
    seen(client, flag, "on")
    split.faults.clear(fault)
    return fault.met


def test_kill_and_restore(split: SplitEmulator) -> None:
    """Kill serves the default treatment to everybody, individual keys included; restore puts everything back."""
    treatments = [{"name": "on", "keys": ["ann"]}, {"name": "off"}]
    split.put_definition(definition("refunds", "on", treatments=treatments))
    with factory(split) as made:
        split.management.kill("test", "refunds", WORDS)
        seen(made.client(), "refunds", "off")
        split.management.restore("test", "refunds", WORDS)
        seen(made.client(), "refunds", "on")


def test_archive_and_remove(split: SplitEmulator) -> None:
    """A flag that is archived, or taken out of the environment, is control; brought back it is served again."""
    split.put_definition(definition("refunds"))
    with factory(split) as made:
        split.management.archive_flag("refunds", WORDS)
        seen(made.client(), "refunds", "control")
        split.management.unarchive_flag("refunds", WORDS)
        seen(made.client(), "refunds", "on")
        split.management.remove_definition("test", "refunds", WORDS)
        seen(made.client(), "refunds", "control")


def test_segments(split: SplitEmulator) -> None:
    """Keys put into a segment, and taken out again, are seen; a segment may be named before it has keys."""
    treatments = [{"name": "on", "segments": ["vip"]}, {"name": "off"}]
    split.put_segment("vip", [])
    split.put_definition(definition("refunds", "off", treatments=treatments))
    with factory(split) as made:
        split.put_segment("vip", ["ann", "bob"])
        seen(made.client(), "refunds", "on")
        split.put_segment("vip", ["bob"])
        seen(made.client(), "refunds", "off")
        assert made.client().get_treatment("bob", "refunds") == "on"


def test_rule_based_segments(split: SplitEmulator) -> None:
    """Rules of a segment, and changes of them, are seen."""
    matcher = {"type": "IN_SEGMENT", "string": "beta"}
    rule = {"condition": {"matchers": [matcher]}, "buckets": [{"treatment": "on", "size": 100}]}
    split.put_rule_based_segment({"name": "beta", "rules": [paying("pro")]})
    split.put_definition(definition("refunds", "off", rules=[rule]))
    with factory(split) as made:
        client = made.client()
        assert client.get_treatment("ann", "refunds", {"plan": "pro"}) == "on"
        assert client.get_treatment("ann", "refunds", {"plan": "free"}) == "off"
        split.put_rule_based_segment({"name": "beta", "rules": [paying("free")], "excludedKeys": ["bob"]})
        seen(client, "refunds", "on", attributes={"plan": "free"})
        assert client.get_treatment("bob", "refunds", {"plan": "free"}) == "off"


def paying(plan: str) -> dict[str, Any]:
    """A rule of a segment."""
    return {"condition": {"matchers": [{"type": "IN_LIST_STRING", "attribute": "plan", "strings": [plan]}]}}


def test_word_for_word(split: SplitEmulator) -> None:
    """A split from the back door is served as it is, and the management side shows it."""
    treatments = [{"name": "on", "keys": ["zoe"]}, {"name": "off"}]
    split.put_definition(definition("model", "off", treatments=treatments))
    raw = split.state.split(split.state.planes["test"], split.state.planes["test"].live["model"])
    split.put_split({**raw, "name": "refunds", "seed": 7, "algo": 1})
    with factory(split) as made:
        assert made.client().get_treatment("ann", "refunds") == "off"
        assert split.definition("refunds")["defaultRule"] == [{"treatment": "off", "size": 100}]
        split.management.patch_definition("test", "refunds", [on_by_default()], WORDS)
        seen(made.client(), "refunds", "on")
        live = split.state.planes["test"].live["refunds"]
        assert (live.hashing.seed, live.hashing.algo) == (7, 1), "its units stay in their shares"


def test_newer_vendor(split: SplitEmulator) -> None:
    """A matcher of a newer vendor is served and shown by its name: the SDK answers control to that flag only."""
    split.put_definition(definition("other"))
    split.put_definition(definition("refunds", rules=[rule_of({"type": "BOOLEAN", "attribute": "paid", "bool": True})]))
    plane = split.state.planes["test"]
    raw = split.state.split(plane, plane.live["refunds"])
    raw["conditions"][0]["matcherGroup"]["matchers"][0]["matcherType"] = "SOUNDS_LIKE"
    shown = split.put_split(raw)
    assert shown["rules"][0]["condition"]["matchers"][0]["type"] == "SOUNDS_LIKE"
    with factory(split) as made:
        assert made.client().get_treatment("ann", "refunds") == "control"
        assert made.client().get_treatment("ann", "other") == "on"
        split.management.kill("test", "refunds", WORDS)
        seen(made.client(), "refunds", "off")


def rule_of(matcher: dict[str, Any]) -> dict[str, Any]:
    """A rule that serves ``on``."""
    return {"condition": {"matchers": [matcher]}, "buckets": [{"treatment": "on", "size": 100}]}


def on_by_default() -> dict[str, Any]:
    """A JSON Patch operation."""
    return {"op": "replace", "path": "/defaultRule", "value": [{"treatment": "on", "size": 100}]}


def test_reallocate(split: SplitEmulator) -> None:
    """Reallocation gives new seeds."""
    split.put_definition(definition("refunds"))
    before = split.state.planes["test"].live["refunds"].hashing
    split.management.reallocate("test", "refunds", WORDS)
    assert split.state.planes["test"].live["refunds"].hashing != before


def test_reports(split: SplitEmulator) -> None:
    """Impressions and tracked events arrive, by environment."""
    split.put_definition(definition("refunds"))
    with factory(split) as made:
        made.client().get_treatment("ann", "refunds")
        made.client().track("ann", "user", "paid", 3.5)
        wait_until(lambda: split.impressions("test") and split.events("test"), why="the reports")
    assert split.impressions("test")[0]["f"] == "refunds"
    assert split.impressions("test")[0]["k"] == "ann"
    assert split.events("test")[0]["eventTypeId"] == "paid"
    assert split.impressions("production") == []


def test_polling(split: SplitEmulator) -> None:
    """Without streaming the SDK sees changes at its next poll."""
    split.put_definition(definition("refunds", "off"))
    with factory(split, streaming=False) as made:
        split.put_definition(definition("refunds", "on"))
        seen(made.client(), "refunds", "on")
        assert split.streams == 0


def test_flag_sets(split: SplitEmulator) -> None:
    """An SDK that asks for flag sets gets their flags only, and forgets a flag that leaves them."""
    split.put_definition(definition("refunds", flagSets=[{"id": "backend", "type": "flagset"}]))
    split.put_definition(definition("other"))
    with factory(split, flagSetsFilter=["backend"]) as made:
        assert made.client().get_treatments_by_flag_set("ann", "backend") == {"refunds": "on"}
        assert made.client().get_treatment("ann", "other") == "control"
        split.put_definition(definition("refunds"))
        seen(made.client(), "refunds", "control")


# --- bad days ------------------------------------------------------------------------------------------------


def test_stream_cut_before_the_message(split: SplitEmulator) -> None:
    """A stream that is cut between a commit and its message loses nothing: the SDK downloads when it is back."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.publisher.cut_before_next()
        split.put_definition(definition("refunds", "on"))
        seen(made.client(), "refunds", "on")
        wait_until(lambda: split.streams == 1, why="the new stream")
        split.put_definition(definition("refunds", "off"))
        seen(made.client(), "refunds", "off")


def test_messages_out_of_order(split: SplitEmulator) -> None:
    """Messages that arrive backwards leave the last state."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.publisher.hold()
        for treatment in ("on", "off", "on"):
            split.put_definition(definition("refunds", treatment))
        split.put_definition(definition("marker"))
        assert split.publisher.release(backwards=True) == 4
        seen(made.client(), "marker", "on")
        seen(made.client(), "refunds", "on")


def test_paused_and_resumed(split: SplitEmulator) -> None:
    """Paused, the SDK polls; resumed, it listens again."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.publisher.control("STREAMING_PAUSED")
        split.hub.mute()
        split.put_definition(definition("refunds", "on"))
        seen(made.client(), "refunds", "on")
        split.hub.mute(on=False)
        split.publisher.control("STREAMING_ENABLED")
        split.put_definition(definition("refunds", "off"))
        seen(made.client(), "refunds", "off")


def test_nobody_publishes(split: SplitEmulator) -> None:
    """With no publishers in both regions the SDK polls, and listens again when they are back."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.publisher.occupancy(0)
        split.hub.mute()
        split.put_definition(definition("refunds", "on"))
        seen(made.client(), "refunds", "on")
        split.hub.mute(on=False)
        split.publisher.occupancy(2)
        split.put_definition(definition("refunds", "off"))
        seen(made.client(), "refunds", "off")


def test_token_expired(split: SplitEmulator) -> None:
    """An expired token, told in the stream, is renewed and nothing is lost."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.hub.mute()
        split.put_definition(definition("refunds", "on"))
        split.hub.mute(on=False)
        split.publisher.error(40142)
        split.hub.cut(clean=True)
        seen(made.client(), "refunds", "on")


def test_token_refused(split: SplitEmulator) -> None:
    """A stream is refused to a token that is nobody's, and to one that has expired."""
    import httpx

    with httpx.Client(base_url=split.url) as client:
        assert client.get("/event-stream", params={"accessToken": "a.b.c", "channels": "x"}).status_code == 401
        split.sdk_plane.lifetime = -1
        token = client.get("/api/v2/auth", headers={"Authorization": f"Bearer {split.sdk_key()}"}).json()["token"]
        answer = client.get("/event-stream", params={"accessToken": token, "channels": "x"})
        assert (answer.status_code, "40142" in answer.text) == (401, True)


def test_no_push(split: SplitEmulator) -> None:
    """An SDK that is told to poll does so."""
    split.sdk_plane.streaming = False
    split.put_definition(definition("refunds", "off"))
    with factory(split, streaming=False) as made:
        split.put_definition(definition("refunds", "on"))
        seen(made.client(), "refunds", "on")


def test_segment_that_never_loads(split: SplitEmulator) -> None:
    """With a segment that never loads every other flag is served, and follows."""
    split.put_segment("vip", ["ann"])
    split.put_definition(definition("refunds", "off"))
    split.faults.add("/api/segmentChanges/vip", hang=True)
    with factory(split) as made:
        treatments = [{"name": "on", "segments": ["vip"]}, {"name": "off"}]
        split.put_definition(definition("segmented", "off", treatments=treatments))
        seen(made.client(), "segmented", "off")
        assert made.client().get_treatment("ann", "refunds") == "off"
        split.faults.clear()


def test_wrong_key(split: SplitEmulator) -> None:
    """A key that nobody has is refused by every endpoint of SDKs."""
    import httpx

    with httpx.Client(base_url=split.url, headers={"Authorization": "Bearer wrong"}) as client:
        for path in ("/api/splitChanges", "/api/segmentChanges/vip", "/api/v2/auth"):
            assert client.get(path).status_code == 401
        assert client.post("/api/testImpressions/bulk", json=[]).status_code == 401


def test_never_400(split: SplitEmulator) -> None:
    """splitChanges answers nonsense as one who has nothing: a 400 would send SDKs to an older dialect for a day."""
    import httpx

    split.put_definition(definition("refunds"))
    headers = {"Authorization": f"Bearer {split.sdk_key()}"}
    with httpx.Client(base_url=split.url, headers=headers) as client:
        answer = client.get("/api/splitChanges", params={"since": "yesterday", "s": "9.9"})
    assert (answer.status_code, len(answer.json()["ff"]["d"])) == (200, 1)


def test_state_survives(split: SplitEmulator) -> None:
    """Stopped and started again it has its port and its flags; who was connected comes back."""
    url = split.url
    split.put_definition(definition("refunds"))
    split.stop()
    with split:
        assert split.url == url
        with factory(split) as made:
            assert made.client().get_treatment("ann", "refunds") == "on"


def test_restart_under_an_sdk(split: SplitEmulator) -> None:
    """An SDK that was connected when the vendor restarted comes back and has what changed meanwhile."""
    split.put_definition(definition("refunds", "off"))
    with factory(split) as made:
        split.stop()
        split.put_definition(definition("refunds", "on"))
        split.start()
        # The SDK may wait ten seconds before it tries a second time.
        seen(made.client(), "refunds", "on", timeout=30)
        wait_until(lambda: split.streams == 1, timeout=30, why="the stream")


def test_waiting(split: SplitEmulator) -> None:
    """wait_for hears of changes made by others, and gives up in time."""
    later = threading.Thread(target=split.put_definition, args=[definition("refunds")])
    later.start()
    assert split.wait_for(lambda: split.change_number() > 0)
    later.join()
    assert not split.wait_for(lambda: False, timeout=0.01)
