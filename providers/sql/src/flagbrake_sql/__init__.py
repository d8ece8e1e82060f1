"""The SQL provider of flagbrake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagbrake_sql.adapter import SqlAdapter
    from flagbrake_sql.control import SqlControl
    from flagbrake_sql.provider import SqlProvider

__all__ = ["SqlAdapter", "SqlControl", "SqlProvider"]

_HOMES = {"SqlAdapter": "adapter", "SqlControl": "control", "SqlProvider": "provider"}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): loading the adapter must not load a database driver.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"flagbrake_sql.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
