"""The webhook, against a real server on this machine."""

from __future__ import annotations

import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flagbrake.errors import ConfigError, NotAllowed, Unavailable
from flagbrake.notify.webhook import SIGNATURE, TIMESTAMP, WebhookNotifier, sign
from flagbrake.ports.notify import Notice

NOTICE = Notice(
    "kill", "production", "flag:a is killed: größer", "ann", datetime(2026, 1, 2, tzinfo=UTC), {"scope": "flag:a"}
)


@dataclass
class Receiver:
    """A receiver that answers as told, one answer per request, the last one for ever."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hold: Callable[[], None] = lambda: None


def serve(receiver: Receiver) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers), body))
            receiver.hold()
            code, headers = receiver.answers[min(len(receiver.got), len(receiver.answers)) - 1]
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks/s3cret-path?token=s3cret"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


def test_a_notice_arrives_as_json(receiver):
    """All fields, in UTF-8, at the whole address."""
    WebhookNotifier(url=receiver.url).notify(NOTICE)
    path, headers, body = receiver.got[0]
    assert path == "/hooks/s3cret-path?token=s3cret"
    assert json.loads(body) == {
        "event": "kill",
        "environment": "production",
        "text": "flag:a is killed: größer",
        "by": "ann",
        "at": "2026-01-02T00:00:00+00:00",
        "data": {"scope": "flag:a"},
    }
    assert "application/json" in headers["Content-Type"]
    assert SIGNATURE not in headers


def test_with_a_secret_it_is_signed(receiver):
    """The receiver can prove that body and time are ours."""
    WebhookNotifier(url=receiver.url, secret="k").notify(NOTICE)
    _, headers, body = receiver.got[0]
    assert hmac.compare_digest(headers[SIGNATURE], sign(body, b"k", headers[TIMESTAMP]))
    assert headers[SIGNATURE] != sign(body, b"other", headers[TIMESTAMP])
    assert abs(time.time() - int(headers[TIMESTAMP])) < 60


def test_a_receiver_that_stumbles_is_asked_again(receiver):
    """503, then 200: delivered."""
    receiver.answers = [(503, {}), (200, {})]
    WebhookNotifier(url=receiver.url).notify(NOTICE)
    assert len(receiver.got) == 2


def test_retries_are_bounded(receiver):
    """After the last try it says so."""
    receiver.answers = [(500, {})]
    with pytest.raises(Unavailable, match="HTTP 500"):
        WebhookNotifier(url=receiver.url, attempts=2).notify(NOTICE)
    assert len(receiver.got) == 2


def test_a_refusal_is_not_repeated(receiver):
    """401 will be 401 again."""
    receiver.answers = [(401, {})]
    with pytest.raises(NotAllowed, match="HTTP 401"):
        WebhookNotifier(url=receiver.url).notify(NOTICE)
    assert len(receiver.got) == 1


def test_no_redirect_to_another_host(receiver):
    """A signed notice goes where it was configured to go, or nowhere."""
    other = Receiver()
    server = serve(other)
    try:
        receiver.answers = [(307, {"Location": other.url})]
        with pytest.raises(NotAllowed, match="307"):
            WebhookNotifier(url=receiver.url, secret="k").notify(NOTICE)
        assert other.got == []
    finally:
        server.shutdown()
        server.server_close()


def test_a_redirect_on_the_same_host_keeps_the_post(receiver):
    """308 to another path: body and signature arrive."""
    receiver.answers = [(308, {"Location": "/moved"}), (200, {})]
    WebhookNotifier(url=receiver.url, secret="k").notify(NOTICE)
    path, headers, body = receiver.got[1]
    assert path == "/moved"
    assert json.loads(body)["event"] == "kill"
    assert headers[SIGNATURE.capitalize() if SIGNATURE not in headers else SIGNATURE]


def test_a_silent_receiver_costs_its_timeout_and_no_more(receiver):
    """All tries together end in time."""
    release = threading.Event()
    receiver.hold = lambda: release.wait(10)
    begun = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            WebhookNotifier(url=receiver.url, timeout=0.3).notify(NOTICE)
        assert time.monotonic() - begun < 2
    finally:
        release.set()


def test_the_address_is_never_shown(receiver):
    """Paths and queries of webhooks are secrets: not in errors, not in repr."""
    receiver.answers = [(404, {})]
    hook = WebhookNotifier(url=receiver.url, secret="k3y")
    with pytest.raises(NotAllowed) as refused:
        hook.notify(NOTICE)
    nobody = WebhookNotifier(url="http://127.0.0.1:9/hooks/s3cret", attempts=1)
    with pytest.raises(Unavailable) as silent:
        nobody.notify(NOTICE)
    with pytest.raises(ConfigError) as malformed:
        WebhookNotifier(url="hooks.example/s3cret")
    for shown in (refused.value, silent.value, malformed.value, hook, nobody):
        assert "s3cret" not in repr(shown)
        assert "s3cret" not in str(shown)
        assert "k3y" not in repr(shown)
    assert silent.value.__suppress_context__ or silent.value.__context__ is None


@pytest.mark.parametrize("options", [{"timeout": 0}, {"attempts": 0}])
def test_options_that_make_no_sense(options):
    """Told at start, not at the first kill."""
    with pytest.raises(ConfigError):
        WebhookNotifier(url="https://example.com/x", **options)


def test_a_log_line(caplog):
    """One line whatever the reason contains, fields beside it."""
    from dataclasses import replace

    from flagbrake.notify.log import LogNotifier

    with caplog.at_level(logging.INFO, "flagbrake.notices"):
        LogNotifier().notify(replace(NOTICE, text="a\nb"))
        LogNotifier().notify(replace(NOTICE, event="alarm"))
    first, second = caplog.records
    assert first.getMessage() == "kill: a b"
    assert first.flagbrake["environment"] == "production"
    assert first.flagbrake["scope"] == "flag:a"
    assert (first.levelno, second.levelno) == (logging.WARNING, logging.ERROR)
