"""The real Unleash server as a child process: what ``flagbrake emulate unleash`` and the tests start."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

from flagbrake.errors import ConfigError, MissingExtra

#: Apache-2.0 and content with Node 20; later majors are neither.
SERVER: Final = "unleash-server@7.5.1"
#: The oldest Node that runs it.
NODE: Final = 20
_START: Final = 60.0
_STOP: Final = 10.0


def node_version() -> int | None:
    """The major version of the Node on the path, ``None`` without one."""
    node = shutil.which("node")
    if node is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout  # noqa: S603 - found on the path
    major = said.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdigit() else None


def missing(home: Path) -> str | None:
    """Why the server cannot be started from this folder, ``None`` when it can."""
    version = node_version()
    if version is None or version < NODE:
        found = "there is no Node" if version is None else f"Node {version} is too old"
        return f"The Unleash server needs Node {NODE} or newer: {found}."
    if not _entry(home).exists():
        return f"{SERVER} is not installed in {home}."
    return None


def install(home: Path) -> None:
    """Install the server into a folder with npm; one that is there already stays.

    Raises:
        MissingExtra: no Node, an old one, no npm, or npm failed.
    """
    reason = missing(home)
    if reason is None:
        return
    if "Node" in reason:
        raise MissingExtra(reason, cure=f"install Node {NODE}")
    if shutil.which("npm") is None:
        raise MissingExtra(f"{SERVER} is installed with npm, which is not there.", cure="install npm")
    home.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
    done = subprocess.run([*command, SERVER], capture_output=True, text=True, check=False, cwd=home)  # noqa: S603 - constants
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), "")
        raise MissingExtra(f"npm could not install {SERVER}: {said}", cure="look whether npm reaches its registry")


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class UnleashServer:
    """One server over one PostgreSQL database; it makes its tables itself. Stop and start it at will.

    Args:
        home: the folder with ``node_modules``.
        database: the PostgreSQL address, ``postgres://...``.
        port: on loopback; 0 takes a free one and keeps it.
        admin_token: for the admin API. Tokens count only for a database that has none yet.
        backend_tokens: by environment, for SDKs.
        node: arguments for Node itself.
        log: where its output goes.
    """

    home: Path
    database: str = field(repr=False)
    port: int = 0
    admin_token: str = field(default_factory=lambda: f"*:*.{secrets.token_hex(16)}", repr=False)
    backend_tokens: Mapping[str, str] = field(
        default_factory=lambda: {
            name: f"default:{name}.{secrets.token_hex(16)}" for name in ("development", "production")
        },
        repr=False,
    )
    node: Sequence[str] = ()
    log: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def url(self) -> str:
        """Where it is, without ``/api``."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start; returns when it answers.

        Raises:
            MissingExtra: no Node, or the server is not installed.
            ConfigError: it ended, or did not answer within a minute.
        """
        reason = missing(self.home)
        if reason is not None:
            raise MissingExtra(reason, cure=f"npm install {SERVER}, with Node {NODE} or newer")
        self.port = self.port or free_port()
        self._ended.clear()
        with _output(self.log) as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own settings
                ["node", *self.node, str(_entry(self.home))],  # noqa: S607 - whichever Node the path has
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
            )
        try:
            self._answers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop; a stopped server stays stopped."""
        process, self._process = self._process, None
        self._ended.set()
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def wait(self) -> None:
        """Block until it ends."""
        process = self._process
        while process is not None and process.poll() is None and not self._ended.wait(0.5):
            pass

    def _environment(self) -> dict[str, str]:
        tokens = ",".join(self.backend_tokens.values())
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "NODE_ENV": "production",
            "TZ": "UTC",
            "DATABASE_URL": self.database,
            "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.port),
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "LOG_LEVEL": "warn",
            "INIT_ADMIN_API_TOKENS": self.admin_token,
            "INIT_BACKEND_API_TOKENS": tokens,
        }

    def _answers(self) -> None:
        end = time.monotonic() + _START
        pause = threading.Event()
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                raise ConfigError(
                    "The Unleash server ended before it answered.", cure=f"read {self.log or 'its output'}"
                )
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):  # noqa: S310 - loopback
                    return
            except (urllib.error.URLError, OSError):
                pause.wait(0.05)
        raise ConfigError(f"The Unleash server did not answer within {_START:g} s.", cure="look at its database")


def _entry(home: Path) -> Path:
    return home / "node_modules" / "unleash-server" / "dist" / "server.js"


def _output(log: Path | None) -> IO[bytes]:
    return (log or Path(os.devnull)).open("ab")
