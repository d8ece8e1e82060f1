"""Flags from Redis, where a synchronizer of Split's keeps them: the SDK (10.7) asks it for every answer.

While Redis is away, or empty, the SDK would wait for it with every answer and find no flag. Here one thread looks
after it: until it is back nobody else asks, and what was read last is answered. The same thread reads all flags
anew when they changed, so that changes are told.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from flagbrake.errors import ConfigError, MissingExtra
from flagbrake_split.received import Received
from flagbrake_split.sdk_options import SdkOptions

if TYPE_CHECKING:
    from redis import ConnectionPool

_log = logging.getLogger("flagbrake.split")

_FLAG: Final = "SPLITIO.split."
_RULES: Final = "SPLITIO.rbsegment."
_TILLS: Final = ("SPLITIO.splits.till", "SPLITIO.rbsegments.till")
#: Seconds for one answer of Redis.
_TIMEOUT: Final = 1.0
#: So many names are asked for at once.
_AT_ONCE: Final = 500
#: So many answers of segments are remembered.
_ANSWERS: Final = 50_000


class Breaker:
    """Open while Redis is away."""

    def __init__(self, hurry: threading.Event) -> None:
        self.open = False
        #: Set when it opens.
        self._hurry = hurry

    def trip(self) -> None:
        """Nobody asks from now on; whoever looks after Redis does it now."""
        self.open = True
        self._hurry.set()

    def hear(self, deed: Callable[[], Any], troubles: tuple[type[BaseException], ...]) -> Any:
        """Do something with Redis; trip when it fails."""
        try:
            return deed()
        except troubles:
            self.trip()
            raise


class Consumer:
    """Looks after one Redis.

    Args:
        options: where it is, and the prefix.
        received: where flags are kept, for what is told of changes.
        closing: set when all of it ends; ``hurry`` is set then too, and then comes :meth:`end`.
        hurry: set to look at once.
        make: makes the SDK's factory over a pool of connections, and returns its adapter of Redis.
        pause: seconds before another attempt, by the number of those that failed.
        valid: Redis answers, and has flags.
        interrupted: it does not; called with what is the matter.
    """

    def __init__(
        self,
        options: SdkOptions,
        received: Received,
        *,
        closing: threading.Event,
        hurry: threading.Event,
        make: Callable[[ConnectionPool], Any],
        pause: Callable[[int], float],
        valid: Callable[[], None],
        interrupted: Callable[[str], None],
    ) -> None:
        try:
            import redis  # late: an extra, which this mode alone needs
        except ImportError:
            fact = "[split] mode is redis, and the client of Redis is not installed."
            raise MissingExtra(fact, cure="pip install 'flagbrake-split[redis]'") from None
        self._trouble = redis.RedisError
        self._received = received
        self._refresh = options.refresh
        self._prefix = f"{options.redis_prefix}." if options.redis_prefix else ""
        self._closing = closing
        self._hurry = hurry
        self._make = make
        self._pause = pause
        self._valid = valid
        self._interrupted = interrupted
        self._breaker = Breaker(hurry)
        try:
            self._pool = _pool(options.redis_url, self._breaker)
            pool = _plain_pool(options.redis_url, redis.ConnectionPool)
            pool.make_connection()  # it connects later; its settings are looked at now
        except (ValueError, TypeError, redis.RedisError):
            # What redis-py says of it may hold a part of the password.
            fact = "[split] redis_url is no address that the client of Redis takes."
            cure = "redis://:PASSWORD@HOST:6379/0, with %2F for / in the password"
            raise ConfigError(fact, cure=cure) from None
        self._probe = redis.Redis(connection_pool=pool)
        self._memory: _Memory | None = None
        self._kept: dict[str, str] = {}
        self._tills: Any = None

    @property
    def away(self) -> bool:
        """Nobody asks Redis just now."""
        return self._breaker.open

    def start(self) -> None:
        """Begin, in the background."""
        threading.Thread(target=self._look_after, name="flagbrake-split-redis", daemon=True).start()

    def end(self) -> None:
        """Let the thread go, and the connections; the event of closing is set."""
        self._breaker.trip()
        self._pool.disconnect()

    def _look_after(self) -> None:
        failed = 0
        while True:
            self._hurry.clear()
            trouble = self._look()
            if self._closing.is_set():
                self._probe.close()
                return
            if trouble:
                self._breaker.open = True
                self._interrupted(trouble)
            else:
                self._valid()
            self._hurry.wait(self._pause(failed) if trouble else self._refresh)
            failed = failed + 1 if trouble else 0

    def _look(self) -> str:
        """Look whether all is well; what is the matter, if anything."""
        try:
            tills: Any = self._probe.mget([self._prefix + name for name in _TILLS])
            if tills[0] is None:
                where = f"with the prefix {self._prefix}" if self._prefix else "without a prefix"
                return f"Redis has no flags of a synchronizer of Split's {where}"
            if tills != self._tills:
                self._read()
                self._tills = tills
        except self._trouble as error:
            return f"Redis is not reached ({type(error).__name__})"
        except Exception as error:  # noqa: BLE001 - whatever is in it: this thread goes on
            _log.debug("What is in Redis cannot be read.", exc_info=True)
            return f"What is in Redis cannot be read ({type(error).__name__})"
        self._breaker.open = False
        try:
            if self._memory is None:
                self._memory = _Memory(self._make(self._pool), self._breaker.trip)
        except Exception as error:  # noqa: BLE001 - it went away in the middle of the SDK's own start
            return f"Redis is not reached ({type(error).__name__})"
        self._memory.kept = self._kept
        return ""

    def _read(self) -> None:
        """Read all flags and rules, and tell what changed."""
        self._kept = {**self._all(_FLAG), **self._all(_RULES)}
        self._received.reconcile(_Snapshot(self._kept, _FLAG), _Snapshot(self._kept, _RULES))

    def _all(self, what: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for names in _portions(self._probe.scan_iter(match=f"{_literally(self._prefix)}{what}*", count=_AT_ONCE)):
            values: Any = self._probe.mget(names)
            pairs = zip(names, values, strict=True)
            found |= {name.removeprefix(self._prefix): raw for name, raw in pairs if raw is not None}
        return found


class _Memory:
    """Stands where the SDK's adapter reads: it answers what was read last, while Redis is away or empty.

    Args:
        adapter: the SDK's.
        emptied: called when Redis turns out to hold nothing any more.
    """

    def __init__(self, adapter: Any, emptied: Callable[[], None]) -> None:
        #: Flags and rules, by the name in Redis without its prefix.
        self.kept: dict[str, str] = {}
        self._answers: dict[tuple[str, str], Any] = {}
        self._emptied = emptied
        self._get, self._mget, self._sismember = adapter.get, adapter.mget, adapter.sismember
        adapter.get = lambda name: self.mget([name])[0]
        adapter.mget = self.mget
        adapter.sismember = self.sismember

    def mget(self, names: list[str]) -> list[Any]:
        """Flags or rules."""
        kept = self.kept
        try:
            found = list(self._mget(names))
        except Exception:
            if not all(name in kept for name in names):
                raise
            return [kept[name] for name in names]
        lost = any(raw is None and name in kept for raw, name in zip(found, names, strict=True))
        if lost and self._get(_TILLS[0]) is None:
            self._emptied()
            return [kept.get(name) for name in names]
        return found

    def sismember(self, name: str, value: str) -> Any:
        """Whether somebody is in a segment."""
        try:
            answer = self._sismember(name, value)
        except Exception:
            if (name, value) not in self._answers:
                raise
            return self._answers[name, value]
        if len(self._answers) >= _ANSWERS:
            self._answers = {}
        self._answers[name, value] = answer
        return answer


class _Snapshot:
    """Flags, or rule-based segments, as they were read: what a storage of the SDK's has that is asked of it."""

    def __init__(self, kept: dict[str, str], what: str) -> None:
        from splitio.models import rule_based_segments, splits

        model = splits if what == _FLAG else rule_based_segments
        self._found: dict[str, Any] = {}
        for name, raw in kept.items():
            if name.startswith(what):
                try:
                    self._found[name.removeprefix(what)] = model.from_raw(json.loads(raw))
                except Exception:  # noqa: BLE001 - one damaged flag takes no other with it
                    _log.error("'%s' of Split cannot be read by its SDK.", name.removeprefix(what))

    def get(self, name: str) -> Any:
        """One of them."""
        return self._found.get(name)

    def get_split_names(self) -> list[str]:
        """All of them."""
        return list(self._found)

    get_segment_names = get_split_names

    def get_change_number(self) -> int:
        """There is something."""
        return 0


