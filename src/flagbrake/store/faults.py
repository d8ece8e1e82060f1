"""One map from the database's exceptions to ours; nothing here repeats a statement's parameters or a password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import exc

from flagbrake.errors import ConfigError, FlagbrakeError, LockBusy, NotAllowed, StoreUnavailable

_Make = Callable[[str, str], FlagbrakeError]


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Turn database exceptions inside the block into ours. ``shown`` names the store, without its password.

    Raises:
        LockBusy: another writer holds the database or the row for longer than the deadline.
        NotAllowed: the role (or the file's permissions) does not permit this.
        ConfigError: the store has no flagbrake tables, or the address is wrong.
        StoreUnavailable: it did not answer, or the file is damaged.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreUnavailable(
            f"All connections to {shown} are in use.", cure="again, or fewer threads per process"
        ) from error
    except exc.DBAPIError as error:
        ours = translate(error, shown)
        if ours is None:
            raise
        raise ours from error


def translate(error: exc.DBAPIError, shown: str) -> FlagbrakeError | None:
    """Our error for a database's, ``None`` when it is a mistake of our own (a broken statement)."""
    text = " ".join(str(error.orig).split())
    state = getattr(error.orig, "sqlstate", None)
    make: _Make | None = None
    if state is not None:
        make = _POSTGRESQL.get(state) or _POSTGRESQL_CLASSES.get(state[:2])
    elif type(error.orig).__module__ == "sqlite3":
        make = next((make for part, make in _SQLITE if part in text.lower()), None)
    elif isinstance(error, (exc.OperationalError, exc.InterfaceError)) or error.connection_invalidated:
        make = _unreachable
    return make(shown, text) if make else None


def _unreachable(shown: str, text: str) -> StoreUnavailable:
    return StoreUnavailable(f"{shown} did not answer ({text}).", cure="is the database running? flagbrake doctor")


def _slow(shown: str, _text: str) -> StoreUnavailable:
    return StoreUnavailable(f"{shown} did not finish within the deadline.", cure="again; flagbrake doctor")


def _busy(shown: str, _text: str) -> LockBusy:
    return LockBusy(f"Another writer holds what is to be changed in {shown}.", cure="again in a moment", after=1.0)


def _file_busy(shown: str, _text: str) -> LockBusy:
    cure = "again in a moment; look for a program that holds it open"
    return LockBusy(f"{shown} is locked by another writer.", cure=cure, after=1.0)


def _denied(shown: str, text: str) -> NotAllowed:
    cure = "a role that may, or flagbrake store grants"
    return NotAllowed(f"The database role used for {shown} may not do this ({text}).", cure=cure)


def _file_denied(shown: str, _text: str) -> NotAllowed:
    return NotAllowed(f"{shown} may not be written by this user.", cure="the file's and its folder's permissions")


def _standby(shown: str, _text: str) -> StoreUnavailable:
    return StoreUnavailable(f"{shown} is read-only (a standby?).", cure="the URL of the primary")


def _no_tables(shown: str, _text: str) -> ConfigError:
    return ConfigError(f"{shown} has no flagbrake tables.", cure="flagbrake init")


def _bad_login(shown: str, text: str) -> ConfigError:
    return ConfigError(f"{shown} refused the login ({text}).", cure="the user, password and database of the URL")


def _not_sqlite(shown: str, _text: str) -> ConfigError:
    return ConfigError(f"{shown} is not a SQLite database.", cure="another path, or move that file away")


def _damaged(shown: str, text: str) -> StoreUnavailable:
    return StoreUnavailable(f"{shown} is damaged ({text}).", cure="a backup; processes serve what they had")


#: SQLSTATE codes (PostgreSQL's manual, appendix A).
_POSTGRESQL: Final[dict[str, _Make]] = {
    "55P03": _busy,  # lock not available
    "40P01": _busy,  # deadlock
    "40001": _busy,  # serialization failure
    "42501": _denied,
    "42P01": _no_tables,
    "3F000": _no_tables,
    "28000": _bad_login,
    "28P01": _bad_login,
    "3D000": _bad_login,
    "25006": _standby,
    "57014": _slow,
}
#: SQLSTATE classes: connection, resources, operator intervention, system, internal.
_POSTGRESQL_CLASSES: Final[dict[str, _Make]] = dict.fromkeys(("08", "53", "57", "58", "XX"), _unreachable)

#: Parts of SQLite's messages, in the order to look for them (its error strings are a fixed list in main.c).
_SQLITE: Final[tuple[tuple[str, _Make], ...]] = (
    ("locked", _file_busy),
    ("busy", _file_busy),
    ("no such table", _no_tables),
    ("readonly", _file_denied),
    ("not a database", _not_sqlite),
    ("malformed", _damaged),
    ("unable to open", _unreachable),
    ("disk", _unreachable),
)
