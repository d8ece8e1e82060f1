"""The vendor's SDK, held by the handles that it does not offer: how a fetch ended, and the state it takes.

Reaches into private parts of UnleashClient 6.9 (the distribution pins that minor version): its transport swallows
every failure into a log line with a traceback, so that nobody can tell an outage from "nothing new".
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from UnleashClient._transport import FetchResult, _Transport
from UnleashClient.cache import BaseCache, FileCache
from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.constants import FEATURES_URL, STREAMING_URL
from UnleashClient.utils import InstanceAllowType

from flagbrake.errors import ConfigError
from flagbrake_unleash.outcome import Outcome
from flagbrake_unleash.streaming import NO_STREAMING, Stream

_log = logging.getLogger("flagbrake.unleash")


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
        self._taken = False
        self._to_register: dict[str, Any] | None = None

    def fetch_features(self, etag: str = "") -> FetchResult:
        """Fetch, hand the state over, tell how it ended. The lock keeps an older answer from following a newer one.

        The SDK's poller stores what this returns; it is told that nothing is new, for it is stored already.
        """
        with self._one:
            self.told(*self._fetch())
        return FetchResult(None, "", not_modified=True)

    def told(self, outcome: Outcome, message: str) -> None:
        """How it went; the first time that it went well this program registers."""
        with self._one:
            self._tell(outcome, message)
            if outcome is Outcome.FETCHED and self._to_register is not None:
                payload, self._to_register = self._to_register, None
                super().register(payload)

    def took(self, take: Callable[[], Any]) -> Any:
        """Hand a state over, one at a time, and remember whether it was taken: the SDK's store swallows that."""
        with self._one:
            self._taken = False
            warnings = take()
            self._taken = True
            return warnings

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
        etag, text = answer.headers.get("etag", ""), answer.content.decode("utf-8", "replace")
        # Looked at first: the store would keep anything in the cache, and a start without the server have only that.
        if is_state(text):
            self._store.apply_fetched(text, etag)
            if self._taken:
                self._etag = etag
                return Outcome.FETCHED, ""
        return Outcome.FAILED, "Unleash answered something that is no feature state"


class Sdk:
    """One SDK client: made, started, asked for its engine, stopped.

    Args:
        settings: what it is made with.
        take: takes each new state before the engine does, and returns what the engine is to have.
        held: the whole state that was taken last, as the server sent it.
        tell: hears how each fetch ended.
        state: a state to begin with, newer than any bootstrap.
    """

    def __init__(
        self,
        settings: SdkSettings,
        *,
        take: Callable[[str, Callable[[str], Any]], Any],
        held: Callable[[], str | None],
        tell: Callable[[Outcome, str], None],
        state: str | None = None,
    ) -> None:
        self.settings = settings
        self._cache, kept = _cache(settings)
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
            sdk_flavor="flagbrake",
        )
        self.engine = self.client._engine  # noqa: SLF001
        original = self.engine.take_state
        self.transport = Transport(self.client, tell)
        self.engine.take_state = lambda text: self.transport.took(lambda: take(text, original))
        self.engine.get_state = held  # the engine's own has our numbers in its names
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
        if not self.settings.streaming:
            self.client.initialize_client()
            return
        self._streams()
        # The SDK offers no place for a connector of one's own; this one takes that of its offline mode, which reads
        # the cache again now and then.
        self.client.initialize_client(fetch_toggles=False)
        self.client.connector.stop()  # type: ignore[no-untyped-call]
        self.client.connector = Stream(
            self.client._store,  # noqa: SLF001 - see the module's docstring
            self.settings.url,
            self.client._headers.streaming(),  # noqa: SLF001 - see the module's docstring
            timeout=self.settings.timeout,
            tell=self.transport.told,
        )
        self.client.connector.start()  # type: ignore[no-untyped-call]

    def refresh(self) -> None:
        """Fetch now."""
        self.transport.fetch_features()

    def stop(self) -> None:
        """Send the last metrics, end all threads, close all connections."""
        self.client.destroy()
        self.transport.close()

    def _streams(self) -> None:
        """Refuse a server without streaming, for which the SDK would wait for ever. Anything else is told later."""
        headers = {"Authorization": self.settings.token, "Accept": "text/event-stream"}
        try:
            with requests.get(
                self.settings.url + STREAMING_URL, headers=headers, timeout=self.settings.timeout, stream=True
            ) as answer:
                missing = answer.status_code == 404
        except requests.RequestException:
            return
        if missing:
            raise ConfigError(f"{NO_STREAMING}.", cure="leave `streaming` out: polling is the default")


def is_state(text: str) -> bool:
    """Is it what ``/api/client/features`` answers, at least in its outline?"""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    features = found.get("features") if isinstance(found, dict) else None
    return isinstance(features, list) and all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in features)


def _cache(settings: SdkSettings) -> tuple[BaseCache, str | None]:
    """The cache and what it keeps. What a crash or a full disk left in it is no reason not to start."""
    if not settings.cache_directory:
        return MemoryCache(), None
    cache = FileCache("unleash", directory=_cache_folder(settings))
    try:
        kept = cache.get(FEATURES_URL)
    except Exception as error:  # noqa: BLE001 - it unpickles a file
        _log.warning("The cache in '%s' cannot be read and is not used: %r.", settings.cache_directory, error)
        return cache, None
    if kept is None or (isinstance(kept, str) and is_state(kept)):
        return cache, kept
    _log.warning("What the cache in '%s' keeps is no feature state and is not used.", settings.cache_directory)
    return cache, None


def _cache_folder(settings: SdkSettings) -> str:
    """One for each program, server and environment: the SDK itself would let all of them share what stands there."""
    public, dot, _ = settings.token.partition(".")  # project:environment.secret
    of = json.dumps([settings.app_name, settings.url, settings.environment, public if dot else ""])
    return str(Path(settings.cache_directory or "") / hashlib.sha256(of.encode()).hexdigest()[:12])


def _bootstrap(settings: SdkSettings) -> str | None:
    if settings.bootstrap is None:
        return None
    try:
        text = Path(settings.bootstrap).read_text("utf-8")
        fact = "" if is_state(text) else "it is no feature state"
    except OSError as error:
        fact = str(error.strerror)
    except UnicodeDecodeError:
        fact = "it is no text"
    if fact:
        cure = "a file with what /api/client/features answers"
        raise ConfigError(f"The bootstrap file '{settings.bootstrap}' cannot be read ({fact}).", cure=cure)
    return text
