"""Last known good: what a process served, on disk, so that it starts and serves with the database down.

One file of lines: a first line with the checksum of the rest, a header, one row per line. A second file
witnesses the highest kill epoch seen, so that a database which lost a kill is not believed. Both are
replaced atomically and synced; a damaged file is refused, never believed in part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.store.forking import gate
from flagbrake.store.snapshot import KillRow, Kind, Name, Row
from flagbrake.store.witness import Witness

try:
    import fcntl
except ImportError:  # Windows: two processes may both write the same content, which does no harm
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("flagbrake.store")

_MAGIC: Final = "flagbrake-last-known-good 1"
_WITNESS: Final = "flagbrake-witness 1"
#: Seconds a change waits for others before the file is written.
DEBOUNCE: Final = 0.2
#: Seconds between two writes while changes go on.
REST: Final = 1.0
_PATIENCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Saved:
    """What is kept: good rows only, as their stored texts."""

    revision: int
    kill_epoch: int
    identity: str | None
    rows: Mapping[Name, Row]
    kills: tuple[KillRow, ...]
    #: When it was saved: the file's time; ignored when writing.
    saved_at: datetime | None = None


def state_dir() -> Path:
    """``$XDG_STATE_HOME/flagbrake``, else ``~/.local/state/flagbrake``."""
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "flagbrake"


class LastKnownGood:
    """The two files of one environment of one store. ``shown`` is the store's address without its password."""

    def __init__(self, folder: Path, *, shown: str, project: str, environment: str, what: str = "") -> None:
        name = hashlib.sha256(json.dumps([shown, project, environment]).encode()).hexdigest()[:16]
        self.path = folder / f"{name}{what}.lkg"
        self.witness_path = folder / f"{name}.epoch"
        self._distrusted = False

    def read(self) -> Saved | None:
        """What was saved, ``None`` when nothing was.

        Raises:
            InvalidInput: the file is damaged or of another format; it says what to do.
        """
        self._distrusted = True  # until it was read to its end
        text = _checked(self.path, _MAGIC)
        if text is None:
            return None
        try:
            lines = text.split("\n")
            header = json.loads(lines[0])
            rows: dict[Name, Row] = {}
            kills: list[KillRow] = []
            for line in lines[1:]:
                if not line:
                    continue
                kind, *rest = json.loads(line)
                if kind == "kill":
                    kills.append(rest[0])
                else:
                    row = Row(Kind(kind), *rest)
                    rows[row.name] = row
            self._distrusted = False
            return Saved(
                header["revision"],
                header["kill_epoch"],
                header["identity"],
                rows,
                tuple(kills),
                datetime.fromtimestamp(self.path.stat().st_mtime, UTC),
            )
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise _damaged(self.path) from error

    def write(self, saved: Saved) -> None:
        """Replace the file, unless another process already saved this very revision. Syncs."""
        header = {
            "revision": saved.revision,
            "kill_epoch": saved.kill_epoch,
            "identity": saved.identity,
        }
        # In one order and without the time, so that processes with the same knowledge have the same bytes.
        rows = [row for _, row in sorted(saved.rows.items())]
        lines = [_line(header)]
        lines += [_line([r.kind, r.key, r.document, r.checksum, r.revision, r.version, False, r.adopted]) for r in rows]
        lines += [_line(["kill", dict(k)]) for k in saved.kills]
        body = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
        with self._alone():
            self._witness_alone(Witness(saved.identity, saved.kill_epoch))
            if self._distrusted or _first_line(self.path) != _heading(_MAGIC, body):
                _replace(self.path, _MAGIC, body)
                self._distrusted = False

    def witness(self) -> Witness | None:
        """The highest kill epoch seen, ``None`` when none was.

        Raises:
            InvalidInput: the file is damaged.
        """
        text = _checked(self.witness_path, _WITNESS)
        if text is None:
            return None
        try:
            data = json.loads(text)
            return Witness(data["identity"], int(data["kill_epoch"]))
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(self.witness_path) from error

    def _witness_alone(self, seen: Witness) -> None:
        with contextlib.suppress(InvalidInput):
            known = self.witness()
            if known is not None and known.identity == seen.identity and known.kill_epoch >= seen.kill_epoch:
                return
        body = _line({"identity": seen.identity, "kill_epoch": seen.kill_epoch}) + "\n"
        _replace(self.witness_path, _WITNESS, body.encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep the machine's other processes out; after a second go on without: the replacing is atomic anyway."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Inside the gate, because a fork in between would leave the lock with the child.
        with gate.passing():
            fd = os.open(self.witness_path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if fcntl is not None:
                    end = time.monotonic() + _PATIENCE
                    pause = threading.Event()
                    while time.monotonic() < end:
                        try:
                            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                            break
                        except OSError:
                            pause.wait(0.02)
                yield
            finally:
                os.close(fd)


class Saver:
    """Writes after changes, in a thread that lives only while there is something to write."""

    def __init__(self, file: LastKnownGood, *, alarm: Callable[[str | None], None]) -> None:
        self._file = file
        self._alarm = alarm
        self._lock = threading.Lock()
        self._make: Callable[[], Saved] | None = None
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()

    def later(self, make: Callable[[], Saved]) -> None:
        """Save what ``make`` returns, soon; a later request replaces an earlier one."""
        with self._lock:
            self._make = make
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flagbrake-save", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        rest = DEBOUNCE
        while True:
            # Jitter, so that of many processes on a machine one writes and the others find it written.
            self._hurry.wait(rest * random.uniform(1.0, 2.0))  # noqa: S311 - not a secret
            with self._lock:
                make, self._make = self._make, None
                if make is None:
                    self._thread = None
                    return
            began = time.monotonic()
            try:
                self._file.write(make())
            except OSError as error:
                self._alarm(
                    f"Last known good cannot be saved: {error.strerror} ({self._file.path.parent})."
                    " Try: set state_dir to a folder this process may write"
                )
            except Exception:  # a failing save must not end the saving
                log.exception("Last known good could not be saved.")
            else:
                self._alarm(None)
            # A large file is written less often, so that saving never takes more than a tenth of the time.
            rest = max(REST, 10 * (time.monotonic() - began))

    def flush(self, timeout: float = 5.0) -> None:
        """Write what waits, now, and return when it is written."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._hurry.set()
            thread.join(timeout)
        self._hurry.clear()


def _line(data: Any) -> str:
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"), default=str)


def _heading(magic: str, body: bytes) -> bytes:
    return f"{magic} {hashlib.sha256(body).hexdigest()}\n".encode()


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(200)
    except OSError:
        return b""


def _checked(path: Path, magic: str) -> str | None:
    """The file's text after its first line, ``None`` when there is no file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}).", cure="its permissions") from error
    first, _, rest = raw.partition(b"\n")
    if first + b"\n" != _heading(magic, rest):
        raise _damaged(path)
    try:
        return rest.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} is damaged and was not used.", cure="remove it; it is written anew from the store")


def _replace(path: Path, magic: str, body: bytes) -> None:
    """Atomic and synced: after a crash there is the old file or the new one. mkstemp gives mode 0600."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(_heading(magic, body))
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the name says what happens
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