def _literally(prefix: str) -> str:
    """A prefix in a pattern of Redis, where some letters stand for others."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", prefix)


def _portions(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while portion := list(itertools.islice(rest, _AT_ONCE)):
        yield portion


def _plain_pool(url: str, kind: type[ConnectionPool], **more: Any) -> ConnectionPool:
    limits = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    # One value that is no text makes its flag unreadable, and no other.
    return kind.from_url(url, decode_responses=True, encoding_errors="replace", **limits, **more)


def _pool(url: str, breaker: Breaker) -> ConnectionPool:
    """Connections that trip the breaker; there are none while it is open."""
    import redis
    from redis import connection

    troubles = (redis.ConnectionError, redis.TimeoutError, OSError)
    plain: Any = connection.Connection
    parse: Any = connection.parse_url
    kind: Any = parse(url).get("connection_class", plain)

    class Heard(kind):  # type: ignore[misc]
        def connect(self, *args: Any, **kwargs: Any) -> Any:
            return breaker.hear(lambda: super(Heard, self).connect(*args, **kwargs), troubles)

        def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
            return breaker.hear(lambda: super(Heard, self).send_packed_command(*args, **kwargs), troubles)

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            return breaker.hear(lambda: super(Heard, self).read_response(*args, **kwargs), troubles)

    class Pool(redis.ConnectionPool):
        def get_connection(self, *args: Any, **kwargs: Any) -> Any:
            if breaker.open:
                raise redis.ConnectionError("Redis is away")
            return super().get_connection(*args, **kwargs)

    return _plain_pool(url, Pool, connection_class=Heard)
