"""Management APIs: what is repeated, what is not, and which error comes out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flagbrake.errors import InvalidInput, RetryLater, VendorUnavailable
from flagbrake.rest import Rest

TOKEN = "api-1234-secret"
Answer = tuple[int, dict[str, str]]


class Script:
    """A real server that gives prepared answers in turn, the last one for ever, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.over = threading.Event()

    def next(self, asked: str) -> Answer:
        self.asked.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def served(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers = script.next(f"{self.command} {self.path}")
            script.over.wait(float(headers.get("Wait", 0)))
            if not status:
                self.connection.close()
                return
            self.send_response(status)
            body = headers.get("Body", "{}").encode()
            for name, value in {**headers, "Content-Length": f"{len(body)}"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PATCH = do_POST = answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        script.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def rest() -> Iterator[Callable[[str], Rest]]:
    made: list[Rest] = []

    def make(url: str, **options: float) -> Rest:
        made.append(
            Rest(
                "Acme",
                url,
                {"Authorization": TOKEN},
                explain=lambda answer, asked: InvalidInput(f"Acme refused {asked} ({answer.status_code})."),
                retry_after=lambda answer: (
                    float(answer.headers["Retry-After"]) if answer.headers.get("Retry-After") else None
                ),
                **options,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


OK: Answer = (200, {})
DOWN: Answer = (503, {})
GONE: Answer = (0, {})


def limited(after: str) -> Answer:
    return 429, {"Retry-After": after}


def test_a_read_is_repeated_until_it_is_answered(rest):
    """A read survives a cut connection, a 503 and a short rate limit."""
    script = Script(GONE, DOWN, limited("0.05"), OK)
    with served(script) as url:
        assert rest(url).get("/flags").status_code == 200
    assert len(script.asked) == 4


def test_a_read_ends(rest):
    """A read that is never answered ends with its timeout, and says by whom."""
    with served(Script(DOWN)) as url, pytest.raises(VendorUnavailable, match="Acme answered 503 to GET /flags"):
        rest(url, timeout=0.5).get("/flags")


@pytest.mark.parametrize("answer", [GONE, DOWN])
def test_a_write_is_sent_once(rest, answer):
    """A write that may have happened is never sent again: its caller reads back."""
    script = Script(answer)
    with served(script) as url, pytest.raises(VendorUnavailable):
        rest(url).send("PATCH", "/flags/a", json={})
    assert script.asked == ["PATCH /flags/a"]


SLOW: Answer = (200, {"Wait": "1"})


@pytest.mark.parametrize(("answer", "pending"), [(SLOW, True), ((504, {}), True), (DOWN, False), (GONE, False)])
def test_a_write_that_may_still_happen(rest, answer, pending):
    """Given up before the vendor did (a timeout here, or of its gateway) is not the same as ended."""
    with served(Script(answer)) as url, pytest.raises(VendorUnavailable) as caught:
        rest(url, timeout=0.1).send("PATCH", "/flags/a", json={})
    assert caught.value.pending is pending


def test_a_read_leaves_nothing_behind(rest):
    """A read that was given up changes nothing later."""
    with served(Script(SLOW)) as url, pytest.raises(VendorUnavailable) as caught:
        rest(url, timeout=0.1).get("/flags")
    assert not caught.value.pending


def test_nobody_there_leaves_nothing_behind(rest):
    """A write that never left is not on its way."""
    with served(Script(OK)) as url:
        pass
    with pytest.raises(VendorUnavailable) as caught:
        rest(url).send("PATCH", "/flags/a", json={})
    assert not caught.value.pending


@pytest.mark.parametrize(("text", "shape"), [("<html>Welcome", dict), ("{}", list), ("[]", dict), ("null", dict)])
def test_somebody_else_answers(rest, text, shape):
    """A portal or a proxy that answers 200 with a page of its own, or another shape: the vendor is not there."""
    with served(Script((200, {"Body": text}))) as url:
        acme = rest(url)
        with pytest.raises(VendorUnavailable, match=r"What came to GET /flags is no answer of Acme's API\."):
            acme.body(acme.get("/flags"), shape)


def test_a_body(rest):
    """What was asked for."""
    with served(Script(OK)) as url:
        assert rest(url).body(rest(url).get("/flags"), dict) == {}


def test_a_write_waits_for_a_short_rate_limit(rest):
    """429 says that nothing was written, so a write is sent again when the vendor says so."""
    script = Script(limited("0.05"), OK)
    with served(script) as url:
        assert rest(url).send("POST", "/flags", json={}).status_code == 200
    assert len(script.asked) == 2


@pytest.mark.parametrize("ask", [lambda r: r.get("/flags"), lambda r: r.send("PATCH", "/flags", json={})])
def test_a_long_rate_limit_is_told(rest, ask):
    """A pause longer than the patience is RetryLater with its seconds; nothing waits for it here."""
    with served(Script(limited("120"))) as url, pytest.raises(RetryLater) as caught:
        ask(rest(url))
    assert caught.value.after == 120


def test_a_rate_limit_without_an_end_ends(rest):
    """A vendor that answers 429 for ever ends in RetryLater too."""
    with served(Script(limited("0.05"))) as url, pytest.raises(RetryLater, match="nothing was written"):
        rest(url, patience=0.3).send("PATCH", "/flags", json={})


def test_a_refusal_is_explained_by_the_adapter(rest):
    """Answers of 400 and more become the adapter's errors, at once."""
    script = Script((400, {}))
    with served(script) as url, pytest.raises(InvalidInput, match="Acme refused GET /flags"):
        rest(url).get("/flags")
    assert len(script.asked) == 1


def test_the_token_is_never_shown(rest, caplog):
    """No repr, log or error holds the token."""
    caplog.set_level(logging.DEBUG, "flagbrake")
    with served(Script(limited("0.05"), GONE)) as url:
        client = rest(url)
        with pytest.raises(VendorUnavailable) as caught:
            client.send("PATCH", "/flags", json={})
    assert TOKEN not in repr(client) + str(caught.value) + caplog.text
