"""The contract on a scratch project of a real LaunchDarkly account, named by environment variables.

What the emulator's back door does, a control of its own does here; the vendor cannot be broken on request.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from flagbrake.errors import Conflict, NotFound
from flagbrake.model.flag import Flag
from flagbrake.model.state import Create, Replace
from flagbrake.testing import MemoryLock
from flagbrake_contract import Harness, ProviderCapability, all_but
from flagbrake_launchdarkly.control import LaunchDarklyControl
from flagbrake_launchdarkly.options import ApiOptions, SdkOptions
from flagbrake_launchdarkly.provider import LaunchDarklyProvider
from tests.contract.harnesses import silent
from tests.support.waiting import wait_until

PREFIX: Final = "LAUNCHDARKLY_CONTRACT_"
_NEEDED: Final = ("SDK_KEY", "API_TOKEN", "PROJECT", "ENVIRONMENT")
Cap = ProviderCapability

_KEYS: Final = "LaunchDarkly's keys begin with a letter or digit and hold letters, digits, '.', '_' and '-' only"
_OFF: Final = "the management API cannot take an off variation away"
_TWICE: Final = "through the API a flag is made, or given new values, in two requests: SDKs are told twice"
_VALUES: Final = "the variations of a LaunchDarkly flag have distinct values"
#: Beside what LaunchDarkly's SDK cannot do: what its management API refuses to set up.
DEVIATIONS: Final = {
    **dict.fromkeys(("keys.unicode", "keys.url", "keys.punctuation", "keys.dunder", "keys.wildcard"), _KEYS),
    **dict.fromkeys(
        ("off.without_variant", "off.without_variant_boolean", "client.never_raises", "common.story"), _OFF
    ),
    **dict.fromkeys(
        ("events.after_the_fact", "events.once", "events.order", "events.after_restart", "threads.start_together"),
        _TWICE,
    ),
    "reading.fresh": "a value that other environments serve is not changed: the new one is a variation of its own",
    "targeting.zero_values": _VALUES,
    "common.buckets": "LaunchDarkly buckets with a hash of its own",
}


def missing() -> list[str]:
    """The variables that are not set; none of them, and the contract runs."""
    return [PREFIX + name for name in _NEEDED if not os.environ.get(PREFIX + name)]


class Account:
    """A scratch project: flags are made through the management API and deleted at the end."""

    def __init__(self) -> None:
        self._env = {name: os.environ[PREFIX + name] for name in _NEEDED}
        #: One address for both planes (an emulator, a proxy) instead of LaunchDarkly's own.
        self._url = os.environ.get(f"{PREFIX}URL", "")
        self.control = self.another_control()
        #: What SDKs have not shown yet: the version, ``None`` for a deleted flag.
        self._pending: dict[str, int | None] = {}
        self._providers: list[LaunchDarklyProvider] = []

    def another_control(self) -> LaunchDarklyControl:
        """A control over the project."""
        given: dict[str, Any] = {"api_url": self._url} if self._url else {}
        options = ApiOptions(
            api_token=self._env["API_TOKEN"],
            project_key=self._env["PROJECT"],
            environment_key=self._env["ENVIRONMENT"],
            **given,
        )
        return LaunchDarklyControl(options, project=self._env["PROJECT"], environment=self._env["ENVIRONMENT"])

    def provider(self, *, key: str = "", url: str = "") -> LaunchDarklyProvider:
        """The provider over the real SDK."""
        address = url or self._url
        given: dict[str, Any] = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), address) if address else {}
        made = LaunchDarklyProvider(SdkOptions(key or self._env["SDK_KEY"], **given))
        self._providers.append(made)
        return made

    def put(self, flag: Flag) -> None:
        """Make a flag, or put another definition in its place."""
        try:
            state = self.control.apply(Create(flag), by="contract")
        except Conflict:
            state = self.control.apply(Replace(flag), by="contract")
        self._pending[flag.key] = state.flag.version

    def delete(self, key: str) -> None:
        """Delete a flag."""
        self.control.delete(key)
        self._pending[key] = None

    def settle(self) -> None:
        """Return when the SDKs have what was made."""
        for provider in self._providers:
            wait_until(lambda provider=provider: self._has(provider), timeout=30, why="the stream")
        self._pending.clear()

    def _has(self, provider: LaunchDarklyProvider) -> bool:
        if not provider._serving or provider._received is None:
            return True
        there = dict(provider._received.flags)
        return all(
            (key not in there) if version is None else (key in there and there[key].flag.version >= version)
            for key, version in self._pending.items()
        )

    def audited(self, key: str) -> list[tuple[str, str]]:
        """LaunchDarkly's audit log, oldest first."""
        return [(entry.by, entry.reason) for entry in reversed(list(self.control.history(key, 100)))]

    def close(self) -> None:
        """Delete every flag that was made."""
        for provider in self._providers:
            provider.shutdown()
        # What the control under test made is here as well.
        there = [
            rep["key"] for state in ("live", "archived") for rep in self.control._api.flags(whole=False, state=state)
        ]
        for key in there:
            if "contract-" in key.lower() or key.startswith(("kill.", "flagbrake.")):
                with suppress(NotFound):
                    self.control.delete(key)
        self.control.close()


@contextmanager
def account() -> Iterator[Harness]:
    """For the contract."""
    made = Account()
    tested = made.another_control()
    with silent() as port:
        try:
            with Harness(
                made.provider,
                made.put,
                control=tested,
                lock=MemoryLock(),
                remove=made.delete,
                settle=made.settle,
                make_rejected=lambda: made.provider(key="sdk-00000000-0000-0000-0000-000000000000"),
                make_hanging=lambda: made.provider(url=f"http://127.0.0.1:{port}"),
                secrets=(made._env["SDK_KEY"], made._env["API_TOKEN"]),
                audited=made.audited,
                cannot_refuse="a real account cannot be told to",
                capabilities=all_but(Cap.STALE, Cap.UNAVAILABLE_INIT),
                known_deviations=DEVIATIONS,
                patience=30.0,
            ) as ready:
                yield ready
        finally:
            tested.close()
            made.close()
