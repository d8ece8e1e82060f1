"""One question to the SDK, and the label that comes with its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from splitio.models.telemetry import MethodExceptionsAndLatencies
from splitio.util.time import get_current_epoch_time_ms

_METHOD: Final = MethodExceptionsAndLatencies.TREATMENT_WITH_CONFIG


class Asker:
    """Evaluates as ``get_treatment_with_config`` of the SDK's client does, and tells the label with the answer.

    The public method keeps the label to itself, and spends half of its time on checking what is checked here
    already and on a fallback that is thrown away. Impressions and latencies are recorded as it records them.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._context_for = client._context_factory.context_for  # noqa: SLF001 - pinned by a test
        self._evaluate = client._evaluator.eval_with_context  # noqa: SLF001 - pinned by a test
        self._impression = client._build_impression  # noqa: SLF001 - pinned by a test
        self._record = client._record_stats  # noqa: SLF001 - pinned by a test
        #: Sends an event, as the SDK's client does.
        self.track: Callable[..., Any] = client.track

    def silent(self) -> Asker:
        """The same without records: for a child of a process, where their locks may be held for ever."""
        made = Asker(self._client)
        made._record = made.track = _nothing
        return made

    def ask(self, key: str, bucketing: str | None, flag: str, attributes: dict[str, Any] | None) -> Any:
        """The SDK's result: treatment, and label and change number of its impression."""
        start = get_current_epoch_time_ms()
        result = self._evaluate(key, bucketing, flag, attributes, self._context_for(key, [flag]))
        impression = self._impression(key, bucketing, flag, result)
        self._record([(impression, attributes)], start, _METHOD)
        return result

    def look(self, key: str, bucketing: str | None, flag: str, attributes: dict[str, Any] | None) -> str:
        """The treatment alone, without an impression: as the SDK asks prerequisites."""
        treatment: str = self._evaluate(key, bucketing, flag, attributes, self._context_for(key, [flag]))["treatment"]
        return treatment


def _nothing(*_: Any) -> None: ...
