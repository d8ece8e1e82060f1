"""LaunchDarkly for tests: the emulator, the back door into it, and the real SDK and control over it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from openfeature.provider import FeatureProvider

from flagbrake.model.flag import Distribution, Flag, Serve
from flagbrake.testing import MemoryLock
from flagbrake_contract import Harness
from flagbrake_launchdarkly.control import LaunchDarklyControl
from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from flagbrake_launchdarkly.emulator.flags import new_flag
from flagbrake_launchdarkly.options import ApiOptions, SdkOptions
from flagbrake_launchdarkly.provider import LaunchDarklyProvider
from flagbrake_launchdarkly.translate import flag_to_sdk
from tests.contract.harnesses import silent
from tests.support.emulated import Emulated
from tests.support.waiting import wait_until

ENVIRONMENT: Final = "test"
#: The story of the contract names units and the variants they get: with this seed LaunchDarkly's hash gives them too.
_STORY_SEED: Final = 179
Wrap = Callable[[FeatureProvider], FeatureProvider]


class Vendor(Emulated):
    """One emulated account, and everything made over it."""

    def __init__(self, *, kind: str = "user", **options: Any) -> None:
        #: The context kind that targeting keys belong to.
        self.kind = kind
        self.emulator = LaunchDarklyEmulator(environment=ENVIRONMENT, **options)
        self.providers: list[LaunchDarklyProvider] = []
        self._names: dict[str, tuple[str, ...]] = {}

    # --- what is tested -------------------------------------------------------------------------------

    def provider(self, url: str = "", **options: Any) -> LaunchDarklyProvider:
        """The provider over the real SDK, with short delays."""
        url = url or self.emulator.url
        quick = {"timeout": 2.0, "reconnect_delay": 0.05, "reconnect_max": 0.3, "refused_delay": 0.2}
        settings: dict[str, Any] = {
            "sdk_key": self.emulator.sdk_key(ENVIRONMENT),
            "base_uri": url,
            "stream_uri": url,
            "events_uri": url,
            "context_kind": self.kind,
            **quick,
            **options,
        }
        made = LaunchDarklyProvider(SdkOptions(**settings))
        self.providers.append(made)
        return made

    def control(self, **options: Any) -> LaunchDarklyControl:
        """The control over the management API."""
        settings: dict[str, Any] = {
            "api_token": self.emulator.api_token,
            "api_url": self.emulator.url,
            "project_key": self.emulator.account.project,
            "environment_key": ENVIRONMENT,
            "api_timeout": 2.0,
            "context_kind": self.kind,
            **options,
        }
        return LaunchDarklyControl(ApiOptions(**settings), project="contract", environment=ENVIRONMENT)

    # --- the back door --------------------------------------------------------------------------------

    def put(self, flag: Flag) -> None:
        """Seed a flag; also under keys that LaunchDarkly's own API would not take."""
        account = self.emulator.account
        self._names[flag.key] = flag.variant_names
        document = flag_to_sdk(flag, names=self._names, unit=self.kind).result
        document.pop("version")
        if _of_the_story(flag.default):
            document["fallthrough"]["rollout"]["seed"] = _STORY_SEED
        with account.lock:
            if flag.key not in account.flags:
                account.flags[flag.key] = self._blank(flag.key)
            # In one commit with the definition: SDKs are told once.
            account.flags[flag.key].update(tags=list(flag.tags), description=flag.description)
            self.emulator.put_flag(ENVIRONMENT, document)

    def _blank(self, key: str) -> dict[str, Any]:
        values = [{"value": True}, {"value": False}]
        made = new_flag({"key": "any", "name": key, "variations": values}, self.emulator.account.environments)
        return {**made, "key": key}

    def damage(self, key: str) -> None:
        """A flag that serves a variation it does not have."""
        account = self.emulator.account
        with account.lock:
            flag = copy.deepcopy(account.flags.get(key) or self._blank(key))
            flag["environments"][ENVIRONMENT]["fallthrough"] = {"variation": 99}
            account.commit_flag(key, flag, by="back door")

    def settle(self) -> None:
        """Return when every started provider has what the emulator has."""
        try:
            flags = self.emulator.everything(ENVIRONMENT)["flags"]
            assert self.emulator.url
        except (AssertionError, RuntimeError):
            return
        wanted = {key: flag["version"] for key, flag in flags.items()}
        for provider in self.providers:
            wait_until(lambda provider=provider: _has(provider, wanted), timeout=20, why="the stream")

    def tracked(self) -> list[tuple[str, str | None, float | None, dict[str, Any]]]:
        """Custom events, sent without waiting for the SDK's timer."""
        for provider in self.providers:
            if provider._connection is not None and provider._connection.client is not None:
                provider._connection.client.flush()
        events = self.emulator.events("custom", ENVIRONMENT)
        return [(e["key"], e["context"].get("key"), e.get("metricValue"), e.get("data") or {}) for e in events]

    def audited(self, key: str) -> list[tuple[str, str]]:
        """LaunchDarkly's audit log, oldest first."""
        control = self.control()
        try:
            return [(entry.by, entry.reason) for entry in reversed(list(control.history(key, 100)))]
        finally:
            control.close()

    @contextmanager
    def refusing(self, status: int, **headers: str) -> Iterator[None]:
        """Every write is answered so."""
        fault = self.emulator.faults.add("/api/v2/*", method="PATCH", status=status, headers=headers)
        try:
            yield
        finally:
            self.emulator.faults.clear(fault)

    @contextmanager
    def approving(self) -> Iterator[None]:
        """The environment demands approvals."""
        self.emulator.require_approvals(ENVIRONMENT)
        try:
            yield
        finally:
            self.emulator.require_approvals(ENVIRONMENT, on=False)


