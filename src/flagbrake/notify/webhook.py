"""Notices to an HTTP address: JSON by POST, signed, repeated a few times, never redirected elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, ClassVar, Final
from urllib.parse import urlsplit

from flagbrake._version import __version__
from flagbrake.errors import ConfigError, NotAllowed, Unavailable
from flagbrake.ports.notify import Notice, Notifier

#: The header with the signature: ``sha256=`` and the hex HMAC-SHA256 of the time, a dot and the body.
SIGNATURE: Final = "X-Flagbrake-Signature"
#: The header with the time of sending, in whole seconds since 1970: receivers refuse what is old.
TIMESTAMP: Final = "X-Flagbrake-Timestamp"
#: Answers that another try may better.
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAUSE: Final = 0.25


class WebhookNotifier(Notifier):
    """Posts each notice as JSON: event, environment, text, by, at, data.

    Options are those of ``[notify.webhook]``: ``url`` (https, or http), ``secret`` to sign with,
    ``timeout`` in seconds for all tries together, ``attempts``. Slack and its kin show ``text``.
    """

    name: ClassVar[str] = "webhook"

    def __init__(self, *, url: str, secret: str = "", timeout: float = 4.0, attempts: int = 3) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            # The address is not shown: many carry their secret in the path.
            raise ConfigError("The webhook's url is not an http address.", cure='url = { env = "WEBHOOK_URL" }')
        if timeout <= 0 or attempts < 1:
            raise ConfigError("A webhook needs timeout > 0 and attempts >= 1.", cure="leave them out: 4 and 3")
        self._url = url
        self._shown = f"{parts.scheme}://{parts.hostname}"
        self._secret = secret.encode()
        self._timeout = timeout
        self._attempts = attempts
        self._opener = urllib.request.build_opener(_SameHost())

    def notify(self, notice: Notice) -> None:
        """Post it.

        Raises:
            NotAllowed: the receiver refused it (4xx).
            Unavailable: it did not take it in time.
        """
        body = json.dumps(
            {
                "event": notice.event,
                "environment": notice.environment,
                "text": notice.text,
                "by": notice.by,
                "at": notice.at.isoformat(),
                "data": dict(notice.data),
            },
            ensure_ascii=False,
            default=str,
        ).encode()
        end = time.monotonic() + self._timeout
        fact = ""
        for attempt in range(self._attempts):
            left = end - time.monotonic()
            if left <= 0:
                break
            fact = self._post(body, left)
            if not fact:
                return
            threading.Event().wait(max(0.0, min(_PAUSE * 2**attempt, end - time.monotonic())))
        raise Unavailable(f"The webhook at {self._shown} did not take the notice: {fact}.", cure="look at the receiver")

    def _post(self, body: bytes, timeout: float) -> str:
        """Empty when it was taken, else why another try is worth it."""
        request = urllib.request.Request(self._url, data=body, method="POST")  # noqa: S310 - http(s) was checked
        request.add_header("Content-Type", "application/json; charset=utf-8")
        request.add_header("User-Agent", f"flagbrake/{__version__}")
        if self._secret:
            sent = str(int(time.time()))
            request.add_header(TIMESTAMP, sent)
            request.add_header(SIGNATURE, sign(body, self._secret, sent))
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _AGAIN:
                    raise NotAllowed(
                        f"The webhook at {self._shown} refused the notice: HTTP {error.code}.",
                        cure="check url and secret in [notify.webhook]",
                    ) from None
                return f"HTTP {error.code}"
        except urllib.error.URLError as error:
            return _reason(error.reason)
        except (OSError, HTTPException) as error:
            return _reason(error)
        return ""

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._shown!r})"


def sign(body: bytes, secret: bytes, timestamp: str) -> str:
    """The signature a receiver compares with (``hmac.compare_digest``)."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _reason(error: Any) -> str:
    # Never str(): some errors quote the address they were given.
    return getattr(error, "strerror", None) or type(error).__name__


class _SameHost(urllib.request.HTTPRedirectHandler):
    """A signed notice goes to the host it was configured for, or nowhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Follow 307 and 308, which keep method and body, on the same scheme, host and port."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if code not in {307, 308} or (old.scheme, old.netloc) != (new.scheme, new.netloc):
            return None  # answered as HTTPError: refused
        return urllib.request.Request(newurl, data=req.data, method="POST", headers=dict(req.header_items()))  # noqa: S310
