"""The vendor's SDK, held by the handles that it does not offer: how a fetch ended, and the state it takes.

Reaches into private parts of UnleashClient 6.9 (the distribution pins that minor version): its transport swallows
every failure into a log line with a traceback, so that nobody can tell an outage from "nothing new".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import requests
from UnleashClient._transport import FetchResult, _Transport
from UnleashClient.cache import BaseCache, FileCache
from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.constants import FEATURES_URL, STREAMING_URL
from UnleashClient.utils import InstanceAllowType

from flagbrake.errors import ConfigError, Unavailable, VendorUnavailable


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """What the SDK is made with. ``url`` ends in ``/api``; times are seconds."""

    url: str
    token: str = field(repr=False)
    app_name: str = "flagbrake"
    environment: str = "default"
    refresh_interval: float = 15.0
    metrics_interval: float = 60.0
    timeout: float = 5.0
    cache_directory: str | None = None
    bootstrap: str | None = None
    streaming: bool = False


class Outcome(StrEnum):
    """How a fetch ended."""

    FETCHED = "fetched"
    REFUSED = "refused"
    FAILED = "failed"


class MemoryCache(BaseCache):
    """The SDK's cache without a file."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        """Keep one entry."""
        self._held[key] = value

    def mset(self, data: Mapping[str, Any]) -> None:
        """Keep several."""
        self._held.update(data)

    def get(self, key: str, default: Any = None) -> Any:
        """One entry."""
        return self._held.get(key, default)

    def exists(self, key: str) -> bool:
        """Is it there?"""
        return key in self._held

    def destroy(self) -> None:
        """Forget everything."""
        self._held.clear()


class Transport(_Transport):
    """Fetches with one connection kept open, says how it ended, and registers only after a fetch went well."""

    def __init__(self, client: UnleashClient, tell: Callable[[Outcome, str], None]) -> None:
        super().__init__(client._config, client._headers)  # noqa: SLF001 - see the module's docstring
        self._store = client._store  # noqa: SLF001
        self._tell = tell
        self._one = threading.RLock()
        self._session = requests.Session()
        self._etag = ""
        self._to_register: dict[str, Any] | None = None

    def fetch_features(self, etag: str = "") -> FetchResult:
        """Fetch, hand the state over, tell how it ended. The lock keeps an older answer from following a newer one.

        The SDK's poller stores what this returns; it is told that nothing is new, for it is stored already.
        """
        with self._one:
            outcome, message = self._fetch()
            self._tell(outcome, message)
            if outcome is Outcome.FETCHED and self._to_register is not None:
                payload, self._to_register = self._to_register, None
                super().register(payload)
        return FetchResult(None, "", not_modified=True)

    def register(self, payload: dict[str, Any]) -> bool:
        """Later: a start waits for data, not for this."""
        self._to_register = payload
        return True

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _fetch(self) -> tuple[Outcome, str]:
        config = self._config
        headers = {
            **self._headers.polling(),
            "UNLEASH-APPNAME": config.app_name,
            "UNLEASH-INSTANCEID": config.instance_id,
            **({"If-None-Match": self._etag} if self._etag else {}),
        }
        params = {"project": config.project_name} if config.project_name else {}
        try:
            answer = self._session.get(
                config.url + FEATURES_URL, headers=headers, params=params, timeout=config.request_timeout
            )
        except (requests.RequestException, ValueError) as error:
            return Outcome.FAILED, f"Unleash does not answer ({type(error).__name__})"
        match answer.status_code:
            case 304:
                return Outcome.FETCHED, ""
            case 200:
                return self._stored(answer)
            case 401 | 403:
                return Outcome.REFUSED, f"Unleash refuses the backend token ({answer.status_code})"
            case status:
                return Outcome.FAILED, f"Unleash answered {status}"

    def _stored(self, answer: requests.Response) -> tuple[Outcome, str]:
        etag = answer.headers.get("etag", "")
        try:
            self._store.apply_fetched(answer.content.decode(), etag)
        except ValueError:
            return Outcome.FAILED, "Unleash answered something that is no feature state"
        self._etag = etag
        return Outcome.FETCHED, ""


class Sdk:
    """One SDK client: made, started, asked for its engine, stopped.

    Args:
        settings: what it is made with.
        take: takes each new state before the engine does, and returns what the engine is to have.
        tell: hears how each fetch ended.
        state: a state to begin with, newer than any bootstrap.
    """

    def __init__(
        self,
        settings: SdkSettings,
        *,
        take: Callable[[str, Callable[[str], Any]], Any],
        tell: Callable[[Outcome, str], None],
        state: str | None = None,
    ) -> None:
        self.settings = settings
        cache = FileCache(settings.app_name, directory=settings.cache_directory) if settings.cache_directory else None
        self._cache = cache or MemoryCache()
        kept = self._cache.get(FEATURES_URL)
        begin = state or kept or _bootstrap(settings)
        self.client = UnleashClient(
            settings.url,
            settings.app_name,
            environment=settings.environment,
            refresh_interval=settings.refresh_interval,  # type: ignore[arg-type]  # the scheduler takes fractions
            metrics_interval=max(1, int(settings.metrics_interval)),
            disable_metrics=settings.metrics_interval <= 0,
            request_timeout=settings.timeout,  # type: ignore[arg-type]  # and so does requests
            request_retries=0,
            custom_headers={"Authorization": settings.token},
            cache=self._cache,
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
            experimental_mode={"type": "streaming" if settings.streaming else "polling"},
            sdk_flavor="flagbrake",
        )
        self.engine = self.client._engine  # noqa: SLF001
        original = self.engine.take_state
        self.engine.take_state = lambda text: take(text, original)
        self.transport = Transport(self.client, tell)
        self.client._transport = self.transport  # noqa: SLF001
        self.client._metrics._transport = self.transport  # noqa: SLF001
        if begin:
            self._cache.set(FEATURES_URL, begin)
            self.engine.take_state(begin)

    def start(self) -> None:
        """Start polling, or the stream; the first fetch is done when this returns.

        Raises:
            ConfigError: streaming is asked for and this server has none.
            VendorUnavailable: streaming is asked for and the server does not answer.
        """
        if self.settings.streaming:
            self._streams()
        self.client.initialize_client()

    def refresh(self) -> None:
        """Fetch now."""
        self.transport.fetch_features()

    def stop(self) -> None:
        """Send the last metrics, end all threads, close all connections."""
        self.client.destroy()
        self.transport.close()

    def _streams(self) -> None:
        headers = {"Authorization": self.settings.token, "Accept": "text/event-stream"}
        try:
            with requests.get(
                self.settings.url + STREAMING_URL, headers=headers, timeout=self.settings.timeout, stream=True
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise VendorUnavailable(f"Unleash does not answer ({type(error).__name__}).") from None
        if status == 404:
            # The SDK would wait for events for ever and answer False to everything.
            raise ConfigError(
                "This Unleash server has no streaming (its open-source edition has none).",
                cure="leave `streaming` out: polling is the default",
            )
        if status >= 400:
            raise Unavailable(f"Unleash answered {status} to the stream.")


def _bootstrap(settings: SdkSettings) -> str | None:
    if settings.bootstrap is None:
        return None
    try:
        return Path(settings.bootstrap).read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"The bootstrap file '{settings.bootstrap}' cannot be read ({error.strerror}).",
            cure="a file with what /api/client/features answers",
        ) from None