def _of_the_story(serve: Serve) -> bool:
    return isinstance(serve, Distribution) and serve.bucketing.salt == "contract"


def _has(provider: LaunchDarklyProvider, wanted: dict[str, int]) -> bool:
    if not provider._serving or provider._received is None:
        return True
    return {key: known.flag.version for key, known in dict(provider._received.flags).items()} == wanted


@contextmanager
def vendor(**options: Any) -> Iterator[Vendor]:
    """A started emulator; whatever was made over it is stopped at the end."""
    made = Vendor(**options)
    made.emulator.start()
    try:
        yield made
    finally:
        for provider in made.providers:
            provider.shutdown()
        made.emulator.stop()


@contextmanager
def harness(wrap: Wrap = lambda provider: provider, **options: Any) -> Iterator[Harness]:
    """For the contract."""
    with vendor(**options) as made, silent() as port:
        soon = str(int((time.time() + 3600) * 1000))
        control = made.control()
        with Harness(
            lambda: wrap(made.provider(timeout=made.start_timeout)),
            made.put,
            control=control,
            lock=MemoryLock(),
            remove=made.emulator.delete_flag,
            settle=made.settle,
            break_vendor=made.away,
            restore_vendor=made.back,
            make_rejected=lambda: wrap(made.provider(sdk_key="sdk-wrong", timeout=made.start_timeout)),
            make_hanging=lambda: wrap(made.provider(f"http://127.0.0.1:{port}", timeout=0.5)),
            secrets=(made.emulator.sdk_key(ENVIRONMENT), made.emulator.api_token),
            audited=made.audited,
            tracked=made.tracked,
            damage=made.damage,
            refuse={
                "NotAllowed": lambda: made.refusing(403),
                "ApprovalRequired": made.approving,
                "RetryLater": lambda: made.refusing(429, **{"X-Ratelimit-Reset": soon}),
            },
            known_deviations=DEVIATIONS,
        ) as ready:
            yield ready
        control.close()


#: What LaunchDarkly cannot do.
DEVIATIONS: Final = {
    "common.buckets": "LaunchDarkly buckets with a hash of its own: the same units stay together, not the same as "
    "elsewhere",
}
