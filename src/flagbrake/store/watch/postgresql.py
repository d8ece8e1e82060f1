"""PostgreSQL: LISTEN in the feed's own thread, every statement with a deadline.

A frozen backend gives no error, so each exchange is bounded in time on this side; a pooler may swallow
LISTEN, so it is proved once per connection; a NOTIFY sent while nobody listened is gone, so the feed reads
the revision counter every second as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from flagbrake.errors import ConfigError, MissingExtra, StoreUnavailable
from flagbrake.store.forking import gate
from flagbrake.store.watch.base import NOTHING, Select, Signal, Watch

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.pq.abc import PGconn, PGresult

log = logging.getLogger("flagbrake.store")

#: Seconds between reads of the counter when LISTEN does not work here.
POLL: Final = 0.1
#: Seconds in which a connection must be made, a heartbeat answered, a load finished.
CONNECT: Final = 5
HEARTBEAT: Final = 3.0
LOAD: Final = 30.0
#: Seconds in which the self-test's own NOTIFY must come back.
PROOF: Final = 2.0

_CONNECTION: Final = {
    "connect_timeout": str(CONNECT),
    "application_name": "flagbrake",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "8000",
}
_INTEGERS: Final = frozenset((20, 21, 23))
_BOOLEAN: Final = 16

#: Parts of what PostgreSQL says to a login it refuses; libpq gives no code for a connection that fails.
_REFUSED: Final = ("authentication failed", "no pg_hba.conf entry", "does not exist", "not permitted to log in")


class PostgresqlWatch(Watch):
    """One libpq connection.

    psycopg opens it; statements go over ``psycopg.pq``, because only there a deadline can be kept without
    a second thread.
    """

    def __init__(
        self, url: str, *, channel: str, shown: str, poll: float | None = None, heartbeat: float = HEARTBEAT
    ) -> None:
        super().__init__()
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._channel = channel
        self._shown = shown
        self._poll = poll or POLL
        self._heartbeat = heartbeat
        self._listening = True
        self._connection: Connection[Any] | None = None
        self._inbox: deque[str] = deque()
        self._proof: str | None = None

    # --- opening ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and LISTEN.

        Raises:
            ConfigError: the server refused the login.
            StoreUnavailable: the connection was refused, no such host, too slow.
            MissingExtra: psycopg is not installed.
        """
        with gate.passing():
            connection = self._connect()
            connection.pgconn.nonblocking = 1
            self._connection = connection
            self._inbox.clear()
            self._listening = True
            self.means = "listen"
            self._execute(f'LISTEN "{self._channel}"', (), self._heartbeat)

    def _connect(self) -> Connection[Any]:
        try:
            import psycopg  # late: only a store on PostgreSQL needs it
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise MissingExtra("PostgreSQL needs psycopg.", cure="pip install 'flagbrake[postgresql]'") from error
        try:
            options = {**_CONNECTION, **conninfo_to_dict(self._url)}
            return psycopg.connect(make_conninfo("", **options), autocommit=True)
        except psycopg.Error as error:
            said = str(error).strip().partition("\n")[0]
            if any(part in said for part in _REFUSED):
                raise ConfigError(
                    f"{self._shown} refused the login ({said}).", cure="the user, password and database of the URL"
                ) from error
            raise self._unavailable(said) from error

    def close(self) -> None:
        """Close the connection."""
        with gate.passing():
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.close()

    def abandon(self) -> None:
        """Close this process's copy of the socket; psycopg sends no farewell from a process that did not connect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                os.close(connection.pgconn.socket)
        self.bell.close()

    # --- waiting ------------------------------------------------------------------------------------

    def wait(self, timeout: float) -> Signal:
        """Sleep until a notification, the bell, or the end of the time."""
        pg = self._pg()
        if not self._inbox:
            sleeper = select.poll()
            sleeper.register(self.bell.fileno(), select.POLLIN)
            sleeper.register(pg.socket, select.POLLIN)
            limit = timeout if self._listening else min(timeout, self._poll)
            ready = sleeper.poll(max(0.0, limit) * 1000)
            if any(fd == self.bell.fileno() for fd, _ in ready):
                self.bell.silence()
            if any(fd == pg.socket for fd, _ in ready):
                with gate.passing():
                    self._consume(pg)
            elif not ready and not self._listening:
                return Signal(changed=True)
        if not self._inbox:
            return NOTHING
        messages = tuple(self._inbox)
        self._inbox.clear()
        return Signal(changed=True, messages=messages)

    def verify(self) -> None:
        """Send a NOTIFY from a second connection and see it arrive while this one is idle.

        Behind a pooler that hands connections out per transaction it does not; from then on the counter is
        polled. (A NOTIFY from this connection would prove nothing: it comes back with its own answer.)
        """
        channel = f"flagbrake_proof_{secrets.token_hex(8)}"
        self._proof = channel
        try:
            self._execute(f'LISTEN "{channel}"', (), self._heartbeat)
            try:
                with self._connect() as other:
                    other.execute("SELECT pg_notify(%s, %s)", (channel, channel), prepare=False)
            except Exception as error:  # noqa: BLE001 - no second connection to be had: nothing is proved, nothing is lost
                log.info("LISTEN on %s could not be proved: %s", self._shown, error)
                self._proof = None
            deadline = time.monotonic() + PROOF
            while self._proof is not None and (left := deadline - time.monotonic()) > 0:
                self._await(self._pg(), select.POLLIN, left)
                with gate.passing():
                    self._consume(self._pg())
            self._execute(f'UNLISTEN "{channel}"', (), self._heartbeat)
        finally:
            proved, self._proof = self._proof is None, None
        if not proved:
            self._listening = False
            self.means = "poll"
            log.warning(
                "LISTEN does not reach %s (a pooler in transaction mode?); reading the counter every %d ms instead."
                " Try: a direct connection for the feed.",
                self._shown,
                self._poll * 1000,
            )

    # --- reading ------------------------------------------------------------------------------------

    def peek(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One statement; its deadline makes it the heartbeat."""
        with gate.passing():
            return self._execute(sql, parameters, self._heartbeat)

    @contextmanager
    def reading(self) -> Iterator[Select]:
        """One repeatable-read transaction."""
        with gate.passing():
            deadline = time.monotonic() + LOAD

            def select_(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                return self._execute(sql, parameters, deadline - time.monotonic())

            self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", (), self._heartbeat)
            try:
                yield select_
            finally:
                if self._connection is not None:
                    self._execute("ROLLBACK", (), self._heartbeat)

    # --- libpq --------------------------------------------------------------------------------------

    def _pg(self) -> PGconn:
        if self._connection is None:
            raise self._unavailable("the connection is closed")
        return self._connection.pgconn

    def _execute(self, sql: str, parameters: Sequence[Any], seconds: float) -> list[tuple[Any, ...]]:
        from psycopg import Error, pq

        pg = self._pg()
        deadline = time.monotonic() + seconds
        try:
            # The unnamed statement: nothing is left behind on a pooled connection.
            pg.send_query_params(_numbered(sql), [_encoded(p) for p in parameters])
            while pg.flush():
                self._await(pg, select.POLLOUT | select.POLLIN, deadline - time.monotonic())
                self._consume(pg)
            results: list[PGresult] = []
            while True:
                while pg.is_busy():
                    self._await(pg, select.POLLIN, deadline - time.monotonic())
                    self._consume(pg)
                result = pg.get_result()
                if result is None:
                    break
                results.append(result)
            self._collect(pg)
        except Error as error:
            raise self._unavailable(str(error).strip().partition("\n")[0]) from error
        rows: list[tuple[Any, ...]] = []
        for result in results:
            if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
                message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
                if result.error_field(pq.DiagnosticField.SQLSTATE) == b"42P01":
                    raise StoreUnavailable(f"{self._shown} has no flagbrake tables.", cure="flagbrake init")
                raise self._unavailable(message or f"status {result.status}")
            rows.extend(_rows(result))
        return rows

    def _await(self, pg: PGconn, events: int, seconds: float) -> None:
        sleeper = select.poll()
        sleeper.register(pg.socket, events)
        if seconds <= 0 or not sleeper.poll(seconds * 1000):
            if self._proof is not None and events == select.POLLIN and not pg.is_busy():
                return  # the self-test's own wait: silence is its answer
            raise self._unavailable("it did not answer in time")

    def _consume(self, pg: PGconn) -> None:
        from psycopg import Error

        try:
            pg.consume_input()
        except Error as error:
            raise self._unavailable(str(error).strip().partition("\n")[0]) from error
        self._collect(pg)

    def _collect(self, pg: PGconn) -> None:
        while (notice := pg.notifies()) is not None:
            channel = notice.relname.decode()
            if channel == self._channel:
                self._inbox.append(notice.extra.decode(errors="replace"))
            elif channel == self._proof:
                self._proof = None

    def _unavailable(self, fact: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The database {self._shown} is unavailable: {fact.rstrip('.')}.", cure="flagbrake doctor"
        )


def _numbered(sql: str) -> bytes:
    parts = sql.split("?")
    return "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)).encode() + parts[-1].encode()


def _encoded(value: Any) -> bytes | None:
    return None if value is None else str(value).encode()


def _rows(result: PGresult) -> Iterator[tuple[Any, ...]]:
    kinds = [result.ftype(column) for column in range(result.nfields)]
    for row in range(result.ntuples):
        yield tuple(_decoded(result.get_value(row, column), kind) for column, kind in enumerate(kinds))


def _decoded(raw: bytes | None, kind: int) -> Any:
    if raw is None:
        return None
    if kind in _INTEGERS:
        return int(raw)
    if kind == _BOOLEAN:
        return raw == b"t"
    return raw.decode()
