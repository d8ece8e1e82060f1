"""The stream of an Enterprise server: the SDK's own connector, with what it swallows said aloud.

The SDK's thread logs a lost stream and nobody hears of it, reads on after an event that it could not take, sleeps
between two attempts where nobody can wake it, and takes silence longer than one request's timeout for a failure.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from ld_eventsource import SSEClient  # type: ignore[import-untyped]
from ld_eventsource.actions import Event, Fault  # type: ignore[import-untyped]
from ld_eventsource.config import ConnectStrategy, ErrorStrategy  # type: ignore[import-untyped]
from ld_eventsource.errors import HTTPStatusError  # type: ignore[import-untyped]
from UnleashClient.connectors import StreamingConnector
from urllib3 import Timeout

from flagbrake_unleash.outcome import Outcome

#: Seconds of silence after which a stream is taken for dead; the server sends a sign of life more often.
_SILENCE: Final = 60.0
#: Seconds before the first attempt to come back, and at most.
_FIRST, _LAST = 0.5, 30.0
_CARRIES: Final = frozenset({"unleash-connected", "unleash-updated"})

NO_STREAMING: Final = "This Unleash server has no streaming (its open-source edition has none)"


class Stream(StreamingConnector):
    """Reads the stream until it is stopped, and tells how it goes.

    Args:
        timeout: seconds to connect.
        tell: hears how it goes.
        the rest: as the SDK's.
    """

    def __init__(
        self,
        store: Any,
        url: str,
        headers: dict[str, str],
        *,
        timeout: float,
        tell: Callable[[Outcome, str], None],
    ) -> None:
        options = {"timeout": Timeout(connect=timeout, read=_SILENCE)}
        super().__init__(store, url, headers, request_timeout=None, custom_options=options)  # type: ignore[arg-type]
        self._tell = tell

    def _run(self) -> None:
        connect = ConnectStrategy.http(
            self._base_url, headers=self._headers, urllib3_request_options=self._custom_options
        )
        self._client = SSEClient(connect, initial_retry_delay=0, error_strategy=ErrorStrategy.always_continue())
        pause = _FIRST
        try:
            for action in self._client.all:
                if self._stop.is_set():
                    return
                if isinstance(action, Event) and action.event in _CARRIES:
                    if self._applied(action.data):
                        pause = _FIRST
                        self._tell(Outcome.FETCHED, "")
                        continue
                    self._tell(Outcome.FAILED, "Unleash's stream brought something that is no feature state")
                    self._client.interrupt()  # what comes after would build on it: begin anew
                elif isinstance(action, Fault):
                    self._tell(*_meaning(action.error))
                else:
                    continue
                if self._stop.wait(pause * random.uniform(0.5, 1.0)):  # noqa: S311 - spreads clients, hides nothing
                    return
                pause = min(2 * pause, _LAST)
        finally:
            self._client.close()

    def _applied(self, data: str) -> bool:
        try:
            self._store.apply_streamed(data)
        except Exception:  # noqa: BLE001 - whatever the engine says, the stream is begun anew
            return False
        return True


def _meaning(error: Exception | None) -> tuple[Outcome, str]:
    if isinstance(error, HTTPStatusError):
        if error.status in {401, 403}:
            return Outcome.REFUSED, f"Unleash refuses the backend token ({error.status})"
        if error.status == 404:
            return Outcome.FAILED, NO_STREAMING
        return Outcome.FAILED, f"Unleash answered {error.status} to the stream"
    return Outcome.FAILED, f"Unleash's stream ended{f' ({type(error).__name__})' if error else ''}"
