"""Split for tests: the emulator, the back door into it, and the real SDK over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from openfeature.provider import FeatureProvider

from flagbrake.model.flag import Flag
from flagbrake_contract import Harness
from flagbrake_contract.harness import Arrived
from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.provider import SplitProvider
from flagbrake_split.sdk_options import SdkOptions
from flagbrake_split.translate import split_from_flag
from tests.contract.harnesses import silent
from tests.split.sdk import definition, no_proxies
from tests.support.emulated import Emulated
from tests.support.waiting import wait_until

ENVIRONMENT: Final = "test"
Wrap = Callable[[FeatureProvider], FeatureProvider]


class Vendor(Emulated):
    """One emulated account, and everything made over it."""

    def __init__(self, **options: Any) -> None:
        self.emulator = SplitEmulator(ENVIRONMENT, **options)
        self.providers: list[SplitProvider] = []

    def provider(self, url: str = "", **options: Any) -> SplitProvider:
        """The provider over the real SDK, with short delays."""
        quick = {"timeout": 3.0, "refresh": 1.0, "reconnect_delay": 0.05, "reconnect_max": 0.3, "refused_delay": 0.2}
        settings: dict[str, Any] = {
            "sdk_key": self.emulator.sdk_key(ENVIRONMENT),
            "base_url": url or self.emulator.url,
            **quick,
            **options,
        }
        made = SplitProvider(SdkOptions(**settings))
        self.providers.append(made)
        return made

    def put(self, flag: Flag) -> None:
        """Seed a flag."""
        self.emulator.put_split(split_from_flag(flag).result, ENVIRONMENT)

    def damage(self, key: str) -> None:
        """A flag that the SDK cannot read: its rules are none."""
        emulator = self.emulator
        instant, emulator.publisher.instant = emulator.publisher.instant, None
        with emulator.management.transaction():
            emulator.put_definition(definition(key), ENVIRONMENT)
            live = emulator.state.planes[ENVIRONMENT].live[key]
            live.raw = {"name": key, "changeNumber": live.change_number, "status": "ACTIVE", "conditions": "none"}
        emulator.publisher.instant = instant

    def tracked(self) -> list[Arrived]:
        """Events that arrived, sent without waiting for the SDK's timer."""
        for provider in self.providers:
            if provider._connection is not None and provider._connection._factory is not None:
                synchronizer = provider._connection._factory._sync_manager._synchronizer
                synchronizer._split_tasks.events_task.flush()
        events = self.emulator.events(ENVIRONMENT)
        return [(e["eventTypeId"], e["key"], e.get("value"), e.get("properties") or {}) for e in events]

    def settle(self) -> None:
        """Return when every started provider has what the emulator has."""
        wanted = self.emulator.change_number(ENVIRONMENT)
        for provider in self.providers:
            wait_until(lambda provider=provider: _has(provider, wanted), timeout=20, why="the stream")


def _has(provider: SplitProvider, wanted: int) -> bool:
    connection = provider._connection
    if not provider._serving or connection is None or connection.asker is None:
        return True
    if connection.storage().get_change_number() < wanted:
        return False
    with provider._received._writing:  # the SDK has it; whoever brings it over to us is through now
        return True


@contextmanager
def vendor(**options: Any) -> Iterator[Vendor]:
    """A started emulator; whatever was made over it is stopped at the end."""
    made = Vendor(**options)
    with no_proxies():
        made.emulator.start()
        try:
            yield made
        finally:
            for provider in made.providers:
                provider.shutdown()
            made.emulator.stop()


@contextmanager
def harness(wrap: Wrap = lambda provider: provider, **tools: Any) -> Iterator[Harness]:
    """For the contract."""
    with (
        vendor() as made,
        silent() as port,
        Harness(
            lambda: wrap(made.provider(timeout=made.start_timeout)),
            made.put,
            remove=lambda key: made.emulator.delete(key, ENVIRONMENT),
            settle=made.settle,
            tracked=made.tracked,
            damage=made.damage,
            break_vendor=made.away,
            restore_vendor=made.back,
            make_rejected=lambda: wrap(made.provider(sdk_key="a-wrong-key-of-nobody", timeout=made.start_timeout)),
            make_hanging=lambda: wrap(made.provider(f"http://127.0.0.1:{port}", timeout=0.5)),
            secrets=(made.emulator.sdk_key(ENVIRONMENT), made.emulator.admin_key),
            patience=15.0,
            known_deviations=DEVIATIONS,
            **tools,
        ) as ready,
    ):
        yield ready


_SEEN_AS_TEXT: Final = "Split's matchers read numbers, booleans and structures as texts, and texts as numbers"
_MINUTES: Final = (
    "Split compares moments by whole minutes and has no strict after or before; datetimes arrive as seconds"
)
_KEYS: Final = "Split's SDK answers control for a key that is blank or longer than 250 characters"
_DEFAULT_TREATMENT: Final = "a definition of Split always has a default treatment, which a killed flag serves"
_HASH: Final = "Split buckets with a hash of its own: the same units stay together, not the same as elsewhere"
#: What Split cannot do; docs/split.md tells it to users.
DEVIATIONS: Final = {
    "targeting.structure_no_text": _SEEN_AS_TEXT,
    "targeting.after": _MINUTES,
    "targeting.after_text": _MINUTES,
    "targeting.after_naive": _MINUTES,
    "targeting.datetime_no_number": _MINUTES,
    "targeting.prerequisite_off": "a flag of Split that is killed still has a treatment, and that counts",
    "splits.odd_units": _KEYS,
    "context.long_key": _KEYS,
    "off.without_variant": _DEFAULT_TREATMENT,
    "off.without_variant_boolean": _DEFAULT_TREATMENT,
    "common.story": _HASH,
    "common.buckets": _HASH,
}
