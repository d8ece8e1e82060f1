"""A kill as programs without flagbrake see it: LaunchDarkly's own flag serves what is safe, and comes back."""

from __future__ import annotations

from pathlib import Path

from ldclient import Config, Context, LDClient

from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.model.flag import Flag, Targets, Variant, ramp
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.receipt import Took
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.waiting import wait_until

#: Its off variation is the broken version: turned off alone it would serve that to everybody.
MISSET = Flag(
    "agents.refunds",
    FlagKind.STRING,
    (Variant("v1", "one"), Variant("v2", "two")),
    ramp("v2", 30_000, "v1"),
    off_variant="v2",
    targets=(Targets("v2", ("vip",)),),
)


def test_a_kill_serves_what_is_safe_and_comes_back(launchdarkly: Vendor, tmp_path: Path) -> None:
    """Off and the safe variant in one patch, seen by the bare SDK; restored, the environment is what it was."""
    launchdarkly.put(MISSET)
    url = launchdarkly.emulator.url
    key = launchdarkly.emulator.sdk_key(ENVIRONMENT)
    raw = LDClient(Config(key, base_uri=url, stream_uri=url, events_uri=url, send_events=False), start_wait=5)

    def served(unit: str) -> object:
        return raw.variation(MISSET.key, Context.create(unit), None)

    control = launchdarkly.control()
    manifest = Manifest({MISSET.key: Declaration(MISSET.key, safe_variant="v1")})
    place = f"sqlite:///{tmp_path / 'flags.db'}"
    try:
        with open_store(place, project="contract", environment=ENVIRONMENT, create=True) as store:
            writer = FlagWriter(control, lock=store.locks, audit=store.audit)
            switch = KillSwitch.over(store, writer=writer, manifest=lambda: manifest, vendor_off=True)
            before = control.read(MISSET.key)
            wait_until(lambda: served("vip") == "two", why="the flag")
            written = len(launchdarkly.audited(MISSET.key))
            receipt = switch.kill(f"flag:{MISSET.key}", by="ann", reason="paid twice", arm=True)
            assert {r.lane: r.took for r in receipt.lanes}["vendor-off"] is Took.TOOK
            wait_until(lambda: {served(unit) for unit in ("vip", "u1", "u2", "u3")} == {"one"}, why="the kill")
            assert len(launchdarkly.audited(MISSET.key)) == written + 1
            switch.restore(f"flag:{MISSET.key}", by="bob", reason="mended")
            wait_until(lambda: served("vip") == "two", why="the restore")
            after = control.read(MISSET.key)
            assert (after.flag.on, after.flag.off_variant) == (True, "v2")
            assert (after.flag.default, after.flag.targets) == (before.flag.default, before.flag.targets)
    finally:
        raw.close()
        control.close()
