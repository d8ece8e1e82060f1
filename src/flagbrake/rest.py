"""A vendor's management API over httpx: reads are repeated, writes never are, every failure is an error of ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flagbrake.errors import FlagbrakeError, MissingExtra, RetryLater, VendorUnavailable

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("flagbrake.rest")
T = TypeVar("T")

#: Answers that say "not now" about a read, which is then asked again.
_PASSING: Final = frozenset({500, 502, 503, 504})
#: Seconds before the first repetition of a read; doubled each time.
_PAUSE: Final = 0.2


def unsaid(_: httpx.Response) -> float | None:
    """The vendor does not say when to come back."""
    return None


@dataclass(slots=True)
class Rest:
    """One vendor's management API. Threads may share it.

    Args:
        vendor: the name in messages.
        base_url: where the API begins.
        headers: sent with every request; they hold the token and are in no repr, log or error.
        explain: the error for an answer of 400 and more. It sees the answer and what was asked (``"GET /path"``).
        retry_after: from an answer 429, how many seconds to wait; ``None`` when it does not say.
        timeout: seconds for one request, and for a read with its repetitions in all.
        patience: the longest pause, in seconds, that is waited out here after a 429; a longer one is RetryLater.
    """

    vendor: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    explain: Callable[[httpx.Response, str], FlagbrakeError]
    retry_after: Callable[[httpx.Response], float | None] = unsaid
    timeout: float = 10.0
    patience: float = 5.0
    _client: httpx.Client | None = field(default=None, repr=False, init=False)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> httpx.Response:
        """Read. Repeated while the vendor is away or asks to wait, until the timeout.

        Raises:
            RetryLater: the vendor asks for a longer pause than ``patience``.
            VendorUnavailable: no answer, or only 5xx ones.
            FlagbrakeError: what ``explain`` made of the answer.
        """
        end, pause = time.monotonic() + self.timeout, _PAUSE
        while True:
            try:
                answer = self._once("GET", path, params=params)
            except VendorUnavailable:
                wait = pause
                if time.monotonic() + wait > end:
                    raise
            else:
                if answer.status_code == 429:
                    wait = self._pause(answer, "GET", path)
                elif answer.status_code in _PASSING:
                    wait = pause
                else:
                    return self._checked(answer, "GET", path)
                if time.monotonic() + wait > end:
                    return self._checked(answer, "GET", path)
            time.sleep(wait)
            pause *= 2

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Write, once. Only after a 429, which says that nothing was done, it is sent again within ``patience``.

        Raises:
            RetryLater: nothing was written; ``after`` says when to come back.
            VendorUnavailable: no answer or a 5xx one: it may have been written, read it back; ``pending`` when
                it may be written later still.
            FlagbrakeError: what ``explain`` made of the answer.
        """
        end = time.monotonic() + self.patience
        while True:
            answer = self._once(method, path, params=params, json=json, content=content, headers=headers)
            if answer.status_code != 429:
                return self._checked(answer, method, path)
            wait = self._pause(answer, method, path)
            if time.monotonic() + wait > end:
                raise self._later(answer, method, path)
            time.sleep(wait)

    def body(self, answer: httpx.Response, shape: type[T]) -> T:
        """What an answer says: a ``dict`` or a ``list``, whichever it has to be.

        Raises:
            VendorUnavailable: it is a page of somebody between here and there. Whether the vendor had the request
                nobody knows.
        """
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, shape):
            raise VendorUnavailable(
                f"What came to {answer.request.method} {answer.request.url.path} is no answer of {self.vendor}'s API.",
                cure="look at its address, and at what stands in between",
            )
        return found

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _pause(self, answer: httpx.Response, method: str, path: str) -> float:
        wait = self.retry_after(answer)
        wait = 1.0 if wait is None else max(0.05, wait)
        if wait > self.patience:
            raise self._later(answer, method, path)
        _log.info("%s asks to wait %.1f s (%s %s)", self.vendor, wait, method, path)
        return wait

    def _later(self, answer: httpx.Response, method: str, path: str) -> RetryLater:
        after = self.retry_after(answer)
        when = "later" if after is None else f"in {after:.0f} s"
        return RetryLater(
            f"{self.vendor} limits the rate of requests ({method} {path}); nothing was written.",
            cure=f"again {when}",
            after=after,
        )

    def _checked(self, answer: httpx.Response, method: str, path: str) -> httpx.Response:
        if answer.status_code < 400:
            return answer
        if answer.status_code == 429:
            raise self._later(answer, method, path)
        if answer.status_code >= 500:
            # 504: a gateway gave up waiting, which does not stop what it waited for.
            pending = method != "GET" and answer.status_code == 504
            raise VendorUnavailable(f"{self.vendor} answered {answer.status_code} to {method} {path}.", pending=pending)
        raise self.explain(answer, f"{method} {path}")

    def _once(self, method: str, path: str, **options: Any) -> httpx.Response:
        httpx = _httpx()
        if self._client is None:
            # Redirects are not followed: the token would go with them. Proxies of the environment are used.
            self._client = httpx.Client(base_url=self.base_url, headers=dict(self.headers), timeout=self.timeout)
        try:
            return self._client.request(method, path, **options)
        except httpx.TransportError as error:
            # The message of httpx may quote the URL with its query; ours says what matters.
            # A connection that breaks is seen at both ends; one that was only waited for too long is not.
            raise VendorUnavailable(
                f"{self.vendor} did not answer to {method} {path} ({type(error).__name__}).",
                cure="look whether its address is reachable from here",
                pending=method != "GET" and isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout),
            ) from None


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise MissingExtra(
            "Management APIs need httpx, which is not installed.", cure="pip install 'flagbrake[rest]'"
        ) from None
    return httpx
